import { expect, test } from 'vitest';
import { describeColumnChanges, type ColumnsOfTables } from '../../src/model/column-change.js';

const one = (columns: Record<string, string>, name = 'item'): ColumnsOfTables[string] => ({
  schema: 'public',
  name,
  columns,
});

test.each<[what: string, then: ColumnsOfTables, now: ColumnsOfTables, words: string | null]>([
  ['nothing', { 7: one({ 1: 'id integer' }) }, { 7: one({ 1: 'id integer' }) }, null],
  [
    'another type',
    { 7: one({ 1: 'id integer', 2: 'n numeric(10,2)' }) },
    { 7: one({ 1: 'id integer', 2: 'n numeric(20,6)' }) },
    'public.item (n numeric(10,2) is now n numeric(20,6))',
  ],
  [
    'names that are swapped',
    { 7: one({ 1: 'a integer', 2: 'b integer' }) },
    { 7: one({ 1: 'b integer', 2: 'a integer' }) },
    'public.item (a integer is now b integer, b integer is now a integer)',
  ],
  [
    'a column that was dropped and added again, in a table with another name',
    { 7: one({ 1: 'id integer', 2: 'c text' }), 8: one({ 1: 'id integer' }, 'left') },
    { 7: one({ 1: 'id integer', 3: 'c text' }, 'New'), 8: one({ 1: 'id integer' }, 'left') },
    'public."New" (c text is gone, c text is new)',
  ],
  ['tables that come and go', { 7: one({ 1: 'id integer' }) }, { 8: one({ 1: 'id bigint' }) }, null],
  [
    'more tables than one reads',
    Object.fromEntries(Array.from({ length: 22 }, (_, oid) => [oid, one({ 1: 'a text' }, `t${oid}`)])),
    Object.fromEntries(Array.from({ length: 22 }, (_, oid) => [oid, one({}, `t${oid}`)])),
    `${Array.from({ length: 20 }, (_, oid) => `public.t${oid} (a text is gone)`).join('; ')}; and 2 more`,
  ],
])('%s is told as it is', (_, then, now, words) => {
  expect(describeColumnChanges(then, now)).toBe(words);
});
