import { expect, test } from 'vitest';
import { isOfSeveralMoments } from '../../src/clone/later-snapshot.js';
import type { TablePlan } from '../../src/clone/plan.js';

const parts = ['a', 'b', 'c'].map((task) => ({ task, label: task, condition: '', bytes: 0 }));
const table = { withRows: true, parts } as unknown as TablePlan;

test.each([
  ['none is there', {}, false],
  ['all are of the beginning', { a: undefined, b: undefined, c: undefined }, false],
  ['all are of one later snapshot', { a: 2, b: 2, c: 2 }, false],
  ['some are there, of one', { a: 1, c: 1 }, false],
  ['one is of the beginning', { a: 1, b: undefined, c: 1 }, true],
  ['two are later ones', { a: 1, b: 2 }, true],
] as const)('a table in parts is of several moments or not: %s', (_, generations, expected) => {
  const done = new Map(
    Object.entries(generations as Record<string, number | undefined>).map(([name, generation]) => [
      name,
      { name, bytes: 0, rows: 0, ...(generation === undefined ? {} : { generation }) },
    ]),
  );
  expect(isOfSeveralMoments(table, done)).toBe(expected);
});
