import { expect, test } from 'vitest';
import { checksumSql, chooseRowHash } from '../../src/compare/checksum.js';

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
  const table = { schema: 'S', name: 'a "b"' };
  const alone = checksumSql(table, ['c"d'], false, { kind: 'hashtext' });
  expect(alone).toContain('from only "S"."a ""b""" as t');
  expect(alone).toContain('t."c""d"');
  expect(checksumSql(table, ['c"d'], true, { kind: 'hashtext' })).toContain('from "S"."a ""b""" as t');
});
