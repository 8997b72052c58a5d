import { describe, expect, test } from 'vitest';
import { endsGroup } from '../../src/apply/group.js';
import { printSql } from '../../src/apply/print-sql.js';
import { planRelation, type RelationPlan } from '../../src/apply/relation-plan.js';
import { RunBuilder } from '../../src/apply/run.js';
import { runStatement, type Statement } from '../../src/apply/statement.js';
import { unchanged } from '../../src/model/row.js';
import {
  at,
  connected,
  insert,
  keepalive,
  relation,
  remove,
  transaction,
  truncate,
  update,
} from './support.js';
import { table, unique } from './tables.js';

const t = relation('t', 'id*, v, w');
const plan = planRelation(t, table('id, v, w', [unique('id')]));

function statement(plan: RelationPlan, ...scripts: readonly ReturnType<typeof insert>[]): Statement {
  const builder = new RunBuilder();
  for (const script of scripts) {
    const message = script(1n, at(1));
    if (message.kind !== 'change' || message.change.kind === 'truncate') throw new Error('no row change');
    if (builder.add(plan, message.change) !== null) throw new Error('more than one run');
  }
  const run = builder.flush();
  if (run === null) throw new Error('no run');
  return runStatement(run);
}

/** The statement inside of the count. */
const inner = ({ sql }: Statement): string =>
  /^with m as \((.*)\) select case when count/s.exec(sql)?.[1] ?? sql;

describe('a run as a statement', () => {
  test('inserts send their columns as arrays', () => {
    const made = statement(plan, insert(t, '1', 'a', null), insert(t, '2', null, 'b'));
    expect(inner(made)).toBe(
      'insert into "public"."t" ("id", "v", "w") overriding system value ' +
        'select d.c0::pg_catalog.text, d.c1::pg_catalog.text, d.c2::pg_catalog.text ' +
        'from unnest($1, $2, $3) as d (c0, c1, c2) returning 1',
    );
    expect(made.parameters).toEqual([
      ['1', '2'],
      ['a', null],
      [null, 'b'],
    ]);
    expect(made.sql).toContain('count(*) = cardinality($1)');
  });

  test('of updates that leave out other columns each time, a bounded number of texts is kept', () => {
    const names = Array.from({ length: 12 }, (_, nth) => `c${nth}`);
    const wide = relation('wide', ['id*', ...names].join(', '));
    const widePlan = planRelation(wide, table(['id', ...names].join(', '), [unique('id')]));
    const texts = new Set<string>();
    for (let sent = 1; sent < 2 ** names.length; sent += 1) {
      const cells = names.map((name, nth) => ((sent >> nth) & 1 ? name : unchanged));
      texts.add(statement(widePlan, update(wide, ['1', ...cells])).sql);
    }
    expect(texts.size).toBe(2 ** names.length - 1);
    expect(widePlan.statements.size).toBeLessThanOrEqual(256);
  });

  test('updates set what was sent, but the key', () => {
    const made = statement(plan, update(t, ['1', unchanged, 'x']), update(t, ['2', unchanged, 'y']));
    expect(inner(made)).toBe(
      'update only "public"."t" as t set "w" = d.c1::pg_catalog.text from unnest($1, $2) as d (c0, c1) ' +
        'where t."id" operator(pg_catalog.=) any (array[d.c0::pg_catalog.text]) returning 1',
    );
    expect(made.parameters).toEqual([
      ['1', '2'],
      ['x', 'y'],
    ]);
  });

  test('an update that changes the key sets it too, by the old one', () => {
    const made = statement(plan, update(t, ['2', 'a', unchanged], ['1']));
    expect(inner(made)).toContain('set "id" = d.c1::pg_catalog.text, "v" = d.c2::pg_catalog.text from');
    expect(made.parameters).toEqual([['1'], ['2'], ['a']]);
  });

  test('an update with nothing to set still looks for its row', () => {
    const made = statement(plan, update(t, ['1', unchanged, unchanged]));
    expect(inner(made)).toBe(
      'select 1 from only "public"."t" as t, unnest($1) as d (c0) ' +
        'where t."id" operator(pg_catalog.=) any (array[d.c0::pg_catalog.text])',
    );
  });

  test('generated columns are left out, identity ones compared', () => {
    const g = planRelation(relation('g', 'id*, made, seq'), table('id, made=, seq@', [unique('id')]));
    expect(inner(statement(g, insert(g.relation, '1', 'x', '5')))).toContain(
      '("id", "seq") overriding system value',
    );
    expect(inner(statement(g, update(g.relation, ['1', 'x', '5'])))).toBe(
      'select 1 from only "public"."g" as t, unnest($1, $2) as d (c0, c1) ' +
        'where t."id" operator(pg_catalog.=) any (array[d.c0::pg_catalog.text]) and t."seq" = d.c1::pg_catalog.text',
    );
  });

  test('a partitioned table is named without only', () => {
    const p = planRelation(t, table('id, v, w', [unique('id')], true));
    expect(inner(statement(p, remove(t, '1'), remove(t, '2')))).toMatch(
      /^delete from "public"."t" as t using/,
    );
  });

  test('rows without a key are scanned for, and the shape of the text follows the nulls under an index', () => {
    const f = relation('f', 'a, b', 'full');
    const keyless = planRelation(f, table('a, b', [unique('b', { key: false, constraining: false })]));
    const one = statement(keyless, remove(f, '1', 'x'));
    const other = statement(keyless, remove(f, '1', null));
    expect([one.scan, other.scan]).toEqual([true, true]);
    expect(one.sql).toContain('f."b" operator(pg_catalog.=) (select $2::pg_catalog.text)');
    expect(other.sql).not.toContain('operator(pg_catalog.=)');
    expect(one.parameters).toEqual(['1', 'x']);
  });

  test('truncate names all tables once, without cascade', () => {
    const message = truncate([t, plan.relation], true)(1n, at(1));
    if (message.kind !== 'change' || message.change.kind !== 'truncate') throw new Error('no truncate');
    const run = { kind: 'truncate', plans: [plan, plan], change: message.change } as const;
    expect(runStatement(run).sql).toBe('truncate only "public"."t", only "public"."t" restart identity');
  });
});

describe('a group ends', () => {
  const bounds = {
    minChanges: 5,
    maxChanges: 10,
    maxBytes: 100,
    maxAgeMs: 50,
    levelAgeMs: 20,
    maxInFlight: 3,
  };
  const quiet = { open: true, changes: 1, bytes: 1, ageMs: 0, inFlight: 0, level: false };
  test.each([
    ['never before it has begun', { open: false, level: true, ageMs: 100 }, false],
    ['level and nothing in flight', { level: true }, true],
    ['level, and a reply is awaited', { level: true, inFlight: 1, ageMs: 19 }, false],
    ['level, and a reply is long in coming', { level: true, inFlight: 1, ageMs: 20 }, true],
    ['behind and small', {}, false],
    ['behind, and the target has nothing to do', { changes: 5 }, true],
    ['behind, and the target is busy', { changes: 5, inFlight: 1 }, false],
    ['many changes', { changes: 10, inFlight: 1 }, true],
    ['many bytes', { bytes: 100, inFlight: 1 }, true],
    ['old', { ageMs: 50, inFlight: 2 }, true],
  ])('%s: %s', (_, state, expected) => {
    expect(endsGroup({ ...quiet, ...state }, bounds)).toBe(expected);
  });
});

test('a stream is printed as SQL', () => {
  const f = relation('s.f', 'a, b', 'full');
  const messages = [
    ...transaction(
      300,
      [
        insert(t, '1', "it's \\", null),
        insert(relation('bare', '')),
        update(t, ['2', unchanged, 'x'], ['1']),
        update(t, ['1', 'v', 'x']),
        update(f, ['1', unchanged], ['1', null]),
        remove(f, 'a', null),
        remove(relation('bare', '', 'full')),
        truncate([t, f], true),
      ],
      { xid: 7 },
    ),
    keepalive(400),
    connected(300),
  ];
  expect(messages.map(printSql).join('')).toBe(String.raw`begin; -- {"xid":"7","commit_lsn":"0/122"}
insert into "public"."t" ("id", "v", "w") overriding system value values ('1', E'it''s \\', null);
insert into "public"."bare" default values;
update "public"."t" set "id" = '2', "w" = 'x' where "id" = '1';
update "public"."t" set "id" = '1', "v" = 'v', "w" = 'x' where "id" = '1';
update "s"."f" set "a" = '1' where "a" = '1' and "b" is null;
delete from "s"."f" where "a" = 'a' and "b" is null;
delete from "public"."bare" where ctid = (select ctid from only "public"."bare" limit 1);
truncate only "public"."t", only "s"."f" restart identity;
commit; -- {"xid":"7","commit_lsn":"0/122","end_lsn":"0/12C"}
-- {"keepalive":"0/190"}
rollback; -- {"connected":"0/12C"}
`);
});
