import { expect, test } from 'vitest';
import { chooseOrder, orderPieces, type CutFacts } from '../../src/compare/pieces.js';

const column = (name: string, type: string) => ({
  name,
  number: 1,
  generated: false,
  type,
  inside: null,
  comparable: true,
});

const side = (given: Partial<CutFacts> = {}): CutFacts => ({
  pages: 1,
  bytes: 1,
  heap: true,
  partitioned: false,
  serverVersion: 150_000,
  key: ['id'],
  columns: [column('id', 'bigint'), column('at', 'date')],
  orders: [
    { column: 'at', nullable: false, correlation: 1 },
    { column: 'id', nullable: false, correlation: 0.9 },
  ],
  ...given,
});

test.each([
  ['a column of the key comes first: a row that is written stays in its piece', side(), side(), 'id'],
  [
    'another one is taken where the rows do not lie by the key',
    side({
      orders: [
        { column: 'id', nullable: false, correlation: 0 },
        { column: 'at', nullable: false, correlation: 1 },
      ],
    }),
    side(),
    'at',
  ],
  ['of a table without a key the first one', side({ key: null }), side({ key: null }), 'at'],
  ['a column that only one side has an index on is none', side(), side({ orders: [] }), null],
])('%s', (_, source, target, expected) => {
  expect(chooseOrder(source, target)?.column ?? null).toBe(expected);
});

test('nulls are read first and the highest values last: a value that is set or grows stays ahead of the reading', () => {
  const pieces = orderPieces({ column: 'at', type: 'date', nullable: true }, ['2026-01-01']);
  expect(pieces.map(({ source }) => source)).toEqual([
    't."at" is null',
    `t."at" < '2026-01-01'::date`,
    `t."at" >= '2026-01-01'::date`,
  ]);
});
