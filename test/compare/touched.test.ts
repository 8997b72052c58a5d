import { expect, test } from 'vitest';
import type { TouchRecord } from '../../src/catalog/touches.js';
import { judgeTouched } from '../../src/compare/touched.js';
import { readLsn } from '../../src/model/lsn.js';

const table = { schema: 'public', name: 't', files: '1 2' };
const lsn = readLsn;
const applied = lsn('0/50');
const rows = (at: string, keys: readonly string[], columns = ['id'], name = 't') => ({
  schema: 'public',
  name,
  lsn: lsn(at),
  columns,
  keys,
});

const proven: TouchRecord = {
  state: { epoch: 3, covered: applied, collecting: 1 },
  tables: [],
  rows: [],
  proofs: [{ schema: 'public', name: 't', epoch: 3, lsn: lsn('0/30'), files: '1 2' }],
};
const proof = proven.proofs[0];

const whole = { kind: 'whole' };
const nothing = { kind: 'rows', columns: [], keys: [] };

test.each([
  ['proven and not written', {}, nothing],
  [
    'the record does not reach far enough',
    { state: { epoch: 3, covered: lsn('0/4F'), collecting: 1 } },
    whole,
  ],
  [
    'the target is not where the record ends',
    { state: { epoch: 3, covered: lsn('0/51'), collecting: 1 } },
    whole,
  ],
  ['nothing was ever applied here', { state: null }, whole],
  ['never proven', { proofs: [] }, whole],
  ['proven before a crash', { state: { epoch: 4, covered: applied, collecting: 1 } }, whole],
  ['rewritten since', { proofs: [{ ...proof, files: '1 7' }] }, whole],
  [
    'written before the proof',
    { tables: [{ ...table, lsn: lsn('0/30') }], rows: [rows('0/2F', ['["1"]'])] },
    nothing,
  ],
  ['written behind it, nobody knows where', { tables: [{ ...table, lsn: lsn('0/31') }] }, whole],
  [
    'another table written',
    { tables: [{ ...table, name: 'u', lsn: lsn('0/31') }], rows: [rows('0/40', ['["1"]'], ['id'], 'u')] },
    nothing,
  ],
  [
    'written behind it in known rows',
    { rows: [rows('0/30', ['["0"]']), rows('0/31', ['["1"]', '["2"]']), rows('0/40', ['["2"]', '["3"]'])] },
    { kind: 'rows', columns: ['id'], keys: ['["1"]', '["2"]', '["3"]'] },
  ],
  ['known by two keys', { rows: [rows('0/31', ['["1"]']), rows('0/40', ['["x"]'], ['code'])] }, whole],
  [
    'in more rows than are read one by one',
    {
      rows: [
        rows(
          '0/31',
          Array.from({ length: 100_001 }, (_, at) => `["${at}"]`),
        ),
      ],
    },
    whole,
  ],
] as const)('%s', (_, change, verdict) => {
  expect(judgeTouched({ ...proven, ...change } as TouchRecord, table, applied)).toEqual(verdict);
});
