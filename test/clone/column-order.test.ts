import { expect, test } from 'vitest';
import { reordered, type Inheriting } from '../../src/clone/column-order.js';

// `+` before a column that the table has of its own.
const table = (oid: number, columns: string, ...parents: number[]): Inheriting => ({
  ...{ oid, label: `t${oid}`, parents },
  columns: columns.split(' ').map((name) => ({ name: name.replace('+', ''), local: name.startsWith('+') })),
});
const parent = table(1, '+a +late');

test.each<[string, readonly Inheriting[], readonly number[]]>([
  ['a column that the parent got later comes before its own', [parent, table(2, 'a +own late', 1)], [2]],
  ['inherited ones first, as they are', [parent, table(2, 'a late +own', 1)], []],
  ['a column merged with the parent’s stands where that one does', [parent, table(2, '+late +a', 1)], [2]],
  ['merged in their order', [parent, table(2, '+a +late +own', 1)], []],
  [
    'of several parents in the order of INHERITS',
    [parent, table(2, '+b +a'), table(3, 'a late b +own', 1, 2), table(4, 'b a late', 1, 2)],
    [4],
  ],
  [
    'a grandchild, whose parent gets another order itself',
    [parent, table(2, 'a +own late', 1), table(3, 'a own late', 2)],
    [2, 3],
  ],
  ['nothing is known of a parent that is not given', [table(2, 'late +own a', 9)], []],
])('%s', (_what, tables, expected) => {
  expect(reordered(tables).map(({ oid }) => oid)).toEqual(expected);
});
