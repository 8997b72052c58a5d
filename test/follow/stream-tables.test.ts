import { expect, test } from 'vitest';
import { changedParts } from '../../src/follow/stream-tables.js';
import type { PublishedPart } from '../../src/model/published-part.js';

const part = (name: string, more: Partial<PublishedPart> = {}): PublishedPart => ({
  schema: 'public',
  name,
  columns: ['id'],
  rowFilter: null,
  root: null,
  ...more,
});
const root = { schema: 'public', name: 'root' };

test.each<[string, PublishedPart[], PublishedPart[], string[]]>([
  ['nothing, in another order', [part('a'), part('b')], [part('b'), part('a')], []],
  ['a column', [part('a')], [part('a', { columns: ['id', 'x'] })], ['public.a']],
  ['a filter', [part('a')], [part('a', { rowFilter: 'id > 1' })], ['public.a']],
  ['a part that is whole now', [part('a')], [], ['public.a']],
  ['a whole table that is a part now', [], [part('a')], ['public.a']],
  ['nothing, but a partition that was made since', [part('root')], [part('root'), part('new', { root })], []],
  [
    'a root that stands for partitions now',
    [],
    [part('root'), part('p', { root })],
    ['public.root', 'public.p'],
  ],
])('what changed is %s', (_claim, then, now, changed) => {
  expect(changedParts(then, now)).toEqual(changed);
});
