/** What each section of a filter file does to a clone, seen on the target. */
import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { readFilters } from '../../src/filter/parse.js';
import { cloneFor } from '../clone/clone-for.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';

/** Everything that a filter can touch, in three schemas; every table holds two rows. */
const shop = `
  create schema app; create schema audit; create schema "Odd.Schema";
  create table app.customer (id int primary key, name text);
  create table app.orders (id serial primary key, customer int references app.customer, note text);
  create index orders_note on app.orders (note);
  create index orders_customer on app.orders (customer);
  create table app.tmp_import (id int generated always as identity primary key, payload text);
  create table app.stage_raw (id int primary key, payload text);
  create table audit.log (id bigserial primary key, order_id int references app.orders, at timestamptz);
  create table "Odd.Schema"."Lo""g 2024" (id int primary key);
  create sequence app.free start 7; select nextval('app.free');

  insert into app.customer values (1, 'a'), (2, 'b');
  insert into app.orders (customer, note) values (1, 'x'), (2, 'y');
  insert into app.tmp_import (payload) values ('p'), ('q');
  insert into app.stage_raw values (1, 'r'), (2, 's');
  insert into audit.log (order_id) values (1), (2);
  insert into "Odd.Schema"."Lo""g 2024" values (1), (2);

  create view app.recent as select * from app.orders;
  create view app.recent_notes as select note from app.recent;
  create materialized view app.totals as select customer, count(*) from app.orders group by customer;
  create unique index totals_customer on app.totals (customer);
  create materialized view app.raw_count as select count(*) from app.stage_raw;
  create function app.describe(o app.orders) returns text language sql as 'select o.note';
  create function app.touch() returns trigger language plpgsql as 'begin return new; end';
  create trigger touch before update on app.orders for each row execute function app.touch();
  create policy seen on app.tmp_import using (true);

  create table app.event (at date not null, what text) partition by range (at);
  create table app.event_2023 partition of app.event for values from ('2023-01-01') to ('2024-01-01');
  create table app.event_2024 partition of app.event for values from ('2024-01-01') to ('2025-01-01');
  create index event_what on app.event (what);
  insert into app.event values ('2023-05-05', 'old'), ('2024-05-05', 'new');
`;

const relations = (database: TestDatabase) =>
  database
    .sql(
      `select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'walferry') and relkind <> 'I' and relkind <> 'i'
       order by (n.nspname || '.' || c.relname) collate "C"`,
    )
    .then((rows) => rows.map((row) => row['name']));

const count = async (database: TestDatabase, table: string) =>
  Number((await database.sql(`select count(*) from ${table}`))[0]?.['count']);

async function cloned(filters: string, setup: string = shop) {
  const source = await createDatabase('source');
  const target = await createDatabase('target');
  const dispose = async () => {
    await source[Symbol.asyncDispose]();
    await target[Symbol.asyncDispose]();
  };
  try {
    await source.sql(setup);
    await using run = await cloneFor(source, target);
    await run.clone({ filters: readFilters(filters, 'filters.ini') });
    return { source, target, said: run.said, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

async function failureOf(filters: string, setup: string = shop): Promise<Failure> {
  try {
    await using _ = await cloned(filters, setup);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('the clone did not fail');
}

const everything = [
  'Odd.Schema.Lo"g 2024',
  'app.customer',
  'app.event',
  'app.event_2023',
  'app.event_2024',
  'app.free',
  'app.orders',
  'app.orders_id_seq',
  'app.raw_count',
  'app.recent',
  'app.recent_notes',
  'app.stage_raw',
  'app.tmp_import',
  'app.tmp_import_id_seq',
  'app.totals',
  'audit.log',
  'audit.log_id_seq',
];
const without = (...names: string[]) => everything.filter((name) => !names.includes(name));

describe('a clone with', () => {
  test('[exclude-schema] has nothing of the schema, and nothing that needs it', async () => {
    await using run = await cloned('[exclude-schema]\naudit\n"Odd.Schema"');
    expect(await relations(run.target)).toEqual(
      without('audit.log', 'audit.log_id_seq', 'Odd.Schema.Lo"g 2024'),
    );
    expect(
      await run.target.sql(`select 1 from pg_namespace where nspname in ('audit', 'Odd.Schema')`),
    ).toEqual([]);
    expect(await count(run.target, 'app.orders')).toBe(2);
  });

  test('[include-only-schema] has these schemas alone', async () => {
    await using run = await cloned('[include-only-schema]\n~/^aud/\n~[^app$]');
    expect(await relations(run.target)).toEqual(without('Odd.Schema.Lo"g 2024'));
  });

  test('[exclude-table] lacks the tables, all that depends on them, and no more', async () => {
    await using run = await cloned('[exclude-table]\napp.orders\napp.~/^tmp_/\n"Odd.Schema"."Lo""g 2024"');
    expect(await relations(run.target)).toEqual(
      without(
        'Odd.Schema.Lo"g 2024',
        'app.orders',
        'app.orders_id_seq',
        'app.recent',
        'app.recent_notes',
        'app.totals',
        'app.tmp_import',
        'app.tmp_import_id_seq',
      ),
    );
    const functions = `select proname from pg_proc where pronamespace = 'app'::regnamespace`;
    expect(await run.target.sql(functions)).toEqual([{ proname: 'touch' }]);
    expect(await run.target.sql(`select conname from pg_constraint where contype = 'f'`)).toEqual([]);
    expect(await count(run.target, 'audit.log')).toBe(2);
    const schema = await run.target.sql(`select 1 from pg_namespace where nspname = 'Odd.Schema'`);
    expect(schema).toHaveLength(1);
  });

  test('[include-only-table] has these tables, the sequences they own, and what does not depend on others', async () => {
    await using run = await cloned('[include-only-table]\napp.orders\napp.event_2024\n');
    expect(await relations(run.target)).toEqual([
      'app.event',
      'app.event_2024',
      'app.free',
      'app.orders',
      'app.orders_id_seq',
      'app.recent',
      'app.recent_notes',
    ]);
    expect(await run.target.sql('select * from app.event')).toHaveLength(1);
    expect(await run.target.sql('select last_value from app.orders_id_seq')).toEqual([{ last_value: '2' }]);
    expect(await run.target.sql(`select tgname from pg_trigger where not tgisinternal`)).toHaveLength(1);
    expect(await run.target.sql(`select conname from pg_constraint where contype = 'f'`)).toEqual([]);
    const indexes = `select count(*) from pg_index where indrelid in ('app.event'::regclass, 'app.event_2024'::regclass)`;
    expect(await run.target.sql(indexes)).toEqual([{ count: '2' }]);
  });

  test('[include-only-table] of a partitioned table has its partitions', async () => {
    await using run = await cloned('[include-only-table]\napp.event');
    expect(await count(run.target, 'app.event')).toBe(2);
  });

  test('[include-only-schema] and [include-only-table] has what both allow', async () => {
    await using run = await cloned('[include-only-schema]\napp\n[include-only-table]\napp.~/./\naudit.log');
    const there = await relations(run.target);
    expect(there).toContain('app.orders');
    expect(there).not.toContain('audit.log');
  });

  test('[exclude-table] of one partition keeps its parent and the others', async () => {
    await using run = await cloned('[exclude-table]\napp.event_2023');
    expect(await run.target.sql('select what from app.event')).toEqual([{ what: 'new' }]);
    expect(await relations(run.target)).toEqual(without('app.event_2023'));
  });

  test('[exclude-table-data] has the table and its indexes, no rows, and no contents of what reads it', async () => {
    await using run = await cloned('[exclude-table-data]\napp.~/^stage/\n~/^app$/.event_2023');
    expect(await relations(run.target)).toEqual(everything);
    expect(await count(run.target, 'app.stage_raw')).toBe(0);
    expect(await run.target.sql('select what from app.event')).toEqual([{ what: 'new' }]);
    const populated = `select relname, relispopulated from pg_class where relkind = 'm' order by 1`;
    expect(await run.target.sql(populated)).toEqual([
      { relname: 'raw_count', relispopulated: 'f' },
      { relname: 'totals', relispopulated: 't' },
    ]);
    const keys = `select count(*) from pg_constraint where conrelid = 'app.stage_raw'::regclass`;
    expect(await run.target.sql(keys)).toEqual([{ count: '1' }]);
  });

  test('[exclude-index] lacks the indexes and their constraints, patterns too', async () => {
    await using run = await cloned(
      '[exclude-index]\napp.orders_note\napp.~/^stage_raw_pkey$/\napp.event_what',
    );
    const indexes = `select relname from pg_class where relkind in ('i', 'I') and relnamespace = 'app'::regnamespace order by 1`;
    const there = (await run.target.sql(indexes)).map((row) => row['relname']);
    expect(there).toEqual([
      'customer_pkey',
      'orders_customer',
      'orders_pkey',
      'tmp_import_pkey',
      'totals_customer',
    ]);
    expect(await run.target.sql(`select 1 from pg_constraint where conname = 'stage_raw_pkey'`)).toEqual([]);
    expect(await relations(run.target)).toEqual(everything);
  });

  test('[exclude-index] of the key that a foreign key needs lacks that too', async () => {
    await using run = await cloned('[exclude-index]\napp.customer_pkey');
    const keys = `select conrelid::regclass from pg_constraint where contype = 'f'`;
    expect(await run.target.sql(keys)).toEqual([{ conrelid: 'audit.log' }]);
  });

  test('[exclude-extension] lacks the extension, and a schema left out stays for one that is not', async () => {
    const setup = `create schema ext; create extension citext with schema ext; create extension pg_trgm with schema ext;
      create table ext.t (a int); create table public.words (word ext.citext primary key); insert into words values ('A');`;
    await using run = await cloned('[exclude-schema]\next\n[exclude-extension]\npg_trgm', setup);
    expect(await run.target.sql(`select extname from pg_extension where extname <> 'plpgsql'`)).toEqual([
      { extname: 'citext' },
    ]);
    expect(await relations(run.target)).toEqual(['public.words']);
    expect(await run.target.sql(`select * from words where word operator(ext.=) 'a'`)).toHaveLength(1);
  });

  test('[include-only-extension] has this extension alone', async () => {
    const setup = `create extension citext; create extension pg_trgm;`;
    await using run = await cloned('[include-only-extension]\n~/^cit/\nplpgsql', setup);
    expect(await run.target.sql(`select extname from pg_extension where extname <> 'plpgsql'`)).toEqual([
      { extname: 'citext' },
    ]);
  });

  test('a sequence of an excluded table has it when a table that stays reads it', async () => {
    const setup = `create table gone (id serial); create table stays (id int default nextval('gone_id_seq'));
      insert into gone default values; insert into gone default values; insert into stays default values;`;
    await using run = await cloned('[exclude-table]\npublic.gone', setup);
    expect(await relations(run.target)).toEqual(['public.gone_id_seq', 'public.stays']);
    expect(await run.target.sql(`select nextval('gone_id_seq')`)).toEqual([{ nextval: '4' }]);
    expect(await run.target.sql(`select pg_get_serial_sequence('stays', 'id') as owner`)).toEqual([
      { owner: null },
    ]);
  });
});

describe('a filter is refused that', () => {
  test('includes what is not there, with a hint about the quotes', async () => {
    const failure = await failureOf('[include-only-table]\napp.Orders\n[include-only-schema]\nOddSchema');
    expect(failure.code).toBe('filter-mismatch');
    expect(failure.message).toContain(
      'line 2, [include-only-table]: the source has no table app."Orders"; it has app.orders',
    );
    expect(failure.message).toContain('line 4, [include-only-schema]: the source has no schema oddschema');
  });

  test('includes nothing at all', async () => {
    const failure = await failureOf('[include-only-table]\napp.~/^nothing_like_it$/');
    expect(failure.message).toContain('no table of the source matches app.~/^nothing_like_it$/');
  });

  test('holds patterns that are none: all are named', async () => {
    const failure = await failureOf('[exclude-table]\napp.~/(/\napp.~/fine/\napp.~/a**[/');
    expect(failure.code).toBe('usage');
    expect(failure.message).toMatch(/line 2: .*parenthes.*: app\.~\/\(\/\nline 4: .*: app\.~\/a\*\*\[\//);
  });

  test('leaves out rows that others point at', async () => {
    const failure = await failureOf('[exclude-table-data]\napp.customer');
    expect(failure.code).toBe('filter-mismatch');
    expect(failure.message).toContain(
      'foreign key orders_customer_fkey of app.orders cannot hold: its rows point at app.customer',
    );
    expect(failure.message).not.toContain('audit.log');
  });

  test('leaves out what a table that stays is made with', async () => {
    const setup = `create schema lib; create function lib.make() returns int language sql as 'select 1';
      create function lib.good(int) returns boolean immutable language sql as 'select true';
      create table stays (id int default lib.make()); create table checked (id int check (lib.good(id)));`;
    const failure = await failureOf('[exclude-schema]\nlib', setup);
    expect(failure.code).toBe('filter-mismatch');
    expect(failure.message).toContain('table public.stays stays, and cannot be made');
    expect(failure.message).toContain('table public.checked stays, and cannot be made');
  });
});

test('a name that an exclude section misses is a remark, and nothing is lost by it', async () => {
  await using run = await cloned('[exclude-table]\napp.nothing\n[exclude-index]\napp.nothing');
  expect(await relations(run.target)).toEqual(everything);
  expect(run.said).toEqual([]);
});

test('what is left out need not be readable', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sqlAsOwner(`create table mine (id int primary key); insert into mine values (1);`);
  await source.sql(`create schema closed; create table closed.t (a int); create table secret (a int);`);
  await using run = await cloneFor(source, target, { as: 'owner' });
  await run.clone({ filters: readFilters('[exclude-schema]\nclosed\n[exclude-table]\npublic.secret', 'f') });
  expect(await relations(target)).toEqual(['public.mine']);
});
