import { expect, test } from 'vitest';
import { readLsn } from '../../src/model/lsn.js';
import { groupRows } from '../../src/compare/rows.js';
import { settle, type Observed } from '../../src/compare/settling.js';

/** `value@version` of a side's row; null where there is none. */
type Seen = string | null;

function observed(source: Seen, target: Seen, low: string | null = '0/1'): Observed {
  const rows = (seen: Seen) => {
    if (seen === null) return groupRows([]);
    const [hash = '', version = ''] = seen.split('@');
    return groupRows([{ key: 'k', hash, version, copies: 1 }]);
  };
  return { source: rows(source), target: rows(target), low: low === null ? null : readLsn(low) };
}

test.each([
  ['agreeing now is equal, whatever was before', ['a@1', 'b@9'], ['b@2', 'b@9'], 'equal'],
  ['absent on both sides is equal', ['a@1', null], [null, null], 'equal'],
  ['one look settles no difference', null, ['a@1', 'b@9'], 'unsettled'],
  ['the source stayed, the target had something else', ['a@1', 'b@8'], ['a@1', 'b@9'], 'differs'],
  ['the source stayed, the target had nothing', ['a@1', null], ['a@1', null], 'differs'],
  ['the target stayed, the source has something else', ['a@1', 'b@9'], ['c@2', 'b@9'], 'differs'],
  ['the target stayed, the source has nothing', [null, 'b@9'], [null, 'b@9'], 'differs'],
  ['both were written in between', ['a@1', 'b@8'], ['c@2', 'd@9'], 'unsettled'],
  ['the same value written anew is not a row that stayed', ['a@1', 'b@8'], ['a@2', 'c@9'], 'unsettled'],
  [
    'the source stayed, and the target had it at the look before',
    ['a@1', 'a@8'],
    ['a@1', 'b@9'],
    'unsettled',
  ],
  ['a row that came in between, on its way to the target', [null, null], ['a@1', null], 'unsettled'],
  ['a row that went in between', ['a@1', 'a@9'], [null, 'a@9'], 'differs'],
] as const)('%s', (_, before, now, settlement) => {
  expect(settle('k', before === null ? null : observed(before[0], before[1]), observed(now[0], now[1]))).toBe(
    settlement,
  );
});

test('nothing is told of a table that is being written all the while', () => {
  expect(settle('k', observed('a@1', null), observed('a@1', null, null))).toBe('unsettled');
});

test('of equal rows without a key the number counts', () => {
  const rows = (copies: number, version: string) => groupRows([{ key: 'h', hash: 'h', version, copies }]);
  const moment = (source: number, target: number): Observed => ({
    source: rows(source, `s${source}`),
    target: rows(target, `t${target}`),
    low: readLsn('0/1'),
  });
  expect(settle('h', moment(3, 2), moment(3, 2))).toBe('differs');
  expect(settle('h', moment(3, 2), moment(3, 3))).toBe('equal');
  expect(settle('h', moment(4, 2), moment(3, 4))).toBe('unsettled');
});
