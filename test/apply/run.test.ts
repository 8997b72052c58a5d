import { describe, expect, test } from 'vitest';
import type { Relation } from '../../src/model/relation.js';
import { unchanged } from '../../src/model/row.js';
import { RunBuilder, oneByOne, type RowChange, type Run } from '../../src/apply/run.js';
import { planRelation, type RelationPlan } from '../../src/apply/relation-plan.js';
import { insert, relation, remove, update, at } from './support.js';
import { table, unique } from './tables.js';

const t = relation('t', 'id*, v, u');
const plan = planRelation(t, table('id, v, u', [unique('id')]));
const uniquePlan = planRelation(t, table('id, v, u', [unique('id'), unique('u')]));
const other = planRelation(relation('o', 'id*'), table('id', [unique('id')]));

function changeOf(script: ReturnType<typeof insert>): RowChange {
  const message = script(1n, at(1));
  if (message.kind !== 'change' || message.change.kind === 'truncate') throw new Error('no row change');
  return message.change;
}

/** Runs as text: kind and number of changes. */
function runs(
  changes: readonly (readonly [RelationPlan, ReturnType<typeof insert>])[],
  builder = new RunBuilder(),
): string[] {
  const all: (Run | null)[] = changes.map(([plan, script]) => builder.add(plan, changeOf(script)));
  all.push(builder.flush());
  return all
    .filter((run) => run !== null)
    .map((run) => `${run.kind} ${run.kind === 'truncate' ? 1 : run.changes.length}`);
}

describe('a run', () => {
  const cases: readonly [
    string,
    readonly (readonly [RelationPlan, ReturnType<typeof insert>])[],
    string[],
  ][] = [
    [
      'takes changes of one kind',
      [
        [plan, insert(t, '1', 'a', 'x')],
        [plan, insert(t, '2', 'b', 'y')],
      ],
      ['insert 2'],
    ],
    [
      'ends before another kind',
      [
        [plan, insert(t, '1', 'a', 'x')],
        [plan, remove(t, '1')],
        [plan, insert(t, '1', 'a', 'x')],
      ],
      ['insert 1', 'delete 1', 'insert 1'],
    ],
    [
      'ends before another relation',
      [
        [plan, remove(t, '1')],
        [other, remove(other.relation, '1')],
      ],
      ['delete 1', 'delete 1'],
    ],
    [
      'ends before a second update of the same row',
      [
        [plan, update(t, ['1', 'a', 'x'])],
        [plan, update(t, ['2', 'a', 'x'])],
        [plan, update(t, ['1', 'b', 'x'])],
      ],
      ['update 2', 'update 1'],
    ],
    [
      'ends where other columns are sent',
      [
        [plan, update(t, ['1', 'a', 'x'])],
        [plan, update(t, ['2', unchanged, 'x'])],
        [plan, update(t, ['3', unchanged, 'x'])],
        [plan, update(t, ['4', 'a', unchanged])],
      ],
      ['update 1', 'update 2', 'update 1'],
    ],
    [
      'is one update where the key changes',
      [
        [plan, update(t, ['1', 'a', 'x'])],
        [plan, update(t, ['3', 'a', 'x'], ['2'])],
        [plan, update(t, ['4', 'a', 'x'])],
      ],
      ['update 1', 'update 1', 'update 1'],
    ],
    [
      'goes on where the key was sent and stays',
      [
        [plan, update(t, ['1', 'a', 'x'], ['1'])],
        [plan, update(t, ['2', 'a', 'x'])],
      ],
      ['update 2'],
    ],
    [
      'is one update where a second unique constraint may be touched',
      [
        [uniquePlan, update(t, ['1', 'a', 'x'])],
        [uniquePlan, update(t, ['2', 'a', 'y'])],
        [uniquePlan, update(t, ['3', 'a', unchanged])],
        [uniquePlan, update(t, ['4', 'a', unchanged])],
      ],
      ['update 1', 'update 1', 'update 2'],
    ],
    [
      'takes inserts and deletes under a second unique constraint',
      [
        [uniquePlan, insert(t, '1', 'a', 'x')],
        [uniquePlan, insert(t, '2', 'a', 'y')],
        [uniquePlan, remove(t, '1')],
        [uniquePlan, remove(t, '2')],
      ],
      ['insert 2', 'delete 2'],
    ],
  ];
  test.each(cases)('%s', (_, changes, expected) => {
    expect(runs(changes)).toEqual(expected);
  });

  test('is bounded in rows and in bytes', () => {
    const inserts = ['1', '2', '3', '4', '5'].map(
      (id) => [plan, insert(t, id, 'a'.repeat(100), null)] as const,
    );
    expect(runs(inserts, new RunBuilder({ maxRows: 2, maxBytes: 1e6 }))).toEqual([
      'insert 2',
      'insert 2',
      'insert 1',
    ]);
    expect(runs(inserts, new RunBuilder({ maxRows: 9, maxBytes: 200 }))).toEqual([
      'insert 2',
      'insert 2',
      'insert 1',
    ]);
    expect(runs(inserts, new RunBuilder(oneByOne))).toHaveLength(5);
  });
});

describe('under REPLICA IDENTITY FULL', () => {
  const f: Relation = relation('f', 'id, v, u', 'full');
  const keyed = planRelation(f, table('id!, v, u', [unique('id'), unique('u')]));
  const keyless = planRelation(f, table('id, v, u', []));

  test('the old row tells whether a constraint is touched', () => {
    expect(
      runs([
        [keyed, update(f, ['1', 'b', 'x'], ['1', 'a', 'x'])],
        [keyed, update(f, ['2', 'b', 'y'], ['2', 'a', 'y'])],
        [keyed, update(f, ['3', 'b', 'new'], ['3', 'b', 'old'])],
      ]),
    ).toEqual(['update 2', 'update 1']);
  });

  test('rows without a key are taken one by one, inserts are not', () => {
    expect(
      runs([
        [keyless, insert(f, '1', 'a', 'x')],
        [keyless, insert(f, '1', 'a', 'x')],
        [keyless, update(f, ['1', 'b', 'x'], ['1', 'a', 'x'])],
        [keyless, update(f, ['2', 'b', 'y'], ['2', 'a', 'y'])],
        [keyless, remove(f, '1', 'b', 'x')],
        [keyless, remove(f, '1', 'a', 'x')],
      ]),
    ).toEqual(['insert 2', 'update 1', 'update 1', 'delete 1', 'delete 1']);
  });
});

test('an update without its key is refused', () => {
  const broken = changeOf(update(t, [unchanged, 'a', 'x']));
  expect(() => new RunBuilder().add(plan, broken)).toThrow(/without the old value of its column "id"/);
});
