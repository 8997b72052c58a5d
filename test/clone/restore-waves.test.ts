import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planWaves } from '../../src/clone/restore-waves.js';
import type { DumpEntry } from '../../src/postgres/dump.js';

function entry(dumpId: number, kind = 'TABLE', dependencies: readonly number[] = []): DumpEntry {
  return { dumpId, catalogOid: 1259, oid: 20_000 + dumpId, kind, tag: `t${dumpId}`, dependencies };
}

const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, at) => from + at);

describe('planWaves', () => {
  test('one job, or few entries, are one after the other', () => {
    const many = numbers(500).map((id) => entry(id));
    expect(planWaves(many, 1)).toEqual([{ lists: [many], together: true }]);
    const few = numbers(20).map((id) => entry(id));
    expect(planWaves(few, 4)).toEqual([{ lists: [few], together: false }]);
    expect(planWaves([], 4)).toEqual([]);
  });

  test('many tables are dealt out evenly', () => {
    const [wave, ...others] = planWaves(
      numbers(400).map((id) => entry(id)),
      4,
    );
    expect(others).toEqual([]);
    expect(wave?.lists.map((share) => share.length)).toEqual([100, 100, 100, 100]);
  });

  test('as many sessions as have enough to do, two for a hundred', () => {
    const shares = (count: number) =>
      planWaves(
        numbers(count).map((id) => entry(id)),
        8,
      ).map(({ lists, together }) => [lists.length, together]);
    expect([49, 50, 99, 100, 299, 300, 799, 5000].map(shares)).toEqual([
      [[1, false]],
      [[1, true]],
      [[1, true]],
      [[2, true]],
      [[2, true]],
      [[3, true]],
      [[7, true]],
      [[8, true]],
    ]);
  });

  test('what hangs together stays together, in its order: a parent and its partitions, a sequence and its owner', () => {
    const parent = entry(1);
    const children = numbers(50, 2).map((id) => entry(id, 'TABLE', [1]));
    const attached = children.map(({ dumpId }) => entry(dumpId + 100, 'TABLE ATTACH', [1, dumpId]));
    const alone = numbers(60, 300).map((id) => entry(id));
    const family = [parent, ...children, ...attached];
    const [wave] = planWaves([...family, ...alone], 2);
    expect(wave?.lists[0]).toEqual(family);
    expect(wave?.lists[1]).toEqual(alone);
  });

  test('when all of it hangs together, there is nothing to deal out', () => {
    const chain = numbers(300).map((id) => entry(id, 'TABLE', id === 1 ? [] : [id - 1]));
    expect(planWaves(chain, 3)).toEqual([{ lists: [chain], together: true }]);
  });

  test('other kinds wait for all before them, and are waited for', () => {
    const before = [entry(1, 'SCHEMA'), entry(2, 'FUNCTION')];
    const first = numbers(200, 10).map((id) => entry(id));
    const view = [entry(500, 'VIEW', [10, 11])];
    const second = numbers(200, 600).map((id) => entry(id));
    const waves = planWaves([...before, ...first, ...view, ...second], 2);
    expect(waves.map(({ lists }) => lists.map((share) => share.length))).toEqual([
      [2],
      [100, 100],
      [1],
      [100, 100],
    ]);
  });

  test('every entry is restored once, after all that it needs', () => {
    const kinds = ['TABLE', 'TABLE', 'TABLE', 'SEQUENCE', 'DEFAULT', 'COMMENT', 'VIEW', 'TYPE'];
    const list = fc
      .array(fc.tuple(fc.constantFrom(...kinds), fc.array(fc.nat(400), { maxLength: 2 })), {
        minLength: 1,
        maxLength: 500,
      })
      .map((rows) =>
        rows.map(([kind, needs], at) =>
          entry(at + 1, kind, at % 7 === 0 ? needs.filter((id) => id > 0 && id <= at) : []),
        ),
      );
    fc.assert(
      fc.property(list, fc.integer({ min: 1, max: 5 }), (entries, jobs) => {
        const done = new Set<number>();
        for (const { lists } of planWaves(entries, jobs)) {
          const before = new Set(done);
          expect(lists.length).toBeLessThanOrEqual(jobs);
          for (const share of lists) {
            const own = new Set<number>();
            for (const { dumpId, dependencies } of share) {
              for (const needed of dependencies) expect(before.has(needed) || own.has(needed)).toBe(true);
              expect(done.has(dumpId)).toBe(false);
              own.add(dumpId);
              done.add(dumpId);
            }
          }
        }
        expect(done.size).toBe(entries.length);
      }),
      { numRuns: 200 },
    );
  });
});
