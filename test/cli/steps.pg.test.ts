import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';
import { expectEqual } from '../support/equal.js';
import { walferry, type WalferryExit } from '../support/walferry.js';

const shop = `
  create schema "Sales";
  create table public.customer (id bigserial primary key, name text not null unique);
  create table "Sales"."Order" (
    id bigint generated always as identity primary key,
    customer bigint not null references public.customer,
    at timestamptz default now());
  create index "By customer" on "Sales"."Order" (customer);
  create view "Sales".totals as select customer, count(*) from "Sales"."Order" group by 1;
  create function public.stamp() returns trigger language plpgsql as
    $$ begin new.at := '2001-01-01'; return new; end $$;
  create trigger stamp before insert on "Sales"."Order" for each row execute function public.stamp();
  insert into public.customer (name) select 'customer ' || i from generate_series(1, 200) i;
  insert into "Sales"."Order" (customer, at) select 1 + i % 200, '2020-01-01' from generate_series(1, 900) i;
  update "Sales"."Order" set at = '2024-02-29 12:00+00' where id % 7 = 0;
`;

type Work = { readonly source: TestDatabase; readonly target: TestDatabase; readonly directory: string };

/** Runs a command in the work directory; `sides` says which connection strings it is given. */
async function step(
  { source, target, directory }: Work,
  words: string,
  sides: 'both' | 'source' | 'target' = 'both',
): Promise<WalferryExit> {
  const given = [
    ...(sides === 'target' ? [] : ['--source', source.uri]),
    ...(sides === 'source' ? [] : ['--target', target.uri]),
  ];
  await using process = walferry([...words.split(' '), '--dir', directory, ...given]);
  return await process.exit;
}

async function good(...run: Parameters<typeof step>): Promise<WalferryExit> {
  const exit = await step(...run);
  expect([run[1], exit.code, exit.stderr]).toEqual([run[1], 0, expect.not.stringContaining('ERROR')]);
  return exit;
}

/** What there is of each kind, as counted on the database itself. */
async function count(database: TestDatabase): Promise<Record<string, string | null>> {
  const [row] = await database.sql(`
    select (select count(*) from pg_tables where schemaname in ('public', 'Sales')) as tables,
      (select count(*) from pg_indexes where schemaname in ('public', 'Sales')) as indexes,
      (select count(*) from pg_constraint where contype in ('p', 'u')
        and connamespace in ('public'::regnamespace, (select oid from pg_namespace where nspname = 'Sales'))) as keys,
      (select count(*) from pg_constraint where contype = 'f' and convalidated) as foreign_keys,
      (select count(*) from pg_trigger where not tgisinternal) as triggers`);
  return row ?? {};
}

const rowsOf = async (database: TestDatabase) =>
  Number((await database.sql('select count(*) from "Sales"."Order"'))[0]?.['count']);

const full = { tables: '2', indexes: '4', keys: '3', foreign_keys: '1', triggers: '1' };

describe('a clone put together by hand', () => {
  test('dump, pre-data, rows, indexes, constraints, sequences, post-data: each makes its part and no more', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: `${temporary.path}/is made/by the first` };
    await source.sql(shop);

    await good(work, 'dump schema', 'source');
    expect(await readdir(`${work.directory}/schema`)).toEqual(
      expect.arrayContaining(['schema.dump', 'source.json']),
    );

    await good(work, 'restore pre-data', 'target');
    expect(await count(target)).toEqual({
      tables: '2',
      indexes: '0',
      keys: '0',
      foreign_keys: '0',
      triggers: '0',
    });
    expect(await rowsOf(target)).toBe(0);

    const rows = await good(work, 'copy table-data --resume');
    expect(rows.stderr).toContain('the rows of 2 tables are on the target');
    expect(await rowsOf(target)).toBe(900);
    expect((await count(target))['indexes']).toBe('0');

    const indexes = await good(work, 'copy indexes --resume');
    expect(indexes.stderr).toContain('indexes and constraints are on the target');
    expect(await count(target)).toEqual({ ...full, foreign_keys: '0', triggers: '0' });

    await good(work, 'copy sequences');
    await good(work, 'restore post-data', 'target');
    expect(await count(target)).toEqual(full);
    await expectEqual(source, target);
    const sequence = `select last_value, is_called from customer_id_seq`;
    expect(await target.sql(sequence)).toEqual(await source.sql(sequence));

    // Run again, no step does anything, or harm.
    for (const again of ['copy table-data', 'copy indexes', 'copy constraints', 'copy sequences']) {
      await good(work, again);
    }
    for (const again of ['restore pre-data', 'restore post-data']) await good(work, again, 'target');
    expect(await count(target)).toEqual(full);
    await expectEqual(source, target);
    // Sixteen processes, one after the other.
  }, 300_000);

  test('copy schema and copy data make what a clone makes, foreign keys and triggers notwithstanding', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: temporary.path };
    await source.sql(shop);

    await good(work, 'copy schema');
    expect(await count(target)).toEqual(full);
    expect(await rowsOf(target)).toBe(0);

    const exit = await good(work, 'copy data');
    expect(exit.stderr).toContain('they are not fired by the copy');
    expect(await count(target)).toEqual(full);
    await expectEqual(source, target);
    const insert = `insert into "Sales"."Order" (customer) values (1) returning id`;
    expect(await target.sql(insert)).toEqual([{ id: '901' }]);
  });

  test('copy constraints takes indexes over that are there', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: temporary.path };
    await source.sql('create table t (id int primary key, other int); insert into t values (1)');
    await target.sql('create table t (id int not null, other int); create unique index t_pkey on t (id)');
    await good(work, 'copy constraints');
    expect(
      await target.sql(`select conname, contype from pg_constraint where conrelid = 't'::regclass`),
    ).toEqual([{ conname: 't_pkey', contype: 'p' }]);
  });
});

describe('rows', () => {
  test('are not copied over rows that somebody else has put there; --restart empties the tables first', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: temporary.path };
    await source.sql('create table t (id int); insert into t select generate_series(1, 50)');
    await target.sql('create table t (id int); insert into t values (-1)');

    const refused = await step(work, 'copy table-data');
    expect([refused.code, refused.stderr]).toEqual([7, expect.stringContaining('holds rows')]);
    expect(await target.sql('select id from t')).toEqual([{ id: '-1' }]);

    // What was begun is gone on with, or begun anew, but only when that is said.
    const unsaid = await step(work, 'copy table-data');
    expect([unsaid.code, unsaid.stderr]).toEqual([1, expect.stringContaining('copy table-data --dir')]);
    await good(work, 'copy table-data --restart');
    await expectEqual(source, target);
  });

  test('go into a table that is partitioned on the target', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: temporary.path };
    await source.sql('create table t (id int); insert into t select generate_series(1, 50)');
    await target.sql(`create table t (id int) partition by range (id);
      create table t1 partition of t for values from (0) to (20);
      create table t2 partition of t default;
      insert into t values (3), (30)`);
    await good(work, 'copy table-data --restart');
    expect(
      await target.sql('select (select count(*) from t1) as low, (select count(*) from t2) as high'),
    ).toEqual([{ low: '19', high: '31' }]);
  });

  test('go on after a kill with the snapshot that another process holds, and no table is copied twice', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: temporary.path };
    for (const table of ['a', 'b', 'c']) {
      await source.sql(`create table ${table} as select generate_series(1, 1000) i`);
    }
    await using holder = walferry(['snapshot', '--source', source.uri, '--dir', work.directory]);
    await holder.waitForOutput(/^[0-9A-F]+-[0-9A-F]+-\d+$/m);
    await good(work, 'copy schema');

    const words = ['copy', 'table-data', '--dir', work.directory, '--jobs', '1'];
    await using killed = walferry([...words, '--source', source.uri, '--target', target.uri], {
      env: { WALFERRY_FAILPOINT: 'clone.table-committed:2' },
    });
    expect((await killed.exit).signal).toBe('SIGKILL');
    await source.sql('delete from a; delete from b; delete from c');
    await good(work, 'copy table-data --resume');
    for (const table of ['a', 'b', 'c']) {
      expect(await target.sql(`select count(*) from ${table}`)).toEqual([{ count: '1000' }]);
    }

    holder.kill('SIGTERM');
    expect((await holder.exit).code).toBe(0);
  });

  test('go on with another snapshot only when --not-consistent says so', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: temporary.path };
    for (const table of ['a', 'b'])
      await source.sql(`create table ${table} as select generate_series(1, 1000) i`);
    await good(work, 'copy schema');
    const words = ['copy', 'table-data', '--dir', work.directory, '--jobs', '1'];
    await using killed = walferry([...words, '--source', source.uri, '--target', target.uri], {
      env: { WALFERRY_FAILPOINT: 'clone.table-committed:1' },
    });
    expect((await killed.exit).signal).toBe('SIGKILL');

    const refused = await step(work, 'copy table-data --resume');
    expect([refused.code, refused.stderr]).toEqual([6, expect.stringContaining('is gone')]);
    // One that is held, and not the first one, is no better, also when it is named.
    await using other = walferry(['snapshot', '--dir', `${work.directory}/other`, '--source', source.uri]);
    const [name] = await other.waitForOutput(/^[0-9A-F]+-[0-9A-F]+-\d+$/m);
    const mixed = await step(work, `copy table-data --resume --snapshot ${name}`);
    expect([mixed.code, mixed.stderr]).toEqual([1, expect.stringContaining('of two times')]);
    await good(work, 'copy table-data --resume --not-consistent');
    await expectEqual(source, target);
  });

  test('want their tables on the target', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    await source.sql('create table "Not there" (i int)');
    const exit = await step({ source, target, directory: temporary.path }, 'copy table-data');
    expect([exit.code, exit.stderr]).toEqual([7, expect.stringContaining('no table "public"."Not there"')]);
    expect(exit.stderr).toContain('walferry copy schema');
  });
});

test('nothing is dropped or emptied where source and target are one database', async () => {
  await using source = await createDatabase('source');
  await using temporary = await temporaryDirectory();
  await source.sql(shop);
  const all = await count(source);
  const commands = [
    'clone --drop-if-exists',
    'clone --restart',
    'clone --follow --drop-if-exists',
    'copy schema --drop-if-exists',
    'copy data --drop-if-exists',
    'copy table-data --restart',
    'restore pre-data --drop-if-exists',
    'stream setup',
  ];
  for (const [index, words] of commands.entries()) {
    const work = { source, target: source, directory: `${temporary.path}/${index}` };
    if (words.startsWith('restore')) await good(work, 'dump schema', 'source');
    const exit = await step(work, words, words.startsWith('restore') ? 'target' : 'both');
    expect([words, exit.code, exit.stderr]).toEqual([
      words,
      7,
      expect.stringContaining('source and target are one and the same database'),
    ]);
  }
  expect([await count(source), await rowsOf(source)]).toEqual([all, 900]);
});

describe('a work directory', () => {
  test('of another source is refused, and taken with --restart', async () => {
    await using source = await createDatabase('source');
    await using other = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const directory = temporary.path;
    await source.sql('create table of_source ()');
    await other.sql('create table of_other ()');
    await good({ source, target, directory }, 'dump schema', 'source');
    const refused = await step({ source: other, target, directory }, 'copy schema');
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('belongs to another run')]);
    expect(await target.sql(`select to_regclass('of_source') as a, to_regclass('of_other') as b`)).toEqual([
      { a: null, b: null },
    ]);
    await good({ source: other, target, directory }, 'copy schema --restart');
    expect(await target.sql(`select to_regclass('of_source') as a, to_regclass('of_other') as b`)).toEqual([
      { a: null, b: 'of_other' },
    ]);
  });

  test('without a dump is no use to restore', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: temporary.path };
    const exit = await step(work, 'restore pre-data', 'target');
    expect([exit.code, exit.stderr]).toEqual([1, expect.stringContaining('--source is mandatory')]);
  });

  test('that holds nothing yet sets the sequences that the filters keep, and leaves the others alone', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: `${temporary.path}/work` };
    const tables = 'create table kept (id serial); create table left_out (id serial); create sequence alone';
    const set = (value: number) =>
      `select setval('kept_id_seq', ${value}), setval('left_out_id_seq', ${value}), setval('alone', ${value})`;
    await source.sql(`${tables}; create table nowhere (id serial); ${set(7)}`);
    await target.sql(`${tables}; ${set(2)}`);
    const filters = `${temporary.path}/filters.ini`;
    await writeFile(filters, '[exclude-table]\npublic.left_out\npublic.nowhere');
    const values = () =>
      target.sql(`select (select last_value from kept_id_seq) as kept,
        (select last_value from left_out_id_seq) as left_out, (select last_value from alone) as alone`);

    const filtered = await good(work, `copy sequences --filters ${filters}`);

    expect(await values()).toEqual([{ kept: '7', left_out: '2', alone: '7' }]);
    expect(filtered.stderr).not.toContain('nowhere');
    // The directory was not begun with them.
    await good(work, 'copy sequences');
    expect(await values()).toEqual([{ kept: '7', left_out: '7', alone: '7' }]);
  });

  test('that listed with filters clones without them', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: temporary.path };
    await source.sql('create table kept (); create table left_out ()');
    const filters = `${temporary.path}/filters.ini`;
    await writeFile(filters, '[exclude-table]\npublic.left_out');
    const listed = await good(work, `list tables --filters ${filters}`, 'source');
    expect([/ kept /.test(listed.stdout), / left_out /.test(listed.stdout)]).toEqual([true, false]);
    await good(work, 'list schema --json', 'source');
    await good(work, 'clone');
    const summary = JSON.parse(await readFile(`${temporary.path}/summary.json`, 'utf8')) as {
      tables: object[];
    };
    expect(summary.tables).toHaveLength(2);
  });
});

describe('roles', () => {
  test('are copied, or dumped and restored, with what they may and their passwords', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: `${temporary.path}/not there yet` };
    const role = `role_of_${source.name}`;
    const password = (database: TestDatabase) =>
      database.sql(`select rolname, rolcanlogin, rolpassword from pg_authid where rolname = '${role}'`);
    await source.sql(`create role ${role} login password 'secret'`);
    try {
      await good(work, 'copy roles');
      expect(await password(target)).toEqual(await password(source));

      await target.sql(`drop role ${role}`);
      const dumped = await good(work, 'dump roles', 'source');
      expect(dumped.stdout + dumped.stderr).not.toContain('SCRAM');
      expect((await stat(`${work.directory}/schema/roles.sql`)).mode & 0o777).toBe(0o600);
      await good(work, 'restore roles', 'target');
      expect(await password(target)).toEqual(await password(source));

      await good(work, 'dump roles --no-role-passwords', 'source');
      expect(await readFile(`${work.directory}/schema/roles.sql`, 'utf8')).not.toContain('SCRAM');
    } finally {
      for (const database of [source, target]) await database.sql(`drop role if exists ${role}`);
    }
  });
});

test('restore parse-list writes what pg_restore is given, and reads a list as pg_restore prints it', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await using temporary = await temporaryDirectory();
  const work = { source, target, directory: temporary.path };
  await source.sql('create table t (id int primary key, other int references t)');
  await good(work, 'dump schema', 'source');
  expect((await good(work, 'restore parse-list', 'target')).stdout).toBe('');
  const lines = async (name: string) =>
    (await readFile(`${work.directory}/schema/${name}.list`, 'utf8')).split('\n').slice(0, -1);
  expect((await lines('pre-filtered')).filter((line) => line.includes('TABLE public t'))).toEqual([
    expect.stringMatching(/^\d+; 1259 \d+ TABLE public t \w+$/),
  ]);
  // Index and keys are made by walferry itself.
  expect((await lines('post-filtered')).every((line) => line.startsWith(';'))).toBe(true);
  expect(await lines('post-filtered')).toHaveLength(2);
  const file = `${work.directory}/schema/post-out.list`;
  const parsed = await good(work, `restore parse-list ${file}`, 'target');
  expect(parsed.stdout).toBe(await readFile(file, 'utf8'));
});

test('clone goes on with another snapshot when --not-consistent says so', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await using temporary = await temporaryDirectory();
  const work = { source, target, directory: temporary.path };
  for (const table of ['a', 'b', 'c']) {
    await source.sql(`create table ${table} as select generate_series(1, 1000) i`);
  }
  const words = ['clone', '--dir', work.directory, '--jobs', '1'];
  await using killed = walferry([...words, '--source', source.uri, '--target', target.uri], {
    env: { WALFERRY_FAILPOINT: 'clone.table-committed:1' },
  });
  expect((await killed.exit).signal).toBe('SIGKILL');
  const refused = await step(work, 'clone --resume');
  expect([refused.code, refused.stderr]).toEqual([6, expect.stringContaining('--not-consistent')]);
  await good(work, 'clone --resume --not-consistent');
  await expectEqual(source, target);
});

describe('a target', () => {
  test('takes one clone after the other, and a schema that is there already', async () => {
    await using one = await createDatabase('source');
    await using two = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    await one.sql('create schema shared; create table shared.one as select 1 as i');
    await two.sql('create schema shared; create table shared.two as select 2 as i');
    await good({ source: one, target, directory: `${temporary.path}/one` }, 'clone');
    await good({ source: two, target, directory: `${temporary.path}/two` }, 'clone');
    expect(await target.sql('select one.i as one, two.i as two from shared.one, shared.two')).toEqual([
      { one: '1', two: '2' },
    ]);

    // The same once more is refused, unless its tables may be dropped.
    await one.sql('update shared.one set i = 11');
    const again = { source: one, target, directory: `${temporary.path}/again` };
    expect((await step(again, 'clone')).code).toBe(7);
    await good(again, 'clone --restart --drop-if-exists');
    expect(await target.sql('select one.i as one, two.i as two from shared.one, shared.two')).toEqual([
      { one: '11', two: '2' },
    ]);
  });
});

test('large objects and extensions are steps of their own', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await using temporary = await temporaryDirectory();
  const work = { source, target, directory: temporary.path };
  await source.sql(`
    create schema "My extensions"; create extension hstore schema "My extensions";
    create table t (id int primary key, h "My extensions".hstore);
    insert into t values (1, 'a=>1');
    select lo_from_bytea(4711, 'some bytes'); comment on large object 4711 is 'kept'`);

  await good(work, 'copy extensions');
  expect(
    await target.sql(
      `select extname, nspname from pg_extension e join pg_namespace n on n.oid = extnamespace where extname = 'hstore'`,
    ),
  ).toEqual([{ extname: 'hstore', nspname: 'My extensions' }]);
  expect(await target.sql(`select to_regclass('t') as t`)).toEqual([{ t: null }]);

  await good(work, 'clone --skip-extensions --skip-large-objects');
  await expectEqual(source, target);
  const objects = `select oid, lo_get(oid) as bytes, obj_description(oid, 'pg_largeobject') as comment
    from pg_largeobject_metadata`;
  expect(await target.sql(objects)).toEqual([]);

  for (const _once of [1, 2]) {
    await good(work, 'copy blobs');
    expect(await target.sql(objects)).toEqual(await source.sql(objects));
  }
});
