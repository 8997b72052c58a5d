import { describe, expect, test } from 'vitest';
import type { ObjectDifference } from '../../src/compare/schema-difference.js';
import { judgeSchemas, type SchemaTerms, type UnlikeTable } from '../../src/cutover/schemas.js';

const terms: SchemaTerms = { verify: 'none', acceptMissing: false, run: 'clone' };

const missing = (kind: ObjectDifference['kind'], identity: string): ObjectDifference => ({
  kind,
  identity,
  difference: 'missing',
  properties: [],
});
const differing = (identity: string, ...names: string[]): ObjectDifference => ({
  kind: 'table',
  identity,
  difference: 'different',
  properties: names.map((name) => ({ name, source: 'x', target: null })),
});
const unlike = (schema: string, name: string): UnlikeTable => ({ schema, name, sentence: 'it is unlike' });

/** What is said of these beside the unlike tables. */
function said(tables: readonly UnlikeTable[], differences: readonly ObjectDifference[]): string {
  const lines = judgeSchemas(tables, differences, terms);
  return lines.find(({ text }) => text.startsWith('the schemas differ'))?.text ?? '';
}

describe('a table that is told as unlike', () => {
  test.each<[string, UnlikeTable, ObjectDifference]>([
    ['is missing', unlike('public', 'later'), missing('table', 'public.later')],
    ['is named by a keyword', unlike('public', 'order'), missing('table', 'public."order"')],
    ['is quoted', unlike('my.own', 'a"b'), missing('table', '"my.own"."a""b"')],
    ['has other columns', unlike('public', 't'), differing('public.t', 'column a', 'column order')],
  ])('%s, and is told once', (_what, table, difference) => {
    expect(said([table], [difference])).toBe('');
  });

  test.each<[string, ObjectDifference]>([
    ['an index of a name that ends like it', missing('index', 'my_public.later')],
    ['a view of its name', missing('view', 'public.later')],
    ['a table of a schema whose name ends like its', missing('table', 'my_public.later')],
    ['another difference of its own', differing('public.later', 'column a', 'row security')],
  ])('hides nothing else: %s', (_what, difference) => {
    expect(said([unlike('public', 'later')], [difference])).toContain(difference.identity);
  });
});

describe('beside a run that makes nothing on the target', () => {
  const key = missing('constraint', 'public.sale: sale_item_fkey');
  const other = differing('public.sale', 'storage options');
  const levels = (more: Partial<SchemaTerms>) =>
    judgeSchemas([], [key, other], { ...terms, ...more }).map(({ level }) => level);

  test('what is missing blocks, unless it is accepted; what is only another definition is noted', () => {
    expect(levels({ run: 'clone' })).toEqual(['note']);
    expect(levels({ run: 'follow' })).toEqual(['block', 'note']);
    expect(levels({ run: 'follow', acceptMissing: true })).toEqual(['note', 'note']);
  });
});
