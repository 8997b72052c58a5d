import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  chooseSplit,
  ctidConditions,
  keyConditions,
  partsOf,
  type SplitFacts,
} from '../../src/postgres/table-splits.js';

describe('how many parts', () => {
  test.each([
    [100, 0, null, 1],
    [99, 100, null, 1],
    [100, 100, null, 1],
    [101, 100, null, 2],
    [1000, 100, null, 10],
    [1000, 100, 4, 4],
    [1000, 100, 1, 1],
  ])('%i bytes, threshold %i, at most %s: %i', (bytes, largerThanBytes, maxParts, parts) => {
    expect(partsOf(bytes, { largerThanBytes, maxParts, byCtid: true })).toBe(parts);
  });
});

describe('by what', () => {
  const server = { byCtid: true, version: 150_000, inRecovery: false };
  const facts: SplitFacts = {
    heap: true,
    pages: 100,
    key: { column: 'id', nullable: false, correlation: 1 },
  };
  const withKey = (correlation: number | null): SplitFacts => ({
    ...facts,
    key: { column: 'id', nullable: false, correlation },
  });

  test.each([
    ['a key in whose order the heap lies', facts, server, 'key'],
    ['in falling order as well', withKey(-0.9), server, 'key'],
    ['a key that was never analysed', withKey(null), server, 'key'],
    ['a key in no order', withKey(0.1), server, 'ctid'],
    ['a key in no order, and CTID not wanted', withKey(0.1), { ...server, byCtid: false }, 'key'],
    ['no key', { ...facts, key: null }, server, 'ctid'],
    ['no key, CTID not wanted', { ...facts, key: null }, { ...server, byCtid: false }, null],
    ['no key, before TID range scans', { ...facts, key: null }, { ...server, version: 130_000 }, null],
    ['no key, on a standby', { ...facts, key: null }, { ...server, inRecovery: true }, null],
    ['no key, not a heap', { ...facts, key: null, heap: false }, server, null],
    ['a key, not a heap', { ...facts, heap: false }, server, 'key'],
  ] as const)('%s', (_what, table, on, by) => {
    expect(chooseSplit(table, on)).toBe(by);
  });
});

/** Whether a key is in a part; reads what keyConditions writes. */
function holds(condition: string, key: bigint | null): boolean {
  return condition.split(' and ').every((term) => {
    if (term === '"id" is null') return key === null;
    if (key === null) return false;
    if (term === '"id" is not null') return true;
    const match = /^"id" (>=|<) '(-?\d+)'::pg_catalog\.int8$/.exec(term);
    if (match === null) throw new Error(`not a term: ${term}`);
    return match[1] === '<' ? key < BigInt(match[2] ?? '') : key >= BigInt(match[2] ?? '');
  });
}

describe('conditions', () => {
  const int8 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });

  test('whatever the bounds, every key and NULL is in exactly one part', () => {
    fc.assert(
      fc.property(fc.uniqueArray(int8, { maxLength: 8 }), fc.option(int8), (bounds, key) => {
        const sorted = bounds.toSorted((a, b) => (a < b ? -1 : 1));
        const conditions = keyConditions('id', sorted, true);
        for (const one of [key, ...bounds, ...bounds.map((bound) => bound - 1n), -1n]) {
          expect(conditions.filter((condition) => holds(condition, one))).toHaveLength(1);
        }
      }),
    );
  });

  test('without NULLs there is no part for them; names and negative numbers are quoted', () => {
    expect(keyConditions('i"d', [-1n], false)).toEqual([
      `"i""d" < '-1'::pg_catalog.int8`,
      `"i""d" >= '-1'::pg_catalog.int8`,
    ]);
  });

  test('blocks are shared out without a gap, the last part has no end, and none is empty', () => {
    expect(ctidConditions(10, 3)).toEqual([
      `ctid >= '(0,0)'::pg_catalog.tid and ctid < '(3,0)'::pg_catalog.tid`,
      `ctid >= '(3,0)'::pg_catalog.tid and ctid < '(6,0)'::pg_catalog.tid`,
      `ctid >= '(6,0)'::pg_catalog.tid`,
    ]);
    expect(ctidConditions(2, 5)).toHaveLength(2);
    expect(ctidConditions(0, 5)).toEqual([`ctid >= '(0,0)'::pg_catalog.tid`]);
  });
});
