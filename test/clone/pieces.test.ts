import { describe, expect, test } from 'vitest';
import { planPieces } from '../../src/clone/pieces.js';
import type { PartPlan, TablePlan } from '../../src/clone/plan.js';

function table(name: string, bytes: number, parts = 1): TablePlan {
  const part = (index: number): PartPlan => ({
    task: `${name} ${index}`,
    label: name,
    condition: parts === 1 ? null : `part ${index}`,
    bytes: bytes / parts,
  });
  return {
    label: name,
    indexes: [],
    parts: Array.from({ length: parts }, (_, index) => part(index)),
  } as unknown as TablePlan;
}

function piecesOf(tables: readonly TablePlan[], workers: number): string[][] {
  const left = new Map(tables.map((one) => [one, one.parts]));
  return planPieces(left, workers).map(({ parts }) => parts.map(({ part }) => part.task));
}

const megabyte = 1024 * 1024;

describe('the pieces in which rows are copied', () => {
  test('the largest first, be it a table or a part of one', () => {
    const tables = [
      table('large', 100 * megabyte, 2),
      table('middle', 60 * megabyte),
      table('small', megabyte),
    ];
    expect(piecesOf(tables, 2)).toEqual([['middle 0'], ['large 0'], ['large 1'], ['small 0']]);
  });

  test('before a larger table one whose indexes take longer than that', () => {
    const indexed = {
      ...table('indexed', 2 * megabyte),
      indexes: [{ cost: 20 * megabyte }],
    } as unknown as TablePlan;
    expect(piecesOf([table('large', 10 * megabyte), indexed], 2)).toEqual([['indexed 0'], ['large 0']]);
  });

  test('small tables go together, enough pieces for all workers, never more than fifty tables', () => {
    const few = Array.from({ length: 3 }, (_, index) => table(`t${index}`, 100 - index));
    expect(piecesOf(few, 1)).toEqual([['t0 0'], ['t1 0'], ['t2 0']]);
    const many = Array.from({ length: 1000 }, (_, index) => table(`t${index}`, 1000));
    const pieces = piecesOf(many, 4);
    expect(Math.max(...pieces.map((piece) => piece.length))).toBe(50);
    expect(pieces.flat()).toHaveLength(1000);
    expect(piecesOf(many.slice(0, 100), 4)[0]).toHaveLength(7);
  });

  test('small parts of a large table do not go together: each has its own rows', () => {
    expect(piecesOf([table('t', 1000, 2), table('u', 10)], 1)).toEqual([['t 0'], ['t 1'], ['u 0']]);
  });

  test('nothing left: no pieces', () => {
    expect(piecesOf([], 4)).toEqual([]);
  });
});
