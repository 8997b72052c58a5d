import { expect, test } from 'vitest';
import { chooseRowHash, contentsOf, sumsSql, type ReadScope } from '../../src/compare/checksum.js';

const probe = (encoding: string, hashes = '1 2 3') => ({ encoding, hashes });

test.each([
  ['the same bytes hashed alike', probe('UTF8'), probe('UTF8'), { kind: 'hashtext' }],
  ['hashed otherwise', probe('UTF8'), probe('UTF8', '4'), { kind: 'sha256', encoding: 'SQL_ASCII' }],
  ['other bytes', probe('LATIN1'), probe('UTF8'), { kind: 'sha256', encoding: 'UTF8' }],
  [
    'other bytes, hashed otherwise',
    probe('LATIN1', '4'),
    probe('UTF8'),
    { kind: 'sha256', encoding: 'UTF8' },
  ],
  ['bytes without an encoding', probe('SQL_ASCII'), probe('UTF8'), { kind: 'hashtext' }],
  [
    'bytes without an encoding, hashed otherwise',
    probe('UTF8', '4'),
    probe('SQL_ASCII'),
    { kind: 'sha256', encoding: 'SQL_ASCII' },
  ],
])('%s', (_, source, target, hash) => {
  expect(chooseRowHash(source, target)).toEqual(hash);
});

test('names are quoted, and a tree is read with its partitions', () => {
  const scope: ReadScope = {
    table: { schema: 'S', name: 'a "b"' },
    columns: ['c"d'],
    tree: false,
    hash: { kind: 'hashtext' },
    condition: null,
  };
  const alone = sumsSql(scope, { count: 1, by: null });
  expect(alone).toContain('from only "S"."a ""b""" as t');
  expect(alone).toContain('t."c""d"');
  expect(sumsSql({ ...scope, tree: true }, { count: 1, by: null })).toContain('from "S"."a ""b""" as t');
});

test('the checksum of a side is made from its sums, however many there are', () => {
  const one = [{ rows: 3n, high: 5n, low: -7n }];
  const two = [
    { rows: 1n, high: 9n, low: -8n },
    { rows: 2n, high: -4n, low: 1n },
  ];
  expect(contentsOf(two)).toEqual(contentsOf(one));
  expect(contentsOf([])).toEqual(contentsOf([{ rows: 0n, high: 0n, low: 0n }]));
});
