import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { listRelations } from '../../src/clone/clone.js';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase } from '../support/databases.js';
import { expectEqual } from '../support/equal.js';
import { until } from '../support/until.js';
import { cloneFor } from './clone-for.js';

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const thrown: unknown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (thrown instanceof Failure) return thrown;
  throw new Error(`expected a Failure, got ${String(thrown)}`);
}

const shop = `
  create table item (id integer primary key, name text);
  create index item_name on item (name);
  create table line (id serial primary key, item integer references item);
  insert into item select i, 'n' || i from generate_series(1, 500) i;
  insert into line (item) select i from generate_series(1, 500) i;`;

describe('a target that is not fresh', () => {
  test('a table of the same name is refused, whatever it holds, and stays as it is', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(shop);
    await target.sql('create table item (other text); insert into item values (1)');
    await using run = await cloneFor(source, target);

    const failure = await failureOf(run.clone());

    expect(failure.code).toBe('target-not-empty');
    expect(failure.message).toContain('public.item');
    expect(await target.sql('select other from item')).toEqual([{ other: '1' }]);
    expect(await target.sql(`select to_regclass('line') as line`)).toEqual([{ line: null }]);
  });

  test('--drop-if-exists makes everything anew, also after an earlier clone', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(
      `${shop} create type kind as enum ('a'); create function f() returns int language sql return 1;
      alter default privileges grant select on tables to public`,
    );
    const privileges = `select relname, relacl from pg_class where relnamespace = 'public'::regnamespace order by 1`;
    await using first = await cloneFor(source, target);
    await first.clone();
    await source.sql(`delete from line where id > 100; alter table item add column more text default 'x'`);
    await using second = await cloneFor(source, target);

    await second.clone({ dropIfExists: true });

    await expectEqual(source, target);
    // Those of the first clone do not grant on the tables of the second.
    expect(await target.sql(privileges)).toEqual(await source.sql(privileges));
    expect(await target.sql('select count(*) as n, max(more) as more from item')).toEqual([
      { n: '500', more: 'x' },
    ]);
  });

  test('rows that appear in a table after pre-data are never mixed with ours', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(shop);
    await using run = await cloneFor(source, target);
    // One after the other: beside the first a second worker's COMMIT would be on its way.
    await run.cloneAndDie('clone.table-committed:1', { jobs: { table: 1, index: 1, restore: 1 } });
    // One of the two tables is in; the other gets a stranger's row.
    const tasks = await target.sql(`select name from walferry.task where name like 'copy "%'`);
    expect(tasks).toHaveLength(1);
    const other = tasks[0]?.['name']?.includes('item') === true ? 'line' : 'item';
    await target.sql(`insert into ${other} (id) values (-1)`);

    const failure = await failureOf(run.clone({ resume: true }));

    expect(failure.code).toBe('target-not-empty');
    expect(await target.sql(`select count(*) as n from ${other}`)).toEqual([{ n: '1' }]);
  });
});

describe('the source changes after the snapshot', () => {
  test('a truncated table is refused: the snapshot would copy nothing', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(shop);
    await using run = await cloneFor(source, target);
    await source.sql('truncate line');

    const failure = await failureOf(run.clone());

    expect(failure.code).toBe('table-rewritten');
    expect(failure.message).toContain('public.line');
    // Everything else was finished.
    expect(await target.sql('select count(*) as n from item')).toEqual([{ n: '500' }]);
  });

  test('with --fail-fast nothing new is begun after the first failure', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${shop}
      create table bulk (x text, check (current_database() = '${source.name}'));
      insert into bulk select repeat('x', 500) from generate_series(1, 3000)`);
    await using run = await cloneFor(source, target);

    // The largest is first, and there is one worker only.
    const failure = await failureOf(run.clone({ failFast: true, jobs: { table: 1, index: 1, restore: 1 } }));

    expect(failure.code).toBe('target-statement');
    expect(await target.sql('select count(*) as n from item')).toEqual([{ n: '0' }]);
  });

  test('a dropped table is said and left empty, but is an error where changes follow', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${shop} create table later (id integer); insert into later values (1)`);
    await using run = await cloneFor(source, target);
    await run.cloneAndDie('clone.table-committed:1', { jobs: { table: 1, index: 1, restore: 1 } });
    const [held] = await target.sql(`select count(*) as n from walferry.task where name ~ 'later'`);
    expect(held).toEqual({ n: '0' });
    await source.sql('drop table later');

    const failure = await failureOf(run.clone({ resume: true, follow: true }));
    expect(failure.code).toBe('table-rewritten');
    await run.clone({ resume: true });

    expect(run.said.filter((line) => line.startsWith('warn'))).toEqual([
      "warn table public.later was dropped on the source after the snapshot was taken: the target's stays empty",
    ]);
    expect(await target.sql('select count(*) as n from line')).toEqual([{ n: '500' }]);
  });

  test('a snapshot that nobody holds any more is snapshot-lost', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(shop);
    await using run = await cloneFor(source, target);
    await run.holder.close();

    expect((await failureOf(run.clone())).code).toBe('snapshot-lost');
  });

  test('workers that are inside a lost snapshot finish for those that are not', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${shop} create table x as select 1 as a; create table y as select 2 as a`);
    await using run = await cloneFor(source, target);
    await run.cloneAndDie('clone.pre-data:1');
    await using locker = await source.session();
    await locker.sql('begin; lock table x, y, item, line');
    const running = run.clone({ resume: true, jobs: { table: 2, index: 1, restore: 1 } });
    const waiting = `select pid from pg_stat_activity where datname = current_database()
      and wait_event_type = 'Lock' and application_name = 'walferry copy'`;
    const [one] = await until('both workers wait', async () => {
      const pids = await source.sql(waiting);
      return pids.length === 2 && pids;
    });
    await run.holder.close();

    await source.sql(`select pg_terminate_backend(${one?.['pid']})`);
    await locker.sql('rollback');
    await running;

    expect(run.said).toEqual([expect.stringMatching(/^warn source: .*; copying public\.\w+ again$/)]);
    await expectEqual(source, target);
  });

  test('the last worker that loses the snapshot ends the run with snapshot-lost', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${shop} create table x as select 1 as a`);
    await using run = await cloneFor(source, target);
    await run.cloneAndDie('clone.pre-data:1');
    await using locker = await source.session();
    await locker.sql('begin; lock table x, item, line');
    const running = failureOf(run.clone({ resume: true, jobs: { table: 1, index: 1, restore: 1 } }));
    const waiting = `from pg_stat_activity where datname = current_database()
      and wait_event_type = 'Lock' and application_name = 'walferry copy'`;
    await until('the worker waits', async () => (await source.sql(`select pid ${waiting}`)).length === 1);
    await run.holder.close();
    await source.sql(`select pg_terminate_backend(pid) ${waiting}`);

    expect((await running).code).toBe('snapshot-lost');
  });

  test('a clone that was begun is not finished with another snapshot', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(shop);
    await using run = await cloneFor(source, target);
    await run.cloneAndDie('clone.table-recorded:1');
    await using other = await cloneFor(source, target);

    const failure = await failureOf(run.clone({ resume: true, snapshot: other.options.snapshot }));

    expect(failure.code).toBe('snapshot-lost');
  });
});

describe('what one side refuses', () => {
  test('a table that our role may not read is named before anything is copied', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql('create table secret (id integer); create table "Sec ond" (id integer)');
    await using run = await cloneFor(source, target, { as: 'owner' });

    const failure = await failureOf(run.clone());

    expect(failure.code).toBe('source-rights');
    expect(failure.message).toContain('public.secret, public."Sec ond"');
    expect(await target.sql(`select to_regclass('secret') as secret`)).toEqual([{ secret: null }]);
  });

  test('row security that hides rows is an error, not a smaller copy', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sqlAsOwner(`create table t (id integer); alter table t enable row level security;
      alter table t force row level security; create policy p on t using (false)`);
    await using run = await cloneFor(source, target, { as: 'owner' });

    const failure = await failureOf(run.clone());

    expect(failure.code).toBe('source-rights');
    expect(failure.message).toContain('row security');
  });

  test('one table that the target refuses does not keep the others from being finished', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${shop}
      create table homesick (id integer primary key check (current_database() = '${source.name}'));
      insert into homesick values (1)`);
    await using run = await cloneFor(source, target);

    const failure = await failureOf(run.clone());

    expect(failure.code).toBe('target-statement');
    expect(failure.message).toContain('public.homesick');
    expect(
      await target.sql(`select indexname from pg_indexes where schemaname = 'public' order by 1`),
    ).toEqual(['item_name', 'item_pkey', 'line_pkey'].map((indexname) => ({ indexname })));
  });

  test('an extension that the target lacks is reported; a table that needs it ends the run', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    // file_fdw and its like need a superuser, which the target role is not.
    await source.sql(
      'create extension file_fdw; create table plain (id integer); insert into plain values (1)',
    );
    await source.sql('grant select on plain to public');
    await using run = await cloneFor(source, target, { as: 'owner' });

    const summary = await run.clone();

    expect(summary.problems.map((problem) => problem.sql?.trim())).toEqual([
      'CREATE EXTENSION IF NOT EXISTS file_fdw WITH SCHEMA public;',
      "COMMENT ON EXTENSION file_fdw IS 'foreign-data wrapper for flat file access';",
    ]);
    await expectEqual(source, target);
  });
});

describe('a source without an encoding', () => {
  const properties = `encoding 'SQL_ASCII' locale 'C'`;
  const bytes = `select id, encode(v::bytea, 'hex') as v from t order by id`;
  // The session that makes the rows converts nothing: the bytes are written as octal escapes.
  const setup = `create table good (v text); insert into good values (E'\\303\\251');
    create table t (id integer, v text); insert into t values (1, 'plain'), (2, E'\\351t\\351')`;

  test('has the same bytes on a target without one', async () => {
    await using source = await createDatabase('source', { properties });
    await using target = await createDatabase('target', { properties });
    await source.sql(setup);
    await using run = await cloneFor(source, target);

    await run.clone();

    expect(await target.sql(bytes)).toEqual(await source.sql(bytes));
  });

  test('is not copied into another encoding where its bytes are none of that', async () => {
    await using source = await createDatabase('source', { properties });
    await using target = await createDatabase('target');
    await source.sql(setup);
    await using run = await cloneFor(source, target);

    const failure = await failureOf(run.clone());

    expect(failure.code).toBe('target-statement');
    expect(failure.message).toMatch(/public\.t\b.*invalid byte sequence for encoding/);
    expect(await target.sql('select * from t')).toEqual([]);
    expect(await target.sql('select v from good')).toEqual([{ v: 'é' }]);
  });
});

test('an invalid index is not built, and said', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql('create table t (id integer); insert into t values (1), (1)');
  await expect(source.sql('create unique index concurrently broken on t (id)')).rejects.toThrow();
  await using run = await cloneFor(source, target);

  await run.clone();

  expect(run.said).toEqual(['warn index public.broken is invalid on the source and is not built']);
  expect(await target.sql(`select count(*) as n from pg_indexes where schemaname = 'public'`)).toEqual([
    { n: '0' },
  ]);
});

test('a foreign key that the rows do not keep stays NOT VALID, and the run fails', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(`${shop}
    set session_replication_role = replica; delete from item where id = 3; set session_replication_role = origin`);
  await using run = await cloneFor(source, target);

  const failure = await failureOf(run.clone());

  expect(failure.message).toContain('line_item_fkey of public.line');
  expect(await target.sql(`select convalidated from pg_constraint where conname = 'line_item_fkey'`)).toEqual(
    [{ convalidated: 'f' }],
  );
});

test('asked to stop while an index is built, it stops at once and leaves nothing running', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(`create function slow(i integer) returns integer language plpgsql immutable
      as 'begin perform pg_sleep(0.02 * (current_database() <> ''${source.name}'')::int); return i; end';
    create table t (id integer); insert into t select generate_series(1, 10000); create index slow_idx on t (slow(id))`);
  await using run = await cloneFor(source, target);
  const stop = new AbortController();
  const running = failureOf(run.clone({ signal: stop.signal }));
  const building = `select pid from pg_stat_activity where datname = current_database() and query ~* '^create index'`;
  await until('the index is being built', async () => (await target.sql(building)).length === 1);

  const began = Date.now();
  stop.abort();

  expect((await running).code).toBe('stopped');
  expect(Date.now() - began).toBeLessThan(2000);
  await until('the build has ended', async () => (await target.sql(building)).length === 0);
});

test('relations tell what a publication has to know of them', async () => {
  await using source = await createDatabase('source');
  await source.sql(`
    create table keyed (id integer primary key);
    create table deferred (id integer primary key deferrable);
    create table keyless (id integer);
    create table whole (id integer); alter table whole replica identity full;
    create table silent (id integer primary key); alter table silent replica identity nothing;
    create table indexed (id integer not null); create unique index u on indexed (id);
    alter table indexed replica identity using index u;
    create unlogged table scratch (id integer primary key);
    create table parts (id integer primary key) partition by range (id);
    create table leaf partition of parts default;
    create schema walferry; create table walferry.task (id integer); create temporary table t (id integer)`);
  await using session = await connect(readConninfo(source.uri, {}), {
    side: 'source',
    applicationName: 'test',
  });

  const relations = await listRelations(session);

  const told = relations.map(({ name, kind, persistence, partition, replicaIdentity, identifiable }) =>
    [name, kind, persistence, partition, replicaIdentity, identifiable].join(' '),
  );
  expect(told.sort()).toEqual([
    'deferred table permanent false default false',
    'indexed table permanent false index true',
    'keyed table permanent false default true',
    'keyless table permanent false default false',
    'leaf table permanent true default true',
    'parts partitioned permanent false default true',
    'scratch table unlogged false default true',
    'silent table permanent false nothing false',
    'whole table permanent false full true',
  ]);
});
