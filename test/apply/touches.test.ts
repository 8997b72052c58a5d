import { expect, test } from 'vitest';
import { planRelation, type RelationPlan } from '../../src/apply/relation-plan.js';
import type { RowChange, Run } from '../../src/apply/run.js';
import { touchedRows } from '../../src/apply/touches.js';
import { unchanged } from '../../src/model/row.js';
import { at, insert, relation, remove, update } from './support.js';
import { table, unique } from './tables.js';

const t = relation('t', 'id*, v');
const plan = planRelation(t, table('id!, v', [unique('id')]));
const pairs = relation('p', 'a*, v, b*');
const pairPlan = planRelation(pairs, table('a!, v, b!', [unique('b, a')]));
const f = relation('f', 'id, v', 'full');
const full = planRelation(f, table('id!, v', [unique('id')]));
const keyless = planRelation(relation('k', 'a', 'full'), table('a'));

function touched(one: RelationPlan, ...scripts: readonly ReturnType<typeof insert>[]) {
  const changes = scripts.map((script): RowChange => {
    const message = script(1n, at(1));
    if (message.kind !== 'change' || message.change.kind === 'truncate') throw new Error('no row change');
    return message.change;
  });
  const kind = changes[0]?.kind ?? 'insert';
  return touchedRows({ kind, plan: one, changes, sent: { keyChanges: false, left: '' } } as Exclude<
    Run,
    { kind: 'truncate' }
  >);
}

test.each([
  ['an insert makes a row', plan, [insert(t, '1', 'x'), insert(t, '2', null)], ['["1"]', '["2"]']],
  ['a delete finds one', plan, [remove(t, '1')], ['["1"]']],
  ['an update finds the row that it makes', plan, [update(t, ['1', 'y'])], ['["1"]']],
  [
    'an update that changes the key finds one row and makes another',
    plan,
    [update(t, ['2', 'y'], ['1'])],
    ['["1"]', '["2"]'],
  ],
  ['a key that was not sent is the old one', full, [update(f, [unchanged, 'y'], ['1', 'x'])], ['["1"]']],
  ['under FULL the old row is sent with every update', full, [update(f, ['1', 'y'], ['1', 'x'])], ['["1"]']],
  ['values in the order of the target’s key', pairPlan, [insert(pairs, 'a', 'v', 'b')], ['["b","a"]']],
] as const)('%s', (_, one, scripts, keys) => {
  expect(touched(one, ...scripts).keys).toEqual(keys);
});

test('the columns are those of the key that rows are found by', () => {
  expect(touched(pairPlan, insert(pairs, 'a', 'v', 'b'))).toMatchObject({
    schema: 'public',
    name: 'p',
    columns: ['b', 'a'],
  });
});

test('rows of a table without a key cannot be named', () => {
  expect(touched(keyless, insert(keyless.relation, 'x'))).toMatchObject({ columns: null });
});
