/** Where tables and indexes are to be, and by which access method, on targets that have it and that lack it. */
import { describe, expect, test } from 'vitest';
import { loadProblems } from '../../src/clone/problems.js';
import { quoteIdentifier } from '../../src/model/sql.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { expectEqual } from '../support/equal.js';
import { cloneFor, type CloneFor } from './clone-for.js';

describe('tablespaces', () => {
  test('that the target has hold the indexes of keys and of exclusion constraints too', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    const name = `${source.name}_space`;
    for (const { sql } of [source, target]) {
      await sql('set allow_in_place_tablespaces = on');
      await sql(`create tablespace ${name} location ''`);
    }
    const placed = `select c.relname as name, t.spcname as space from pg_class c
      left join pg_tablespace t on t.oid = c.reltablespace where c.relname ~ '^stay' order by 1`;
    try {
      await source.sql(`create table stay (id integer primary key using index tablespace ${name}, during int4range,
          constraint stay_apart exclude using gist (during with &&) using index tablespace ${name},
          constraint stay_elsewhere exclude using gist (during with -|-));
        create index stay_by_range on stay (during) tablespace ${name};
        insert into stay values (1, '[1,2)'), (2, '[5,6)')`);
      // What names none is in the database's own, as its table is.
      await target.sql(`alter database ${target.name} set default_tablespace = ${name}`);
      await using run = await cloneFor(source, target);

      const summary = await run.clone();

      expect(summary.problems).toEqual([]);
      const spaces = await source.sql(placed);
      expect(spaces.filter(({ space }) => space === name).map((row) => row['name'])).toEqual([
        'stay_apart',
        'stay_by_range',
        'stay_pkey',
      ]);
      expect(await target.sql(placed)).toEqual(spaces);
    } finally {
      await target.sql(`alter database ${target.name} reset default_tablespace`);
      for (const { sql } of [source, target]) {
        await sql('drop table if exists stay; drop schema if exists walferry cascade');
        await sql(`drop tablespace ${name}`);
      }
    }
  });

  test('that the target lacks are told of each table and index, with what moves it there', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    const name = `${source.name} "space`;
    const quoted = quoteIdentifier(name);
    const make = async ({ sql }: TestDatabase) => {
      await sql('set allow_in_place_tablespaces = on');
      await sql(`create tablespace ${quoted} location ''`);
    };
    const placed = `select c.relname as name, t.spcname as space from pg_class c
      left join pg_tablespace t on t.oid = c.reltablespace
      where c.relnamespace = 'public'::regnamespace order by 1`;
    await make(source);
    try {
      // One after the other: pg_restore tells it of the first one alone.
      await source.sql(`create table at_home (id int);
        create table away_1 (id integer primary key using index tablespace ${quoted}, x text) tablespace ${quoted};
        create table "away 2" (x text, during int4range,
          exclude using gist (during with &&) using index tablespace ${quoted}) tablespace ${quoted};
        create table away_3 (id int) partition by range (id) tablespace ${quoted};
        create table at_home_too (id int); create index on at_home (id) tablespace ${quoted};
        create materialized view away_4 tablespace ${quoted} as select 1 as id;
        create index away_5 on away_4 (id) tablespace ${quoted};
        insert into away_1 values (1, 'x')`);
      await using run = await cloneFor(source, target);
      const { problems } = await run.clone();
      expect(problems.map(({ object }) => object).toSorted()).toEqual([
        'tablespace of INDEX public away_5 postgres',
        'tablespace of INDEX public."away 2_during_excl"',
        'tablespace of INDEX public.at_home_id_idx',
        'tablespace of INDEX public.away_1_pkey',
        'tablespace of MATERIALIZED VIEW public away_4 postgres',
        'tablespace of TABLE public away 2 postgres',
        'tablespace of TABLE public away_1 postgres',
        'tablespace of TABLE public away_3 postgres',
      ]);
      await expectEqual(source, target);

      await make(target);
      for (const sql of refusedStatements(run)) await target.sql(sql);
      expect(await target.sql(placed)).toEqual(await source.sql(placed));
    } finally {
      for (const { sql } of [source, target]) {
        await sql('drop schema public cascade');
        await sql(`drop tablespace if exists ${quoted}`);
      }
    }
  });

  test('that the target lacks are not asked for with --no-tablespaces', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    const name = `${source.name}_space`;
    await source.sql('set allow_in_place_tablespaces = on');
    await source.sql(`create tablespace ${name} location ''`);
    try {
      await source.sql(`create table t (id integer primary key using index tablespace ${name}, x text) tablespace ${name};
        create index on t (x) tablespace ${name}; insert into t values (1, 'x')`);
      await using run = await cloneFor(source, target);
      const { problems } = await run.clone({ noTablespaces: true });
      expect(problems).toEqual([]);
      expect(run.said).toEqual([]);
      await expectEqual(source, target);
    } finally {
      await source.sql('drop table if exists t');
      await source.sql(`drop tablespace ${name}`);
    }
  });
});

test('an access method that our role may not make is told of each table, with what gives it to them', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  const methods = `select c.relname as name, a.amname as method from pg_class c join pg_am a on a.oid = c.relam
    where c.relnamespace = 'public'::regnamespace order by 1`;
  await source.sql(`create access method other type table handler heap_tableam_handler;
    create table a1 (id int); create table a2 (id int) using other; create table a3 (id int) using other;
    create table a4 (id int) partition by range (id);
    create table a5 partition of a4 for values from (0) to (10) using other; create table a6 (id int);
    create materialized view a7 using other as select 1 as id; insert into a2 values (1)`);
  await source.sql('grant select on all tables in schema public to public');
  await using run = await cloneFor(source, target, { as: 'owner' });

  const { problems } = await run.clone();

  expect(problems.map(({ object }) => object.replace(/ postgres$/, '')).toSorted()).toEqual([
    'ACCESS METHOD - other',
    'access method of MATERIALIZED VIEW public a7',
    'access method of TABLE public a2',
    'access method of TABLE public a3',
    'access method of TABLE public a5',
  ]);
  await expectEqual(source, target);
  for (const sql of refusedStatements(run)) await target.sql(sql);
  expect(await target.sql(methods)).toEqual(await source.sql(methods));
});

/** One by one: tablespaces ask for no transaction around them. */
const refusedStatements = ({ options }: CloneFor): string[] =>
  loadProblems(options.directory).flatMap(({ sql }) => sql ?? []);
