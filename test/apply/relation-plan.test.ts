import { describe, expect, test } from 'vitest';
import { planRelation, type RelationPlan } from '../../src/apply/relation-plan.js';
import type { TargetTable } from '../../src/apply/target-table.js';
import type { Relation } from '../../src/model/relation.js';
import { relation } from './support.js';
import { table, unique } from './tables.js';

function matchOf(plan: RelationPlan): string {
  const { match } = plan;
  if (match.kind === 'none') return 'none';
  const names = match.columns.map(({ target }) => target.name).join(' ');
  const hints =
    match.kind === 'key' ? '' : ` hints ${match.hints.map(({ column }) => column.target.name).join(' ')}`;
  return `${match.kind} ${names}${hints}`.trim();
}

const identity = relation('t', 'a*, b*, c');
const full = relation('t', 'a, b, c', 'full');

describe('how rows are found', () => {
  const cases: readonly [string, Relation, TargetTable, string][] = [
    [
      'by the index of the identity, in its own order',
      identity,
      table('a, b, c', [unique('b, a')]),
      'key b a',
    ],
    ['by no index of other columns', identity, table('a, b, c', [unique('a')]), 'value a b hints a'],
    [
      'by no index that is deferrable, partial or of expressions',
      identity,
      table('a, b, c', [unique('a, b', { key: false })]),
      'value a b hints a',
    ],
    [
      'by no index of another collation',
      identity,
      table('a, b, c', [unique('a, b', { plain: false })]),
      'value a b hints',
    ],
    ['by values without any index', identity, table('a, b, c'), 'value a b hints'],
    ['FULL: by a key of not null columns', full, table('a, b, c!', [unique('a'), unique('c')]), 'key c'],
    ['FULL: by no key with nulls', full, table('a, b, c', [unique('a')]), 'row a b c hints a'],
    [
      'FULL: by no key of a column that is generated',
      full,
      table('a!, b, c=', [unique('c')]),
      'row a b hints',
    ],
    ['NOTHING: not at all', relation('t', 'a, b, c', 'nothing'), table('a, b, c', [unique('a')]), 'none'],
  ];
  test.each(cases)('%s', (_, relation, target, expected) => {
    expect(matchOf(planRelation(relation, target))).toBe(expected);
  });
});

describe('columns under another constraint', () => {
  const constrained = (target: TargetTable) =>
    [...planRelation(identity, target).constrained].sort((a, b) => a - b);
  test.each<[string, TargetTable, number[]]>([
    ['none', table('a, b, c', [unique('a, b')]), []],
    ['of a second unique index', table('a, b, c', [unique('a, b'), unique('c')]), [2]],
    [
      'not of an index that constrains nothing',
      table('a, b, c', [unique('a, b'), unique('c', { constraining: false })]),
      [],
    ],
    [
      'any, where it depends on an expression',
      table('a, b, c', [unique('a, b'), unique('c', { columns: [null], equals: [null] })]),
      [0, 1, 2],
    ],
    [
      'any, where it has a predicate',
      table('a, b, c', [unique('a, b'), unique('c', { partial: true })]),
      [0, 1, 2],
    ],
    [
      'any, where a generated column is under it',
      table('a, b, c, g=', [unique('a, b'), unique('g')]),
      [0, 1, 2],
    ],
  ])('%s', (_, target, expected) => {
    expect(constrained(target)).toEqual(expected);
  });
});

test('a missing table and missing columns are named', () => {
  expect(() => planRelation(identity, null)).toThrow('target: the table public.t does not exist');
  expect(() => planRelation(identity, table('a'))).toThrow('the table public.t has no column "b", "c"');
});

test('a type that only functions read from text is refused', () => {
  const target = table('a, b, c', [unique('a, b')]);
  const c = target.columns.get('c');
  const columns = new Map([
    ...target.columns,
    ['c', { ...(c as NonNullable<typeof c>), via: null }] as const,
  ]);
  expect(() => planRelation(identity, { ...target, columns })).toThrow(
    /column "c" of public.t cannot be read/,
  );
});
