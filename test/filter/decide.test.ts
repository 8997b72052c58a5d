import { describe, expect, test } from 'vitest';
import { decideObjects } from '../../src/filter/decide.js';
import { readFilters } from '../../src/filter/parse.js';
import { judgeMatches } from '../../src/filter/resolve.js';
import { chooseRoots } from '../../src/filter/select.js';
import type { Dependency, FilterFacts, FilterRelation } from '../../src/model/object-filter.js';

const relationClass = 1259;
const ruleClass = 2618;
const constraintClass = 2606;
const namespaceClass = 2615;
const defaultClass = 2604;

const relation = (
  oid: number,
  schema: string,
  name: string,
  kind: FilterRelation['kind'] = 'table',
  partitionOf: number | null = null,
): FilterRelation => ({ oid, schema, name, kind, partitionOf });

/** app: customer ← orders (serial), view recent; event with two partitions. audit: log. */
const relations = [
  relation(1, 'app', 'customer'),
  relation(2, 'app', 'orders'),
  relation(3, 'app', 'recent', 'view'),
  relation(4, 'app', 'totals', 'materialized'),
  relation(5, 'app', 'event', 'partitioned'),
  relation(6, 'app', 'event_1', 'table', 5),
  relation(7, 'app', 'event_2', 'table', 5),
  relation(8, 'audit', 'log'),
  relation(9, 'app', 'gauge', 'materialized'),
];
const object = (classOid: number, oid: number) => ({ classOid, oid });
const needs = (
  from: readonly [number, number],
  to: readonly [number, number],
  more: Partial<Dependency> = {},
): Dependency => ({ object: object(...from), needs: object(...to), part: false, inside: null, ...more });

const dependencies: Dependency[] = [
  ...relations.map(({ oid, schema }) =>
    needs([relationClass, oid], [namespaceClass, schema === 'app' ? 100 : 101]),
  ),
  // A foreign key of orders to customer.
  needs([constraintClass, 50], [relationClass, 1]),
  needs([constraintClass, 50], [relationClass, 2], { part: true }),
  // The view reads orders, the materialized view reads the view; both through their rules.
  needs([ruleClass, 60], [relationClass, 2]),
  needs([relationClass, 3], [ruleClass, 60]),
  needs([ruleClass, 61], [relationClass, 3]),
  needs([relationClass, 4], [ruleClass, 61]),
  // Another reads the partitioned table.
  needs([ruleClass, 62], [relationClass, 5]),
  needs([relationClass, 9], [ruleClass, 62]),
  needs([relationClass, 6], [relationClass, 5], { part: true }),
  needs([relationClass, 7], [relationClass, 5], { part: true }),
  // orders owns its sequence and reads it.
  needs([relationClass, 70], [relationClass, 2], { part: true }),
  needs([defaultClass, 71], [relationClass, 70], { inside: object(relationClass, 2) }),
  needs([defaultClass, 71], [relationClass, 2], { part: true, inside: object(relationClass, 2) }),
];

/** The facts as the server would give them: exact names alone. */
function facts(
  text: string,
  more: Partial<FilterFacts> = {},
): { file: ReturnType<typeof readFilters>; facts: FilterFacts } {
  const file = readFilters(text, 'f');
  const schemas = [
    { oid: 100, name: 'app' },
    { oid: 101, name: 'audit' },
  ];
  const indexes = [{ oid: 80, schema: 'app', name: 'orders_pkey', constraintOid: 81, table: 2, above: [] }];
  const named = (
    name: string | null,
    list: readonly { oid: number; name: string; schema?: string }[],
    schema?: string,
  ) =>
    list
      .filter((one) => one.name === name && (schema === undefined || one.schema === schema))
      .map(({ oid }) => oid);
  const matches = new Map(
    file.rules.map((rule, position) => {
      const text_ = (match: typeof rule.name) => (match?.kind === 'exact' ? match.name : null);
      const schema = text_(rule.schema) ?? '';
      if (rule.name === null) return [position, named(schema, schemas)];
      if (rule.section === 'exclude-index') return [position, named(text_(rule.name), indexes, schema)];
      return [position, named(text_(rule.name), relations, schema)];
    }),
  );
  return {
    file,
    facts: {
      schemas,
      relations,
      sequences: [{ oid: 70, schema: 'app', name: 'orders_id_seq', owner: 2, usedBy: [2] }],
      extensions: [],
      indexes: indexes.filter(({ oid }) => [...matches.values()].flat().includes(oid)),
      matches,
      ...more,
    },
  };
}

function decide(text: string, more: Partial<FilterFacts> = {}) {
  const given = facts(text, more);
  return decideObjects(given.file.rules, given.facts, dependencies);
}

/** Names of relations: left out, and made without rows. */
function outcome(text: string) {
  const filter = decide(text);
  const decisions = relations.map((one) => [one.name, filter.decideTable(one)] as const);
  return {
    out: decisions.filter(([, { schema }]) => !schema).map(([name]) => name),
    rowless: decisions.filter(([, { schema, data }]) => schema && !data).map(([name]) => name),
  };
}

test.each<[string, string, string[], string[]]>([
  ['nothing is said', '', [], []],
  ['a table', '[exclude-table]\napp.customer', ['customer'], []],
  ['a table that views read', '[exclude-table]\napp.orders', ['orders', 'recent', 'totals'], []],
  ['a view', '[exclude-table]\napp.recent', ['recent', 'totals'], []],
  ['a schema', '[exclude-schema]\naudit', ['log'], []],
  [
    'all schemas but one',
    '[include-only-schema]\naudit',
    ['customer', 'orders', 'recent', 'totals', 'event', 'event_1', 'event_2', 'gauge'],
    [],
  ],
  ['a partition', '[exclude-table]\napp.event_1', ['event_1'], []],
  ['a partitioned table', '[exclude-table]\napp.event', ['event', 'event_1', 'event_2', 'gauge'], []],
  [
    'one table included',
    '[include-only-table]\napp.orders',
    ['customer', 'totals', 'event', 'event_1', 'event_2', 'log', 'gauge'],
    [],
  ],
  [
    'one partition included',
    '[include-only-table]\napp.event_2',
    ['customer', 'orders', 'recent', 'totals', 'event_1', 'log', 'gauge'],
    [],
  ],
  [
    'a partitioned table included',
    '[include-only-table]\napp.event',
    ['customer', 'orders', 'recent', 'totals', 'log', 'gauge'],
    [],
  ],
  ['rows', '[exclude-table-data]\napp.orders', [], ['orders', 'totals']],
  ['rows of a partition', '[exclude-table-data]\napp.event_1', [], ['event_1', 'gauge']],
  [
    'rows of a partitioned table',
    '[exclude-table-data]\napp.event',
    [],
    ['event', 'event_1', 'event_2', 'gauge'],
  ],
  ['contents of a materialized view', '[exclude-table-data]\napp.gauge', [], ['gauge']],
  [
    'rows of what is left out anyway',
    '[exclude-table]\napp.orders\n[exclude-table-data]\napp.orders',
    ['orders', 'recent', 'totals'],
    [],
  ],
])('%s', (_, text, out, rowless) => {
  expect(outcome(text)).toEqual({ out, rowless });
});

describe('the rule that decided', () => {
  test.each<[string, string, string | null]>([
    ['[exclude-table]\napp.orders', 'orders', 'line 2, [exclude-table] app.orders'],
    ['[exclude-table]\napp.orders', 'recent', 'depends on app.orders (line 2, [exclude-table] app.orders)'],
    ['[exclude-table]\napp.orders', 'totals', 'depends on app.recent (line 2, [exclude-table] app.orders)'],
    ['[exclude-schema]\naudit', 'log', 'line 2, [exclude-schema] audit'],
    ['[include-only-schema]\napp', 'log', 'not in [include-only-schema]'],
    ['[include-only-table]\napp.event_1', 'event_2', 'not in [include-only-table]'],
    ['[include-only-table]\napp.event_1', 'event', 'holds a table of [include-only-table]'],
    ['[include-only-table]\napp.event_1', 'event_1', 'line 2, [include-only-table] app.event_1'],
    ['[exclude-table-data]\napp.event', 'event_2', 'line 2, [exclude-table-data] app.event'],
    ['[exclude-table-data]\napp.orders', 'customer', null],
  ])('%j decides on %s', (text, name, rule) => {
    const one = relations.find((candidate) => candidate.name === name);
    expect(decide(text).decideTable(one ?? { schema: '', name: '' }).rule).toBe(rule);
  });
});

describe('sequences', () => {
  const sequence = { schema: 'app', name: 'orders_id_seq' };

  test('go with the table that owns them', () => {
    expect(decide('[exclude-table]\napp.orders').decideSequence(sequence)).toEqual({
      kept: false,
      rule: 'depends on app.orders (line 2, [exclude-table] app.orders)',
    });
  });

  test('stay where a table that stays reads them, and are owned by nobody then', () => {
    const used = { oid: 70, ...sequence, owner: 2, usedBy: [2, 8] };
    const filter = decide('[exclude-schema]\napp', { sequences: [used] });
    expect(filter.decideSequence(sequence).kept).toBe(true);
    expect(filter.isDisowned(70)).toBe(true);
    expect(filter.decideSchema('app').kept).toBe(true);
    expect(filter.decideTable({ schema: 'app', name: 'customer' }).schema).toBe(false);
  });

  test('that nobody owns stay, but not without their schema', () => {
    const free = [{ oid: 90, schema: 'audit', name: 'free', owner: null, usedBy: [] }];
    const name = { schema: 'audit', name: 'free' };
    expect(decide('[include-only-table]\napp.orders', { sequences: free }).decideSequence(name).kept).toBe(
      true,
    );
    expect(decide('[exclude-schema]\naudit', { sequences: free }).decideSequence(name).kept).toBe(false);
  });
});

test('an index goes with its constraint, and what needs it', () => {
  const given = facts('[exclude-index]\napp.orders_pkey');
  const roots = chooseRoots(given.file.rules, given.facts);
  expect(roots.objects).toEqual([object(relationClass, 80), object(constraintClass, 81)]);
  const key = needs([constraintClass, 51], [relationClass, 80]);
  const filter = decideObjects(given.file.rules, given.facts, [...dependencies, key]);
  expect([80, 2].map((oid) => filter.decideIndex(oid).kept)).toEqual([false, true]);
  expect([81, 51, 50].map((oid) => filter.decideConstraint(oid).kept)).toEqual([false, false, true]);
});

test('a foreign key to a partitioned key goes with a part of it, the key itself stays', () => {
  const given = facts('[exclude-index]\napp.orders_pkey');
  const [part] = given.facts.indexes;
  if (part === undefined) throw new Error('no index');
  const parts = { ...given.facts, indexes: [{ ...part, above: [90] }] };
  const roots = chooseRoots(given.file.rules, parts);
  expect(roots.objects).toContainEqual(object(relationClass, 90));
  const filter = decideObjects(given.file.rules, parts, [
    ...dependencies,
    needs([constraintClass, 91], [relationClass, 90]),
    needs([relationClass, 90], [constraintClass, 91], { part: true }),
    needs([constraintClass, 52], [relationClass, 90]),
  ]);
  expect([80, 90].map((oid) => filter.decideIndex(oid).kept)).toEqual([false, true]);
  expect([81, 91, 52].map((oid) => filter.decideConstraint(oid).kept)).toEqual([false, true, false]);
  expect(filter.decideConstraint(52).rule).toMatch(/^depends on app\.orders \(line 2, \[exclude-index\]/);
});

test('what falls with a table is listed, its parts are not', () => {
  const filter = decide('[exclude-table]\napp.customer\napp.event_1');
  expect(filter.dependents()).toEqual([
    {
      classOid: constraintClass,
      oid: 50,
      rule: 'depends on app.customer (line 2, [exclude-table] app.customer)',
    },
  ]);
  const names = decide('[exclude-table]\napp.orders').dependents();
  expect(names.map(({ classOid, oid }) => [classOid, oid])).toEqual(
    expect.arrayContaining([
      [relationClass, 3],
      [relationClass, 4],
    ]),
  );
  expect(names.some(({ oid }) => oid === 71 || oid === 70)).toBe(false);
});

test('a table that stays and needs in its CREATE TABLE what is left out is a contradiction', () => {
  const given = facts('[exclude-table]\napp.customer');
  const check = needs([constraintClass, 55], [relationClass, 1], { inside: object(relationClass, 8) });
  const filter = decideObjects(given.file.rules, given.facts, [...dependencies, check]);
  expect(filter.contradictions()).toEqual([
    {
      object: object(relationClass, 8),
      rule: 'depends on app.customer (line 2, [exclude-table] app.customer)',
    },
  ]);
  expect(decide('[exclude-table]\napp.orders').contradictions()).toEqual([]);
});

test('a table that is included and cannot be made is named', () => {
  const given = facts('[include-only-table]\naudit.log');
  const type = needs([relationClass, 8], [relationClass, 1]);
  const filter = decideObjects(given.file.rules, given.facts, [...dependencies, type]);
  expect(filter.lostTables().map(({ table }) => table.name)).toEqual(['log']);
});

test('tables made later are judged by what alone is included', () => {
  const later = { schema: 'app', name: 'later' };
  const elsewhere = { schema: 'new', name: 'later' };
  const data = (text: string) => [later, elsewhere].map((table) => decide(text).decideTable(table).data);
  expect(data('[exclude-table]\napp.orders')).toEqual([true, true]);
  expect(data('[include-only-table]\napp.orders')).toEqual([false, false]);
  expect(data('[include-only-schema]\napp')).toEqual([true, false]);
  expect(data('[exclude-schema]\napp')).toEqual([false, true]);
});

test('including what is not there is a mistake, excluding it is not', () => {
  const text =
    '[include-only-table]\napp.Orders\napp.orders\n[exclude-schema]\nnothing\n[exclude-table-data]\napp.none\n';
  const { file, facts: given } = facts(text);
  const { missing, remarks } = judgeMatches(file, given);
  expect(missing).toEqual([
    'line 2, [include-only-table]: the source has no table app."Orders"; it has app.orders (names are case sensitive; write them in double quotes)',
  ]);
  expect(remarks).toEqual([
    'line 5, [exclude-schema]: the source has no schema nothing',
    'line 7, [exclude-table-data]: the source has no table app.none',
  ]);
});
