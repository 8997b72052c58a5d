import fc from 'fast-check';
import { expect, test } from 'vitest';
import { XidSet } from '../../src/journal/xid-set.js';

test('holds what was added and nothing else, whatever the order', () => {
  fc.assert(
    fc.property(fc.array(fc.bigInt({ min: 1n, max: 60n }), { maxLength: 80 }), (xids) => {
      const set = new XidSet();
      const expected = new Set<bigint>();
      for (const xid of xids) {
        set.add(xid);
        expected.add(xid);
      }
      for (let xid = 0n; xid <= 62n; xid += 1n) expect(set.has(xid), String(xid)).toBe(expected.has(xid));
      // As few intervals as there are gaps.
      const starts = [...expected].filter((xid) => !expected.has(xid - 1n));
      expect(set.intervals).toBe(starts.length);
    }),
  );
});

test('a million of them in a row are one interval, from either end', () => {
  const up = new XidSet();
  const down = new XidSet();
  for (let nth = 0n; nth < 1_000_000n; nth += 1n) {
    up.add(5_000_000_000n + nth);
    down.add(5_000_000_000n - nth);
  }
  expect([up.intervals, down.intervals]).toEqual([1, 1]);
  expect([up.has(5_000_999_999n), up.has(5_001_000_000n), down.has(4_999_000_001n)]).toEqual([
    true,
    false,
    true,
  ]);
});
