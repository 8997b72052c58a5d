import { describe, expect, test } from 'vitest';
import { databaseDirectory } from '../../src/catalog/work-directory.js';
import { createStatement } from '../../src/follow/all-databases.js';

describe('a database', () => {
  const database = {
    name: 'My "db"',
    owner: 'o',
    encoding: 'LATIN1',
    collate: 'C',
    ctype: 'de_DE',
    provider: 'libc',
    locale: null,
    icuRules: null,
    connectionLimit: -1,
    leftOut: null,
  } as const;

  test.each([
    [
      {},
      { owner: true, locale: true },
      `create database "My ""db""" template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'de_DE' owner "o"`,
    ],
    [{}, { owner: false, locale: false }, `create database "My ""db""" template template0 encoding 'LATIN1'`],
    [
      { provider: 'icu', locale: 'de', connectionLimit: 3 } as const,
      { owner: false, locale: true },
      `create database "My ""db""" template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'de_DE' locale_provider icu icu_locale 'de' connection limit 3`,
    ],
  ])('%j is made with %j', (changes, choice, expected) => {
    expect(createStatement({ ...database, ...changes }, choice)).toBe(expected);
  });

  test.each([
    ['shop', '/w/db/shop'],
    ['a/b', '/w/db/a%2Fb'],
    ['..', '/w/db/%2E%2E'],
    ['ä b', '/w/db/%C3%A4%20b'],
  ])('%s has the directory %s', (name, expected) => {
    expect(databaseDirectory('/w', name)).toBe(expected);
  });
});
