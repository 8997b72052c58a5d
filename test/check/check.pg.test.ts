/** `check` as a person runs it: on a pair that is fit, on sides that are not there, and on very many tables. */
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import type { CheckReport } from '../../src/check/check.js';
import { examine } from '../../src/check/examine.js';
import { check as checkAsFunction, clone } from '../../src/index.js';
import { Session } from '../../src/postgres/connect.js';
import { canary, runWatched } from '../scenarios/refused/canary.js';
import { openMigration, runToEnd, streamOptions, uris, type Migration } from '../support/live-migration.js';
import { walferry } from '../support/walferry.js';
import type { TestDatabase } from '../support/databases.js';
import { failing, wishOf } from './wish.js';

// A little of everything that is looked at.
const schema = `
  create schema stock;
  create type stock.state as enum ('new', 'sold');
  create table stock.item (id int generated always as identity primary key, state stock.state, body text collate "C");
  insert into stock.item (state, body) select 'new', repeat(md5(i::text), 20) from generate_series(1, 2000) i;
  create index on stock.item (body);
  create table log (line text);
  create unlogged table cache (key int primary key);
  create view recent as select * from stock.item order by id desc limit 10;
  create function one() returns int language sql as 'select 1';
  alter table stock.item enable row level security;
  create policy everybody on stock.item using (true)`;

type Json = CheckReport & {
  readonly verdict: string;
  readonly counts: Readonly<Record<'pass' | 'warn' | 'fail', number>>;
};

async function checkJson(
  migration: Migration,
  options: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | null; readonly report: Json; readonly stderr: string }> {
  const exit = await runToEnd(
    migration,
    ['check', '--json', ...streamOptions(migration), ...options],
    environment,
  );
  try {
    return { code: exit.code, report: JSON.parse(exit.stdout) as Json, stderr: exit.stderr };
  } catch (error) {
    throw new Error(exit.stderr, { cause: error });
  }
}

const of = ({ findings }: CheckReport, verdict: string) =>
  findings.filter((one) => one.verdict === verdict).map(({ id }) => id);

// Everything that a check could leave, by name; and how many rows our own tables would have.
const catalogQuery = `
  select 'class' as kind, oid::text, relname || relkind::text || coalesce(relacl::text, '') as name from pg_class
  where oid >= 16384 and relpersistence <> 't'
  union all select 'namespace', oid::text, nspname from pg_namespace where nspname !~ '^pg_(toast_)?temp'
  union all select 'proc', oid::text, proname from pg_proc where oid >= 16384
  union all select 'type', oid::text, typname from pg_type where oid >= 16384
  union all select 'collation', oid::text, collname from pg_collation where oid >= 16384
  union all select 'extension', oid::text, extname from pg_extension
  union all select 'publication', oid::text, pubname from pg_publication
  union all select 'slot', '', slot_name from pg_replication_slots where database = current_database()
  union all select 'large object', oid::text, '' from pg_largeobject_metadata
  union all select 'setting', setdatabase::text || setrole::text, setconfig::text from pg_db_role_setting
    where setdatabase = (select oid from pg_database where datname = current_database())
  union all select 'rows', '', (select count(*)::text from pg_class) order by 1, 2, 3`;

const catalogs = async (...databases: readonly TestDatabase[]) =>
  Promise.all(databases.map((database) => database.sql(catalogQuery)));

describe('a pair that is fit', () => {
  test.each(['superuser', 'owner'] as const)(
    'as %s has nothing that fails, and stays as it is',
    async (role) => {
      await using migration = await openMigration({ schema, role });
      const { source, target } = migration;
      await source.sql(`select lo_from_bytea(777002, 'x'); grant select on large object 777002 to public`);
      const before = await catalogs(source, target);

      const { code, report, stderr } = await checkJson(migration, ['--follow', '--no-owner', '--no-acl']);
      expect(of(report, 'fail'), stderr).toEqual([]);
      expect([code, report.verdict, report.counts.fail]).toEqual([0, 'warn', 0]);
      expect(of(report, 'warn')).toEqual(
        expect.arrayContaining(['stream.identity', 'stream.unlogged', 'stream.large-objects']),
      );
      expect(of(report, 'pass')).toEqual(
        expect.arrayContaining([
          ...['connections.source', 'connections.target', 'connections.client-tools', 'source.tables'],
          ...['stream.decoding', 'stream.slot', 'stream.publication', 'stream.ownership', 'stream.slot-room'],
          ...['target.rights', 'target.tables', 'target.large-objects', 'objects.encoding'],
          ...['room.source-connections', 'room.target-connections', 'room.directory', 'room.estimate'],
        ]),
      );
      // Where there is something to measure, it was.
      const { measured } = report;
      expect(measured.roundTripMs.source).toBeGreaterThan(0);
      expect(measured.copyBytesPerSecond).toBeGreaterThan(0);
      expect(measured.copySeconds?.most).toBeGreaterThan(0);
      expect(measured.writeBytesPerSecond).toBeGreaterThanOrEqual(0);
      expect(measured.journalFreeBytes).toBeGreaterThan(0);

      expect(await catalogs(source, target)).toEqual(before);
      expect(existsSync(path.join(migration.directory, 'catalog.db'))).toBe(false);
      expect(existsSync(path.join(migration.directory, 'locks'))).toBe(false);
    },
  );

  test('is not asked for a stream unless one is meant, and the text says so', async () => {
    await using migration = await openMigration({ schema });
    const { code, stdout, stderr } = await runToEnd(migration, ['check', '--no-owner', '--no-acl']);
    expect(code, stderr).toBe(0);
    expect(stdout).not.toMatch(/Stream|replication slot/);
    // No colours where there is no terminal.
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toMatch(/^ {2}PASS {2}rights .*schemas, tables, rows, indexes and keys/m);
    expect(stdout).toMatch(/\n\n0 FAIL, \d+ WARN, \d+ PASS {2}clone can begin.*\n$/);
    expect(stdout.split('\n').filter((line) => line.length > 100)).toEqual([]);
  });

  test('goes through a clone that checks first', async () => {
    await using migration = await openMigration({ schema });
    const { code, stderr } = await runToEnd(migration, ['clone', '--no-owner', '--no-acl']);
    expect(code, stderr).toBe(0);
    // The directory holds a complete run now, and the target its tables: the same run again has nothing to do.
    const again = await checkJson(migration, ['--no-owner', '--no-acl']);
    expect(of(again.report, 'fail')).toEqual([]);
    expect(of(again.report, 'warn')).toContain('room.directory');
    const dropped = await checkJson(migration, ['--no-owner', '--no-acl', '--restart']);
    expect(of(dropped.report, 'fail')).toEqual([]);
    expect(dropped.report.findings.find(({ id }) => id === 'target.tables')?.reason).toMatch(/DROPPED/);
  });
});

test('as a function it resolves with what it finds, and a clone with the same settings rejects with it', async () => {
  await using migration = await openMigration({ schema });
  await migration.target.sql('create table log ()');
  const { PGCOPYDB_SOURCE_PGURI: source, PGCOPYDB_TARGET_PGURI: target } = uris(migration);
  const settings = { source, target, dir: migration.directory, noOwner: true };
  const report = await checkAsFunction(settings);
  expect(of(report, 'fail')).toEqual(['target.tables']);
  await expect(clone(settings)).rejects.toMatchObject({ code: 'target-not-empty' });
  await expect(checkAsFunction({ source })).rejects.toMatchObject({ code: 'usage' });
});

test('several things that fail are told by a clone at once, and nothing was made', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  await source.sql('alter table log owner to postgres; revoke all on log from public');
  await target.sql('create table cache ()');
  const before = await catalogs(source, target);
  const { code, stderr } = await runToEnd(migration, [
    'clone',
    '--no-owner',
    '--follow',
    ...streamOptions(migration),
  ]);
  expect(code, stderr).toBe(25);
  expect(stderr).toMatch(/3 things would end this run/);
  expect(stderr).toMatch(/may not read public\.log/);
  expect(stderr).toMatch(/does not own 1 of them: public\.log/);
  expect(stderr).toMatch(/source's tables already: public\.cache/);
  expect(await catalogs(source, target)).toEqual(before);
});

test('what only a superuser can make, and no row needs, is named, and a clone goes on without it', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  await source.sql(`
    create access method other type table handler heap_tableam_handler;
    create table in_other (id int primary key) using other; grant select on in_other to public;
    create aggregate inner_total (bigint) (sfunc = int8_avg_accum, stype = internal, finalfunc = numeric_poly_sum);
    create domain stock.code as text; create cast (text as stock.state) with inout as assignment;
    create cast (bytea as json) without function; create operator family stock.ours using btree;
    create transform for int language sql (from sql with function prsd_lextype(internal));
    create type stock.shell; create foreign data wrapper far;
    create text search parser words (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype);
    create publication of_stock for tables in schema stock`);

  const { report } = await checkJson(migration, ['--no-owner', '--no-acl']);

  expect(of(report, 'fail')).toEqual([]);
  const named = report.findings.filter(({ id }) => /superuser/.test(id)).map(({ reason }) => reason);
  for (const object of [
    'access method other, whose tables get the default one',
    'aggregate public.inner_total(bigint), whose state is internal',
    'cast (pg_catalog.bytea AS pg_catalog.json)',
    'foreign-data wrapper far',
    'operator family stock.ours USING btree',
    'text search parser public.words',
    'transform for integer on language sql',
    'type stock.shell',
    'the schemas of publication of_stock',
  ])
    expect(named.join(' ')).toContain(object);
  expect(named.join(' ')).not.toContain('AS stock.state');
  const { code, stderr } = await runToEnd(migration, ['clone', '--no-owner', '--no-acl']);
  expect(code, stderr).toBe(0);
  // The access method is told once more, of its table.
  expect(stderr).toContain('10 things were refused');
  expect(await target.sql('select count(*) as n from in_other')).toEqual([{ n: '0' }]);
});

test('the time of the copy knows of the indexes that a filter keeps', async () => {
  await using migration = await openMigration({ schema });
  await migration.source.sql('vacuum analyze');
  const filters = path.join(migration.directory, 'filter.ini');
  const sizeOf = async (text: string) => {
    writeFileSync(filters, text);
    const { report } = await checkJson(migration, ['--no-owner', '--no-acl', '--filters', filters]);
    return /, (.*) of indexes/.exec(
      report.findings.find(({ id }) => id === 'room.estimate')?.reason ?? '',
    )?.[1];
  };
  const some = await sizeOf('[exclude-table]\npublic.log\n');
  expect(some).toMatch(/[1-9]/);
  const fewer = await sizeOf('[exclude-index]\nstock.item_body_idx\n');
  expect(fewer).not.toBe(some);
  expect(await sizeOf('[exclude-table]\nstock.item\n')).not.toBe(some);
});

describe('a side that cannot be reached', () => {
  const nowhere = 'postgres://u@127.0.0.1:1/d';

  test('is a line that fails, and the other side is told all the same', async () => {
    await using migration = await openMigration({ schema });
    // Each waits some seconds for what is not there.
    const [noSource, noTarget, neither] = await Promise.all([
      checkJson(migration, ['--follow', '--source', nowhere]),
      checkJson(migration, ['--follow', '--target', nowhere]),
      checkJson(migration, ['--source', nowhere, '--target', nowhere]),
    ]);
    expect(noSource.code).toBe(25);
    expect(of(noSource.report, 'fail')).toEqual(['connections.source']);
    expect(of(noSource.report, 'pass')).toEqual(
      expect.arrayContaining([
        'connections.target',
        'connections.client-tools',
        'target.rights',
        'room.directory',
      ]),
    );
    expect(of(noTarget.report, 'fail')).toEqual(['connections.target']);
    expect(of(noTarget.report, 'pass')).toEqual(expect.arrayContaining(['source.tables', 'stream.slot']));
    expect(of(neither.report, 'fail')).toEqual(['connections.source', 'connections.target']);
    expect(of(neither.report, 'pass')).toEqual(
      expect.arrayContaining(['connections.client-tools', 'room.directory']),
    );
  });

  test('leads through a pooler, or does not let us in: each is told with its remedy', async () => {
    await using migration = await openMigration();
    const { PGCOPYDB_TARGET_PGURI } = uris(migration);
    const pooled = wishOf(migration, { target: 'postgres://u@ep-cool-1-pooler.eu.aws.neon.tech/d' });
    expect(await failing(pooled)).toEqual([
      expect.objectContaining({
        id: 'connections.target',
        code: 'target-setup',
        remedy: 'Use the direct host: ep-cool-1.eu.aws.neon.tech',
      }),
    ]);
    const wrong = new URL(PGCOPYDB_TARGET_PGURI);
    wrong.password = canary;
    expect(await failing(wishOf(migration, { target: wrong.href }))).toEqual([
      expect.objectContaining({ id: 'connections.target', code: 'target-login' }),
    ]);
    const plain = PGCOPYDB_TARGET_PGURI.replace(
      'sslmode=require',
      'sslmode=verify-full&sslrootcert=/nowhere',
    );
    expect(await failing(wishOf(migration, { target: plain }))).toEqual([
      expect.objectContaining({ id: 'connections.target', code: 'target-tls' }),
    ]);
  });

  test('or a work directory that cannot be used', async () => {
    await using migration = await openMigration();
    const file = path.join(migration.directory, 'file');
    writeFileSync(file, '');
    const place = ['--dir', path.join(file, 'work')];
    const env = uris(migration);
    const check = await walferry(['check', '--json', ...place], { env }).exit;
    expect(of(JSON.parse(check.stdout) as Json, 'fail')).toEqual(['room.directory']);
    const clone = await walferry(['clone', '--skip-check', ...place], { env }).exit;
    expect(clone.code, clone.stderr).toBe(12);
  });
});

test('no password is in what check prints, logs or leaves, nor in a list of processes', async () => {
  await using migration = await openMigration({ schema });
  const { source } = migration;
  await source.sql(
    `create role canary_role login password '${canary}'; grant all on all tables in schema public to canary_role`,
  );
  try {
    const uri = new URL(source.neonUri);
    uri.username = 'canary_role';
    uri.password = canary;
    const env = { ...uris(migration), PGCOPYDB_SOURCE_PGURI: uri.href };
    for (const more of [[], ['--json']]) {
      const command = ['check', '--follow', ...streamOptions(migration), ...more];
      const exit = await runWatched({ command, directory: migration.directory, env });
      expect(exit.code).toBe(25);
    }
  } finally {
    await source.sql('drop owned by canary_role; drop role canary_role');
  }
});

test('thousands of tables are looked at in as many statements as one', async () => {
  await using migration = await openMigration({ role: 'superuser' });
  const statements = async () => {
    const spy = vi.spyOn(Session.prototype, 'run');
    try {
      await examine(wishOf(migration, { follow: true }), 'what blocks');
      return spy.mock.calls.length;
    } finally {
      spy.mockRestore();
    }
  };
  await migration.source.sql('create table one (id int primary key)');
  const few = await statements();
  await migration.source.sql(
    `do $$ begin for n in 1..3000 loop execute format('create table many_%s (id int primary key)', n); end loop; end $$`,
  );
  expect(await statements()).toBe(few);
  const { code, report, stderr } = await checkJson(migration, ['--follow']);
  expect(code, stderr).toBe(0);
  expect(report.findings.find(({ id }) => id === 'source.tables')?.reason).toMatch(/all 3,001 tables/);
});
