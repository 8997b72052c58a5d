/** What belongs to a database besides its tables, and targets that are not fresh. */
import { describe, expect, test } from 'vitest';
import { readFile, stat } from 'node:fs/promises';
import { finalizeTarget } from '../../src/clone/clone.js';
import { describeClone } from '../../src/clone/describe.js';
import { planClone } from '../../src/clone/plan.js';
import { loadProblems, refusedSqlFile } from '../../src/clone/problems.js';
import { readFilters } from '../../src/filter/parse.js';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { fetchSourceSchema } from '../../src/postgres/schema.js';
import { createDatabase } from '../support/databases.js';
import type { TestDatabase } from '../support/databases.js';
import { useMajors } from '../support/majors.js';
import { temporaryDirectory } from '../support/directory.js';
import { expectEqual } from '../support/equal.js';
import { walferry } from '../support/walferry.js';
import { cloneFor } from './clone-for.js';
import { dumpText } from './dump-text.js';
import { richPrivileges, richRows, richSchema, richTables } from './rich-schema.js';

const majors = useMajors();

const settings = `
  select coalesce(pg_get_userbyid(nullif(setrole, 0)), '') as role, unnest(setconfig) as setting
  from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = current_database())
  order by 1, 2`;

async function setAll(source: TestDatabase): Promise<void> {
  await source.sql(`
    alter database ${source.name} set search_path = "$user", public, "Odd "" name";
    alter database ${source.name} set work_mem = '7MB';
    alter database ${source.name} set default_transaction_deferrable = on;
    alter database ${source.name} set default_transaction_isolation = 'serializable';
    alter database ${source.name} set app.tenant = 'it''s';
    alter database ${source.name} set datestyle = 'SQL, DMY';
    alter role postgres in database ${source.name} set lock_timeout = '3s'`);
}

describe('settings of the database', () => {
  test('are the same on the target, also those that would have been in the way', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await setAll(source);
    await source.sql(`create table t (at timestamptz, d date);
      insert into t values ('2020-02-03 04:05', '2020-02-03')`);
    await using run = await cloneFor(source, target);

    const summary = await run.clone();

    expect(summary.problems).toEqual([]);
    expect(await target.sql(settings)).toEqual(await source.sql(settings));
    expect(
      await target.sql(`select extract(epoch from at) as at, d - date '2020-01-01' as d from t`),
    ).toEqual(await source.sql(`select extract(epoch from at) as at, d - date '2020-01-01' as d from t`));
  });

  test('are left out with --skip-db-properties', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await setAll(source);
    await using run = await cloneFor(source, target);

    await run.clone({ skipDatabaseProperties: true });

    expect(await target.sql(settings)).toEqual([]);
  });

  test('that an ordinary role may not set are told with their SQL; the others are set', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(
      `alter database ${source.name} set work_mem = '7MB'; alter database ${source.name} set log_statement = 'none'`,
    );
    await using run = await cloneFor(source, target, { as: 'owner' });

    const summary = await run.clone();

    const sql = `alter database "${target.name}" set "log_statement" to 'none';`;
    expect(summary.problems).toEqual([
      {
        object: 'setting log_statement in the database',
        message: expect.stringContaining('permission denied') as string,
        sql,
      },
    ]);
    expect(await target.sql(settings)).toEqual([{ role: '', setting: 'work_mem=7MB' }]);
    // The file is for us alone, and does what was refused.
    const file = refusedSqlFile(run.options.directory);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await target.sql(await readFile(file, 'utf8'));
    expect(await target.sql(settings)).toEqual(await source.sql(settings));
  });
});

test('what was refused is told once, also of a run that was killed and resumed, and finalized again', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sqlAsOwner('create table t (id integer primary key); insert into t values (1)');
  await source.sql(
    `alter database ${source.name} set log_statement = 'none'; create publication everything for all tables`,
  );
  await using run = await cloneFor(source, target, { as: 'owner' });
  await run.cloneAndDie('clone.table-committed:1');

  const { problems } = await run.clone({ resume: true });

  expect(problems.map(({ object }) => object)).toEqual([
    'setting log_statement in the database',
    expect.stringContaining('PUBLICATION - everything'),
  ]);
  expect(run.said).toEqual([]);
  expect((await finalizeTarget(run.options)).problems).toEqual(problems);
  expect(loadProblems(run.options.directory)).toEqual(problems);
});

test('objects that only a superuser may make are reported with what needs them; no password of theirs is written', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(`
    create table t (id integer primary key); insert into t values (1); grant select on t to public;
    create function raw(integer) returns integer language internal as 'int4abs';
    create view through as select raw(id) from t; create materialized view kept as select raw(id) as r from t;
    create unique index kept_r on kept (r);
    create aggregate inner_total (bigint) (sfunc = int8_avg_accum, stype = internal, finalfunc = numeric_poly_sum);
    create operator family ours using btree; create access method other type table handler heap_tableam_handler;
    create function fire() returns trigger language plpgsql as 'begin return new; end';
    create foreign data wrapper far; create server there foreign data wrapper far;
    create user mapping for public server there options (password 'canary of a mapping');
    create foreign table remote (id integer) server there; create view of_remote as select * from remote;`);
  await using run = await cloneFor(source, target, { as: 'owner' });

  const { problems } = await run.clone();

  expect(problems.map(({ object }) => object.replace(/ postgres$/, '')).toSorted()).toEqual([
    'ACCESS METHOD - other',
    'AGGREGATE public inner_total(bigint)',
    'FOREIGN DATA WRAPPER - far',
    'FOREIGN TABLE public remote',
    'FUNCTION public raw(integer)',
    'INDEX public kept_r',
    'MATERIALIZED VIEW DATA public kept',
    'MATERIALIZED VIEW public kept',
    'OPERATOR FAMILY public ours',
    'SERVER - there',
    'USER MAPPING - USER MAPPING public SERVER there',
    'VIEW public of_remote',
    'VIEW public through',
  ]);
  await expectEqual(source, target);
  const told = await readFile(refusedSqlFile(run.options.directory), 'utf8');
  expect(JSON.stringify(problems) + told + run.said.join()).not.toContain('canary of a mapping');
  // In the order of the file, by somebody who may, everything is there.
  await target.sql(told);
  expect(await target.sql('select * from kept')).toEqual([{ r: '1' }]);
  expect(await target.sql('select * from through')).toEqual([{ raw: '1' }]);
});

test('the program tells what was refused once, with the SQL and the file', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await using directory = await temporaryDirectory();
  await source.sqlAsOwner('create table t (id integer primary key)');
  await source.sql(
    `create publication everything for all tables; alter database ${source.name} set log_statement = 'none'`,
  );
  const sides = ['--source', source.neonUri, '--target', target.neonUri, '--dir', directory.path];

  await using run = walferry(['clone', '--no-owner', ...sides]);
  const { code, stderr } = await run.exit;

  expect(code).toBe(0);
  expect(stderr).toContain(
    `2 things were refused on the target; the rest was done. To be run by somebody who may: ${refusedSqlFile(directory.path)}`,
  );
  expect(stderr.match(/CREATE PUBLICATION everything/g)).toHaveLength(1);
  expect(stderr.match(/set "log_statement"/g)).toHaveLength(1);
  await target.sql(await readFile(refusedSqlFile(directory.path), 'utf8'));
  expect(await target.sql('select pubname from pg_publication')).toEqual([{ pubname: 'everything' }]);
});

describe('statistics', () => {
  test('are there for partitioned and inherited parents and materialized views, and not with --skip-vacuum', async () => {
    await using source = await createDatabase('source');
    await source.sql(`
      create table part (id integer, k integer) partition by range (id);
      create table part_1 partition of part for values from (0) to (100) partition by list (k);
      create table part_1_0 partition of part_1 default;
      create table parent (id integer); create table child () inherits (parent);
      insert into part select i, i % 3 from generate_series(1, 99) i; insert into child select generate_series(1, 50);
      create materialized view filled as select * from part; create materialized view empty as select 1 as one with no data`);
    const analyzed = `select distinct starelid::regclass::text as name, stainherit as inherited from pg_statistic
      where starelid >= 16384 and starelid::regclass::text !~ '^walferry' order by 1, 2`;
    await using target = await createDatabase('target');
    await using run = await cloneFor(source, target);
    await run.clone();
    expect((await target.sql(analyzed)).map(({ name, inherited }) => `${name} ${inherited}`)).toEqual([
      'child f',
      'filled f',
      'parent t',
      'part t',
      'part_1 t',
      'part_1_0 f',
    ]);

    await using other = await createDatabase('target');
    await using second = await cloneFor(source, other);
    await second.clone({ skipVacuum: true });
    expect(await other.sql(analyzed)).toEqual([]);
  });

  test('that fail for a row, as on the source, are told and end nothing', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`
      create table ratios (a integer, b integer); create statistics ratio on (a / b) from ratios;
      create table root (a integer, b integer) partition by list (a);
      create table leaf partition of root default; create statistics share on (a / b) from root;
      create table plain (a integer);
      insert into ratios values (1, 1), (1, 0); insert into root values (1, 0); insert into plain values (1)`);
    await expect(source.sql('analyze ratios')).rejects.toThrow('division by zero');
    await using run = await cloneFor(source, target);

    await run.clone();

    expect(run.said.toSorted()).toEqual(
      ['ratios', 'root'].map(
        (name) => `warn public.${name} is not analyzed: division by zero (SQLSTATE 22012)`,
      ),
    );
    expect(await target.sql(`select from pg_stats where tablename = 'plain'`)).toHaveLength(1);
    await expectEqual(source, target);
  });
});

describe('foreign tables below others', () => {
  const schema = `
    create table part (id integer, k integer) partition by range (id);
    create table part_1 partition of part for values from (0) to (100) partition by list (k);
    create table part_1_0 partition of part_1 default;
    create foreign table part_2 partition of part for values from (100) to (200)
      server files options (filename '/not/there');
    create table parent (id integer); create table child () inherits (parent);
    create foreign table distant () inherits (parent) server files options (filename '/not/there');
    create table other (id integer);
    insert into part select i, i % 3 from generate_series(1, 99) i; insert into child select generate_series(1, 50);
    insert into parent select generate_series(1, 50); insert into other select generate_series(1, 50)`;
  const server = `create extension file_fdw; create server files foreign data wrapper file_fdw;
    grant usage on foreign server files to public`;

  test.for([15, 18])(
    'are not read to analyze what is above them on %i, which is told',
    async (major, context) => {
      await using source = await createDatabase('source');
      const targetServer = await majors.server(context, major, 'target');
      await using target = await createDatabase('target', { server: targetServer });
      await source.sql(`${server}; ${schema}`);
      await using run = await cloneFor(source, target);

      const summary = await run.clone();

      expect(summary.problems).toEqual([]);
      expect(run.said.toSorted()).toEqual(
        ['parent', 'part'].map(
          (name) =>
            `warn public.${name} is not analyzed: ANALYZE reads the foreign tables below it; run it when their servers can be reached`,
        ),
      );
      const analyzed = await target.sql(`select distinct starelid::regclass::text as name from pg_statistic
      where starelid >= 16384 and starelid::regclass::text !~ '^walferry' order by 1`);
      expect(analyzed.map(({ name }) => name)).toEqual(['child', 'other', 'part_1', 'part_1_0']);
      expect(await target.sql('select count(*) from only parent')).toEqual([{ count: '50' }]);
    },
  );

  test('that may not be made are told with their place in the table, which has its own rows', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${server}; ${schema};
      create foreign table counted (id serial) server files options (filename '/not/there');
      grant select on all tables in schema public to public; grant select on all sequences in schema public to public`);
    await using run = await cloneFor(source, target, { as: 'owner' });

    const summary = await run.clone({ noAcl: true });

    expect(summary.problems.map(({ object }) => object.replace(/ postgres$/, ''))).toEqual([
      'EXTENSION - file_fdw',
      'COMMENT - EXTENSION file_fdw',
      'SERVER - files',
      'FOREIGN TABLE public counted',
      'SEQUENCE OWNED BY public counted_id_seq',
      'FOREIGN TABLE public distant',
      'FOREIGN TABLE public part_2',
      'TABLE ATTACH public part_2',
      'DEFAULT public counted id',
    ]);
    expect(await target.sql('select count(*) from part')).toEqual([{ count: '99' }]);
  });
});

describe('publications and subscriptions', () => {
  test('publications are copied, subscriptions are left out and said', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create schema s; create table s.t (id integer primary key, x text); create table u (id integer primary key);
      create publication part for table s.t (id) where (id > 3), u with (publish = 'insert');
      create publication whole for tables in schema s;
      create subscription away connection 'host=nowhere password=canary' publication p with (connect = false)`);
    try {
      await using run = await cloneFor(source, target);
      const summary = await run.clone();
      expect(summary.problems).toEqual([]);
      expect(run.said).toEqual(['warn subscription away is not copied']);
      expect((await dumpText(target)).match(/PUBLICATION[^;]*/g)).toEqual(
        (await dumpText(source, '--no-subscriptions')).match(/PUBLICATION[^;]*/g),
      );
      expect(await target.sql('select count(*) as n from pg_subscription')).toEqual([{ n: '0' }]);
    } finally {
      await source.sql('alter subscription away set (slot_name = none); drop subscription away');
    }
  });
});

test('a user mapping whose options are kept from our role is said to be made without them', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  const server = 'create foreign data wrapper f; create server s foreign data wrapper f';
  await source.sql(`${server}; create user mapping for postgres server s options (password 'canary')`);
  await target.sql(`${server}; alter server s owner to walferry_neon`);
  await using run = await cloneFor(source, target, { as: 'owner' });

  await run.clone();

  expect(run.said).toContain(
    'warn the user mapping of postgres on server s is made without its options (user, password, …), which our role on the source may not read',
  );
  expect(
    await target.sql('select usename, umoptions from pg_user_mappings where usename = $$postgres$$'),
  ).toEqual([{ usename: 'postgres', umoptions: null }]);
});

describe('materialized views', () => {
  test('fill in the order in which they read each other, whatever their names', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create table t as select generate_series(1, 10) as id;
      create materialized view z as select sum(id) as n from t;
      create view between as select n * 2 as n from z;
      create materialized view a as select n + 1 as n from between;
      create materialized view m as select a.n + z.n as n from a, z;
      create materialized view unfilled as select n from m with no data;
      create index on m (n); create unique index on unfilled (n);
      create schema theirs; create table theirs.t as select 7 as id;
      create materialized view theirs.by_grant as select id from theirs.t;
      alter materialized view theirs.by_grant owner to pg_monitor;
      grant usage on schema theirs to pg_monitor; grant select on theirs.t to pg_monitor`);
    await using run = await cloneFor(source, target);

    const { problems } = await run.clone();

    expect(problems).toEqual([]);
    // Filled as its owner, who reads the table by what was granted.
    expect(await target.sql('select id from theirs.by_grant')).toEqual([{ id: '7' }]);
    expect(await target.sql('select n from m')).toEqual([{ n: '166' }]);
    expect(await dumpText(target)).toBe(await dumpText(source));
    expect(await target.sql(`select relispopulated from pg_class where relname = 'unfilled'`)).toEqual([
      { relispopulated: 'f' },
    ]);
  });
});

describe('a target that is not fresh', () => {
  test.each(['superuser', 'owner'] as const)(
    'a rich schema is cloned twice with --drop-if-exists by %s',
    async (as) => {
      await using source = await createDatabase('source');
      await using target = await createDatabase('target');
      const sql = as === 'owner' ? source.sqlAsOwner : source.sql;
      for (const text of [richSchema, richTables, richRows]) await sql(text);
      if (as === 'superuser') await source.sql(richPrivileges);
      else await source.sql('alter table app.egg no force row level security');
      await using first = await cloneFor(source, target, { as });
      await first.clone();
      await source.sql(
        `delete from app.scratch where id > 10; drop view app.plain cascade; create view app.plain as select 1 as one`,
      );
      await using second = await cloneFor(source, target, { as });

      const refused = await second.clone().then(
        () => null,
        (error: unknown) => error,
      );
      const summary = await second.clone({ dropIfExists: true });

      expect(refused).toMatchObject({ code: 'target-not-empty' });
      expect(summary.problems).toEqual([]);
      await expectEqual(source, target);
      if (as === 'superuser') expect(await dumpText(target)).toBe(await dumpText(source));
    },
  );

  test('schemas that exist are taken as they are, with what others keep in them', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create schema app; comment on schema app is 'ours'; grant usage on schema app to public;
      create table app.t (id integer primary key); create type app.kind as enum ('a'); insert into app.t values (1)`);
    await target.sql(
      `create schema app; create table app.theirs as select 7 as id; grant create on schema app to walferry_neon`,
    );
    for (const as of ['superuser', 'owner'] as const) {
      if (as === 'owner') {
        await target.sql('drop table app.t; drop type app.kind; drop schema walferry cascade');
        await source.sql(`grant select on app.t to public; alter table app.t owner to walferry_owner`);
      }
      await using run = await cloneFor(source, target, { as });

      const summary = await run.clone();

      expect(summary.problems.filter(({ object }) => object.startsWith('TABLE'))).toEqual([]);
      expect(await target.sql('select id from app.t')).toEqual([{ id: '1' }]);
      expect(await target.sql('select id from app.theirs')).toEqual([{ id: '7' }]);
    }
    expect(
      await target.sql(
        `select has_schema_privilege('pg_monitor', 'app', 'usage') as granted, obj_description('app'::regnamespace) as comment`,
      ),
    ).toEqual([{ granted: 't', comment: 'ours' }]);
  });
});

test('what is dropped with an extension on the source is dropped with it on the target', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(`create extension citext; create extension hstore;
    create table t (id integer primary key, x text unique, exclude (id with =));
    create index t_by_x on t (x); insert into t values (1, 'x');
    create function noted() returns trigger language plpgsql as 'begin return new; end';
    create trigger note before insert on t for each row execute function noted();
    create materialized view m as select id from t; create index m_by_id on m (id);
    alter index t_pkey depends on extension citext;
    alter index t_by_x depends on extension citext; alter index t_by_x depends on extension hstore;
    alter index t_id_excl depends on extension hstore; alter index m_by_id depends on extension hstore;
    alter function noted() depends on extension citext; alter materialized view m depends on extension citext;
    alter trigger note on t depends on extension citext`);
  const links = `select pg_describe_object(classid, objid, objsubid) as object, extname as extension
    from pg_depend join pg_extension e on e.oid = refobjid where deptype = 'x' order by 1, 2`;
  await using run = await cloneFor(source, target);

  const summary = await run.clone();

  expect(summary.problems).toEqual([]);
  const expected = await source.sql(links);
  expect(expected).toHaveLength(8);
  expect(await target.sql(links)).toEqual(expected);

  // An extension that the target does without is told of, and keeps nothing from being made.
  await target.sql('drop table t cascade; drop function noted; drop extension hstore cascade');
  await source.sql('drop materialized view m');
  await using second = await cloneFor(source, target);
  const without = await second.clone({ skipExtensions: true, dropIfExists: true });
  expect(without.problems.map(({ object, sql }) => [object, sql])).toEqual([
    ['index public.t_id_excl', 'alter index "public"."t_id_excl" depends on extension "hstore";'],
    ['index public.t_by_x', 'alter index "public"."t_by_x" depends on extension "hstore";'],
  ]);
  expect(
    await target.sql("select indexrelid::regclass as name from pg_index where indrelid = 't'::regclass"),
  ).toHaveLength(4);
});

test('what depends on an extension that is left out is told, and the rest is made', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(`create extension citext; create table t (id integer primary key); insert into t values (1);
    create function noted() returns trigger language plpgsql as 'begin return new; end';
    create trigger note before insert on t for each row execute function noted();
    alter function noted() depends on extension citext; alter index t_pkey depends on extension citext`);
  await using run = await cloneFor(source, target);

  const { problems } = await run.clone({
    filters: readFilters('[exclude-extension]\ncitext', 'filters.ini'),
  });

  const told = problems.filter(({ message }) => message.includes('citext')).map(({ object }) => object);
  expect(told.toSorted()).toEqual(['FUNCTION public noted() postgres', 'index public.t_pkey']);
  expect(await target.sql('select id from t')).toEqual([{ id: '1' }]);
});

test('a key without overlaps has its storage parameters', async (context) => {
  await using database = await createDatabase('target', {
    server: await majors.server(context, 18, 'target'),
  });
  await database.sql(`create extension btree_gist;
    create table stay (room integer, during daterange, who text, constraint "one ""each" primary key
      (room, during without overlaps) include (who) with (fillfactor = 70, buffering = off) deferrable initially deferred)`);
  const definition = `select pg_get_indexdef(indexrelid) as index, pg_get_constraintdef(k.oid) as key
    from pg_index join pg_constraint k on k.conindid = indexrelid where indrelid = 'stay'::regclass`;
  const before = await database.sql(definition);
  expect(before[0]?.['index']).toContain('fillfactor');
  await using session = await connect(readConninfo(database.uri, {}), {
    side: 'source',
    applicationName: 'test',
  });

  const [stay] = planClone(await fetchSourceSchema(session)).tables;

  await database.sql('alter table stay drop constraint "one ""each"');
  for (const { sql } of stay?.finishing ?? []) await database.sql(sql);
  expect(await database.sql(definition)).toEqual(before);
});

test('a plan counts every index: those of keys and of exclusion constraints too', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(`create table stay (id integer primary key, during int4range, " exclude " integer unique,
      exclude using gist (during with &&), exclude using gist (during with -|-));
    create index on stay (during)`);
  await using run = await cloneFor(source, target);

  const plan = await describeClone({ ...run.options, filters: null });

  const [all] = await source.sql(`select count(*) from pg_index where indrelid = 'stay'::regclass`);
  expect([String(plan.indexes), plan.tables.map(({ indexes }) => indexes)]).toEqual([all?.['count'], [5]]);
});

test('a target that ends long transactions has its materialized views filled, by an older pg_restore too', async (context) => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target', { server: await majors.server(context, 17, 'target') });
  await target.sql(`alter database ${target.name} set transaction_timeout = '300ms'`);
  await source.sql(`create materialized view slow as select pg_sleep(0.6)::text as waited, 1 as id;
    create index on slow (id)`);
  await using run = await cloneFor(source, target);

  const summary = await run.clone();

  expect(summary.problems).toEqual([]);
  expect(await target.sql('select id from slow')).toEqual([{ id: '1' }]);
});
