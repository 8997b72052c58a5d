import { describe, expect, test } from 'vitest';
import { reachesEnd, verdictAtBegin, verdictHolds, type Verdict } from '../../src/apply/verdict.js';
import { at } from './support.js';

describe('at the begin of a transaction whose commit record goes from 290 to 300', () => {
  const cases: readonly [
    string,
    { applied: number; endpos: number; beyond?: boolean },
    Verdict,
    Verdict,
    Verdict,
  ][] = [
    // The verdict when its start is known, when its end is known too, when neither is.
    ['nothing applied', { applied: 100, endpos: 0 }, 'apply', 'apply', 'skip'],
    [
      'nothing applied, one before it was new',
      { applied: 200, endpos: 0, beyond: true },
      'apply',
      'apply',
      'apply',
    ],
    ['applied up to its start', { applied: 290, endpos: 0 }, 'apply', 'apply', 'skip'],
    ['applied itself', { applied: 300, endpos: 0 }, 'skip', 'skip', 'skip'],
    ['applied far behind it', { applied: 900, endpos: 0 }, 'skip', 'skip', 'skip'],
    ['end position before it', { applied: 100, endpos: 200 }, 'stop', 'stop', 'skip'],
    ['end position at its start', { applied: 100, endpos: 290 }, 'stop', 'stop', 'skip'],
    ['end position inside of its record', { applied: 100, endpos: 295 }, 'apply', 'stop', 'skip'],
    ['end position at its end', { applied: 100, endpos: 300 }, 'apply', 'apply', 'skip'],
    [
      'a position inside of its record, which should not be',
      { applied: 295, endpos: 0 },
      'skip',
      'apply',
      'skip',
    ],
  ];
  test.each(cases)('%s', (_, { applied, endpos, beyond = false }, byStart, byEnd, unknown) => {
    const position = { applied: at(applied), endpos: at(endpos), beyond };
    expect(verdictAtBegin({ commitLsn: at(290), endLsn: null }, position)).toBe(byStart);
    expect(verdictAtBegin({ commitLsn: at(290), endLsn: at(300) }, position)).toBe(byEnd);
    expect(verdictAtBegin({ commitLsn: null, endLsn: at(300) }, position)).toBe(byEnd);
    expect(verdictAtBegin({ commitLsn: null, endLsn: null }, position)).toBe(unknown);
  });
});

describe('at the commit', () => {
  test.each<['skip' | 'apply', number, number, number, boolean]>([
    ['apply', 300, 100, 0, true],
    ['apply', 300, 100, 300, true],
    ['apply', 300, 100, 299, false],
    ['skip', 300, 300, 0, true],
    ['skip', 300, 299, 0, false],
    ['skip', 300, 100, 200, false],
  ])(
    '%s of one that ends at %i, applied %i, end position %i: right %s',
    (done, end, applied, endpos, right) => {
      expect(verdictHolds(done, at(end), at(applied), at(endpos))).toBe(right);
    },
  );
});

test.each([
  [300, 0, false],
  [299, 300, false],
  [300, 300, true],
  [301, 300, true],
])('seen up to %i, end position %i: reached %s', (seen, endpos, reached) => {
  expect(reachesEnd(at(seen), at(endpos))).toBe(reached);
});
