import { describe, expect, test } from 'vitest';
import { readSeenTransactions, sees, seesNarrow } from '../../src/model/seen-transactions.js';

const epoch = 1n << 32n;

describe('a snapshot', () => {
  const seen = readSeenTransactions('100:110:103,107');

  test.each([
    [99n, true],
    [100n, true],
    [103n, false],
    [104n, true],
    [107n, false],
    [109n, true],
    [110n, false],
    [111n, false],
    // An xid of the next round is a later one, whatever its last 32 bits.
    [epoch + 1n, false],
  ])('of 100 to 110 without 103 and 107: sees %s is %s', (xid, expected) => {
    expect(sees(seen, xid)).toBe(expected);
  });

  test('tells xids of 32 bits apart on both sides of a round', () => {
    const around = readSeenTransactions(`${epoch - 2n}:${epoch + 2n}:${epoch - 1n}`);
    const narrow = [0xffff_fffdn, 0xffff_fffen, 0xffff_ffffn, 0n, 1n, 2n];
    expect(narrow.map((xid) => seesNarrow(around, xid))).toEqual([true, true, false, true, true, false]);
  });

  test.each(['', '1:2', '1:2:x', '1:2:3,', 'a:b:'])('is not read from %o', (text) => {
    expect(() => readSeenTransactions(text)).toThrow(RangeError);
  });
});
