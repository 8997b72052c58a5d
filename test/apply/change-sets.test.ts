import { describe, expect, test } from 'vitest';
import { ChangeSets, setBounds } from '../../src/apply/change-sets.js';
import { planRelation, type RelationPlan } from '../../src/apply/relation-plan.js';
import { oldCell, type RowChange, type Run } from '../../src/apply/run.js';
import { unchanged } from '../../src/model/row.js';
import { asPacked } from '../support/packed.js';
import { at, insert, relation, remove, update } from './support.js';
import { table, unique } from './tables.js';

type Script = ReturnType<typeof insert>;

function changeOf(script: Script): RowChange {
  const message = script(1n, at(1));
  if (message.kind !== 'change' || message.change.kind === 'truncate') throw new Error('no row change');
  return message.change;
}

const t = relation('t', 'id*, v, u');
const plan = planRelation(t, table('id!, v, u', [unique('id')]));
const narrow = planRelation(t, table('id!, v, u, more', [unique('id')]));
const twoKeys = table('id!, v, u', [unique('id'), unique('u')]);
const contested = planRelation(t, twoKeys, { contested: true });
const f = relation('f', 'id, v, u', 'full');
const full = planRelation(f, table('id!, v, u', [unique('id')]));
const keyless = planRelation(relation('k', 'a, b', 'full'), table('a, b'));
const k = keyless.relation;
const ordered = planRelation(relation('o', 'id*'), { ...table('id', [unique('id')]), fires: true });
const o = ordered.relation;

/** `delete 1 2`, `insert 1,a,x`, `update 1,?,x`: what a run does, by key or row. */
function label(run: Run): string {
  if (run.kind === 'truncate') return 'truncate';
  const { match } = run.plan;
  const rows = run.changes.map((change) => {
    if (change.kind !== 'delete') {
      return change.row.map((cell) => (cell === unchanged ? '?' : (cell ?? 'null'))).join();
    }
    return match.kind === 'none'
      ? ''
      : match.columns.map((column) => oldCell(run.plan, change, column.at)).join();
  });
  return `${run.kind} ${run.plan.relation.name}: ${rows.join(' ')}`;
}

/** The runs of a script: those that a change forced, then `|`, then those of the flush at the end. */
function runs(changes: readonly (readonly [RelationPlan, Script])[], sets = new ChangeSets()): string[] {
  const forced = changes.flatMap(([plan, script]) => sets.add(plan, changeOf(script)));
  const result = [...forced.map(label), '|', ...sets.flush().map(label)];
  // The same with packed rows, as the stream brings most of them.
  const packed = changes.flatMap(([plan, script]) => sets.add(plan, asPacked(changeOf(script)) as RowChange));
  expect([...packed.map(label), '|', ...sets.flush().map(label)]).toEqual(result);
  return result;
}

describe('what happens to a row comes to', () => {
  const one = (...scripts: readonly Script[]) =>
    runs(scripts.map((script) => [plan, script] as const)).slice(1);
  test.each<[string, readonly Script[], string[]]>([
    [
      'insert, update: insert',
      [insert(t, '1', 'a', 'x'), update(t, ['1', 'b', unchanged])],
      ['insert t: 1,b,x'],
    ],
    [
      'update, update: an update of both',
      [update(t, ['1', 'a', unchanged]), update(t, ['1', unchanged, 'y'])],
      ['update t: 1,a,y'],
    ],
    ['insert, delete: nothing', [insert(t, '1', 'a', 'x'), remove(t, '1')], []],
    [
      'insert, delete, insert: insert',
      [insert(t, '1', 'a', 'x'), remove(t, '1'), insert(t, '1', 'b', 'x')],
      ['insert t: 1,b,x'],
    ],
    ['update, delete: delete', [update(t, ['1', 'a', 'x']), remove(t, '1')], ['delete t: 1']],
    ['delete, insert: both', [remove(t, '1'), insert(t, '1', 'b', 'x')], ['delete t: 1', 'insert t: 1,b,x']],
    [
      'delete, insert, update: both',
      [remove(t, '1'), insert(t, '1', 'b', 'x'), update(t, ['1', unchanged, 'z'])],
      ['delete t: 1', 'insert t: 1,b,z'],
    ],
    [
      'delete, insert, delete: delete',
      [remove(t, '1'), insert(t, '1', 'b', 'x'), remove(t, '1')],
      ['delete t: 1'],
    ],
    [
      'a new key: delete there, insert here',
      [update(t, ['2', 'a', 'x'], ['1'])],
      ['delete t: 1', 'insert t: 2,a,x'],
    ],
    [
      'keys that swap',
      [
        update(t, ['3', 'a', 'x'], ['1']),
        update(t, ['1', 'b', 'y'], ['2']),
        update(t, ['2', 'a', 'x'], ['3']),
      ],
      ['delete t: 1 2', 'insert t: 1,b,y 2,a,x'],
    ],
    [
      'insert, new key: insert with what was not sent',
      [insert(t, '1', 'a', 'x'), update(t, ['2', unchanged, 'y'], ['1'])],
      ['insert t: 2,a,y'],
    ],
    [
      'a key given up and taken again',
      [update(t, ['2', 'a', 'x'], ['1']), insert(t, '1', 'n', 'x')],
      ['delete t: 1', 'insert t: 1,n,x 2,a,x'],
    ],
    [
      'updates by what was sent, behind deletes, before inserts',
      [
        insert(t, '1', 'a', 'x'),
        update(t, ['2', 'a', 'x']),
        update(t, ['3', unchanged, 'x']),
        update(t, ['4', 'b', 'x']),
        remove(t, '5'),
      ],
      ['delete t: 5', 'update t: 2,a,x 4,b,x', 'update t: 3,?,x', 'insert t: 1,a,x'],
    ],
  ])('%s', (_, scripts, expected) => {
    expect(one(...scripts)).toEqual(expected);
  });
});

describe('a set of a relation ends', () => {
  test('before a new key of a row that is not known whole', () => {
    expect(
      runs([
        [plan, update(t, ['5', 'a', 'x'])],
        [keyless, insert(k, 'a', 'b')],
        [plan, update(t, ['2', unchanged, 'x'], ['1'])],
        [plan, update(t, ['2', 'z', 'x'])],
      ]),
    ).toEqual(['update t: 5,a,x', 'update t: 2,?,x', '|', 'update t: 2,z,x', 'insert k: a,b']);
  });

  test('before a new key where the target has columns beside those that are sent', () => {
    expect(runs([[narrow, update(t, ['2', 'a', 'x'], ['1'])]])).toEqual(['update t: 2,a,x', '|']);
  });

  test('not where the old row tells what was not sent', () => {
    expect(runs([[full, update(f, ['2', unchanged, 'x'], ['1', 'old', 'y'])]])).toEqual([
      '|',
      'delete f: 1',
      'insert f: 2,old,x',
    ]);
  });

  test('before an update or delete of a relation without a key', () => {
    expect(
      runs([
        [keyless, insert(k, '1', 'a')],
        [keyless, insert(k, '1', 'a')],
        [plan, remove(t, '9')],
        [keyless, remove(k, '1', 'a')],
        [keyless, insert(k, '2', 'a')],
      ]),
    ).toEqual(['insert k: 1,a 1,a', 'delete k: 1,a', '|', 'insert k: 2,a', 'delete t: 9']);
  });

  test('before what no source can do: the server is to judge', () => {
    expect(
      runs([
        [plan, insert(t, '1', 'a', 'x')],
        [plan, insert(t, '1', 'b', 'x')],
      ]),
    ).toEqual(['insert t: 1,a,x', 'insert t: 1,b,x', '|']);
    expect(
      runs([
        [plan, remove(t, '1')],
        [plan, update(t, ['1', 'b', 'x'])],
      ]),
    ).toEqual(['delete t: 1', 'update t: 1,b,x', '|']);
  });

  test('with all others before a relation whose order matters, and the other way round', () => {
    expect(
      runs([
        [plan, insert(t, '1', 'a', 'x')],
        [ordered, insert(o, '1')],
        [ordered, remove(o, '1')],
        [plan, update(t, ['1', 'b', 'x'])],
      ]),
    ).toEqual(['insert t: 1,a,x', 'insert o: 1', 'delete o: 1', '|', 'update t: 1,b,x']);
  });

  test('with all others where a table is described anew', () => {
    const wider = relation('t', 'id*, v, u, w');
    const after = planRelation(wider, table('id!, v, u, w', [unique('id')]));
    expect(
      runs([
        [plan, insert(t, '1', 'a', 'x')],
        [after, update(wider, ['1', 'a', 'x', 'w'])],
      ]),
    ).toEqual(['insert t: 1,a,x', '|', 'update t: 1,a,x,w']);
  });

  test('when it is large', () => {
    const statement = { maxRows: 2, maxBytes: 1e6 };
    const updates = ['1', '2', '3', '4'].map((id) => [plan, update(t, [id, 'a', 'x'])] as const);
    expect(runs(updates, new ChangeSets({ ...setBounds, maxChanges: 3, statement }))).toEqual([
      'update t: 1,a,x 2,a,x',
      'update t: 3,a,x',
      '|',
      'update t: 4,a,x',
    ]);
  });

  test('at its least where sets hardly become fewer rows by being large, and later where they do', () => {
    const sizes = (rows: readonly number[]) => {
      const sets = new ChangeSets({ ...setBounds, maxChanges: 8, minChanges: 2 });
      const taken: number[] = [];
      let size = 0;
      for (const id of rows) {
        size += 1;
        const change = { kind: 'update', relation: t, key: null, row: [String(id), 'a', 'x'] } as const;
        if (sets.add(plan, change).length === 0) continue;
        taken.push(size);
        size = 0;
      }
      return taken;
    };
    expect(sizes(Array.from({ length: 8 }, (_, id) => id))).toEqual([2, 2, 2, 2]);
    expect(sizes(Array.from({ length: 22 }, () => 1))).toEqual([2, 4, 8, 8]);
    // Each row twice in a row: four changes are as many rows as twice two.
    expect(sizes(Array.from({ length: 12 }, (_, nth) => nth >> 1))).toEqual([2, 4, 2, 2, 2]);
  });
});

test('where values of a second constraint have met, an update takes the row out and puts it back', () => {
  const changes = [update(t, ['1', 'a', 'y']), update(t, ['2', 'a', 'x'])];
  const innocent = planRelation(t, twoKeys);
  expect(runs(changes.map((script) => [innocent, script]))).toEqual(['|', 'update t: 1,a,y 2,a,x']);
  expect(runs(changes.map((script) => [contested, script]))).toEqual([
    '|',
    'delete t: 1 2',
    'insert t: 1,a,y 2,a,x',
  ]);
  // What does not touch it stays an update; what is not known whole goes alone.
  expect(runs([[contested, update(t, ['1', 'a', unchanged])]])).toEqual(['|', 'update t: 1,a,?']);
  expect(runs([[contested, update(t, ['1', unchanged, 'y'])]])).toEqual(['update t: 1,?,y', '|']);
});
