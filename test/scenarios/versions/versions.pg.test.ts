/** A live migration from one major version to another, of a schema with one of everything, under load. */
import { describe, expect, test } from 'vitest';
import { expectEqual } from '../../support/equal.js';
import {
  cloneFollow,
  follow,
  openMigration,
  run,
  runToEnd,
  hasApplied,
  setEndpos,
  setupStream,
  slotOf,
  streamOptions,
  succeed,
} from '../../support/live-migration.js';
import { ledgerSchema, startLoad } from '../../support/load.js';
import { failing, wishOf } from '../../check/wish.js';
import { useMajors } from '../../support/majors.js';
import { findPrograms } from '../../../scripts/clusters/programs.js';
import { until } from '../../support/until.js';
import { cutover } from '../cutover/shop.js';
import { richRows, richSchema, richTables } from '../../clone/rich-schema.js';

const majors = useMajors();

/** What servers of this version can hold of the schema with one of everything. */
function richFor(major: number): string[] {
  const tables = major >= 15 ? richTables : richTables.replace('unique nulls not distinct', 'unique');
  // Forced, its owner may not read it.
  return [richSchema, tables, richRows, 'alter table app.egg no force row level security'];
}

describe.each([
  [14, 15, 'superuser'],
  [15, 17, 'owner'],
  [15, 18, 'owner'],
  [14, 18, 'superuser'],
] as const)('a live migration from %i to %i as %s', (from, to, role) => {
  test('ends with both sides equal', async (context) => {
    const sourceServer = await majors.server(context, from, 'source');
    const targetServer = await majors.server(context, to, 'target');
    await using migration = await openMigration({ role, sourceServer, targetServer });
    const { source, target } = migration;
    const sql = role === 'owner' ? source.sqlAsOwner : source.sql;
    for (const text of [...richFor(from), ledgerSchema]) await sql(text);

    // Given a database that is written to all the time.
    const load = await startLoad(source, 2, 5);
    await using migrating = run(migration, cloneFollow(migration, '--no-owner'));
    await migrating.waitForOutput(/applying changes from/);
    await until('some were', () => hasApplied(migration));

    // When the writers stop, and the end position is set.
    expect(await load.stop()).toBeGreaterThan(10);
    await setEndpos(migration);
    const exit = await migrating.exit;

    // Then nothing was refused, and both sides hold the same.
    const warnings = exit.stderr.split('\n').filter((line) => /ERROR|WARN/.test(line));
    expect(warnings).toEqual([
      expect.stringContaining('tables without a replica identity'),
      expect.stringContaining('unlogged tables are copied'),
    ]);
    expect(exit.code).toBe(0);
    await expectEqual(source, target);
    for (const what of ['schema', 'data']) {
      const compared = await runToEnd(migration, ['compare', what]);
      expect(compared.code, compared.stdout + compared.stderr).toBe(0);
    }
  });
});

/** Equal on both sides at the beginning; the last part is what only newer servers have. */
function streamedSchema(major: number): string {
  return `
    create table item (id int primary key, n numeric, twice numeric generated always as (n * 2) stored, f float8,
      at timestamptz, note text, doc jsonb, raw bytea, tags text[], span int4range, spans int4multirange);
    alter table item alter note set storage external;
    insert into item (id, n, note) select i, i, repeat(md5(i::text), 100) from generate_series(1, 50) i;
    create table every (a int, b text); alter table every replica identity full;
    insert into every select i % 5, 'b' from generate_series(1, 20) i;
    create table measure (day date not null, k int not null, v float8, primary key (day, k)) partition by range (day);
    create table measure_1 partition of measure for values from ('2020-01-01') to ('2021-01-01');
    create table measure_2 partition of measure for values from ('2021-01-01') to ('2022-01-01');
    create table numbered (id bigint generated always as identity primary key, t text)
    ${
      major < 18
        ? ''
        : `;
    create extension if not exists btree_gist;
    create table virtual (id int primary key, a int, b int generated always as (a * 2), c int generated always as (a + 1) stored);
    create table stored_all (a int, b int generated always as (a * 2) stored); alter table stored_all replica identity full;
    create table virtual_all (a int, b int generated always as (a * 2)); alter table virtual_all replica identity full;
    create table stay (room int, during daterange, who text, primary key (room, during without overlaps))`
    }`;
}

function streamedScript(major: number): string[] {
  return [
    `insert into item (id, n, f, at, note, doc, raw, tags, span, spans) values
       (101, 1.50, 'NaN', '2020-02-03 04:05:06.789+02', E'a\\\\b\\n''"', '{"a": [1.0, null]}', '\\x00ff', '{"a,b",NULL,""}',
        '[1,5)', '{[1,2),[5,7)}'), (102, 'NaN', '-infinity', 'infinity', '', 'null', '', '{}', 'empty', '{}')`,
    `update item set n = n + 1 where id < 20`,
    `update item set id = id + 1000 where id between 20 and 25`,
    `update item set note = 'short' where id = 30`,
    `delete from item where id > 45 and id < 50`,
    `update every set b = 'c' where ctid = (select min(ctid) from every where a = 3)`,
    `delete from every where ctid = (select min(ctid) from every where a = 1)`,
    `insert into measure select '2020-12-30'::date + i, i, i / 3.0 from generate_series(0, 4) i`,
    `update measure set day = '2021-06-01' where k = 0`,
    `begin; insert into numbered (t) values ('a'), ('b'); savepoint s; insert into numbered (t) values ('gone');
       rollback to s; update numbered set t = 'c' where t = 'b'; commit`,
    `truncate every; insert into every values (1, null), (1, null)`,
    ...(major < 18
      ? []
      : [
          `insert into virtual (id, a) values (1, 1), (2, null), (3, 3)`,
          `update virtual set a = 7 where id = 3; delete from virtual where id = 2`,
          // The application's own updates go on, whatever is published.
          ...['stored_all', 'virtual_all'].map(
            (name) => `insert into ${name} (a) values (1), (2), (2); update ${name} set a = 5 where a = 1;
              delete from ${name} where ctid = (select min(ctid) from ${name} where a = 2)`,
          ),
          `insert into stay values (1, '[2020-01-01,2020-02-01)', 'a'), (1, '[2020-02-01,2020-03-01)', 'b'), (2, '[2020-01-01,)', 'c')`,
          `update stay set who = 'd' where room = 2; update stay set during = '[2020-02-03,2020-03-01)' where who = 'b'`,
          `delete from stay where who = 'a'`,
        ]),
  ];
}

describe.each([16, 17, 18])('a stream from %i to 18, without a copy', (from) => {
  describe.each(['pgoutput', 'test_decoding'])('through %s', (plugin) => {
    test('ends with both sides equal', async (context) => {
      const sourceServer = await majors.server(context, from, 'source');
      const targetServer = await majors.server(context, 18, 'target');
      const schema = streamedSchema(from);
      await using migration = await openMigration({ sourceServer, targetServer, schema, onBoth: true });
      const { source, target } = migration;
      const options = [...streamOptions(migration), '--plugin', plugin];
      const set = await succeed(migration, ['stream', 'setup', ...options]);
      await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);

      await using following = run(migration, ['follow', ...options]);
      for (const statement of streamedScript(from)) await source.sqlAsOwner(statement);
      if (plugin === 'pgoutput') await setEndpos(migration);
      else {
        // Before, no run follows, and a cutover is refused.
        await following.waitForOutput(/receiving changes from/);
        await following.waitForOutput(/applying changes from/);
        const { exit: switched, report } = await cutover(migration);
        expect([switched.code, switched.stderr]).toEqual([0, expect.any(String) as string]);
        expect(report).toMatchObject({ state: 'done', source_frozen: true });
      }
      const exit = await following.exit;

      expect([exit.code, exit.stderr]).toEqual([0, expect.not.stringContaining('ERROR') as string]);
      // Through pgoutput a row of it cannot be found again, and that was said.
      if (from === 18 && plugin === 'pgoutput') {
        expect(set.stderr).toContain('updates and deletes are not: public.virtual_all');
        expect(await target.sql('select a, b from virtual_all order by a')).toEqual([
          { a: '1', b: '2' },
          { a: '2', b: '4' },
          { a: '2', b: '4' },
        ]);
        for (const side of [source, target]) await side.sql('drop table virtual_all');
      }
      await expectEqual(source, target);
      const [rows] = await target.sql('select count(*) as n from item where twice = n * 2');
      expect(rows).toEqual({ n: '48' });
    });
  });
});

test('a source that is newer than pg_dump is refused with both versions, by the clone and by check', async (context) => {
  const sourceServer = await majors.server(context, 18, 'source');
  const targetServer = await majors.server(context, 18, 'target');
  await using migration = await openMigration({
    sourceServer,
    targetServer,
    schema: 'create table t (id int primary key)',
  });
  const old = (findPrograms()?.version ?? 0) < 18;
  if (!old) context.skip('pg_dump is not older than 18 here');
  const words = /pg_dump in \S+ is version \d+, and the source server is version 18/;

  const cloned = await runToEnd(migration, cloneFollow(migration, '--no-owner'));
  const checked = await runToEnd(migration, ['check', '--follow', '--no-owner']);

  expect([cloned.code, cloned.stderr]).toEqual([5, expect.stringMatching(words) as string]);
  expect([checked.code, checked.stdout.replaceAll(/\s+/g, ' ')]).toEqual([
    25,
    expect.stringMatching(words) as string,
  ]);
  expect(
    await migration.source.sql(
      `select slot_name from pg_replication_slots where database = current_database()`,
    ),
  ).toEqual([]);
});

test('an identity index on a column whose NOT NULL is NOT VALID is told before anything is made', async (context) => {
  const sourceServer = await majors.server(context, 18, 'source');
  const targetServer = await majors.server(context, 18, 'target');
  const table = 'create table t (id int, v text); create unique index by_id on t (id)';
  const identity = 'alter table t replica identity using index by_id';
  await using migration = await openMigration({
    sourceServer,
    targetServer,
    schema: `${table}; alter table t add constraint "there" not null id not valid; ${identity};
      create table sound (id int not null unique); alter table sound replica identity using index sound_id_key`,
  });
  const { source, target } = migration;
  // The constraint comes last on the target, where pg_dump has it.
  await expect(target.sql(`${table}; ${identity}`)).rejects.toThrow(/nullable/);

  const told = async () =>
    (await failing(wishOf(migration))).filter(({ id }) => id === 'source.identity-indexes');
  expect(await told()).toEqual([
    expect.objectContaining({
      code: 'source-setup',
      reason: expect.stringMatching(/identity: public\.t$/) as string,
      remedy: expect.stringContaining('alter table "public"."t" validate constraint "there";') as string,
    }),
  ]);
  await source.sql('alter table t validate constraint "there"');
  expect(await told()).toEqual([]);
});

test('a slot that the source took away because nobody read it is told with the setting', async (context) => {
  const sourceServer = await majors.server(context, 18, 'source');
  const targetServer = await majors.server(context, 18, 'target');
  const schema = 'create table t (id int primary key)';
  await using migration = await openMigration({ sourceServer, targetServer, schema, onBoth: true });
  const { source } = migration;
  await setupStream(migration);

  await source.sql(`alter system set idle_replication_slot_timeout = '1s'`);
  try {
    await source.sql('select pg_reload_conf()');
    await until('it is taken away', async () => {
      await source.sql('checkpoint');
      const lost = `select from pg_replication_slots where slot_name = '${slotOf(migration)}' and wal_status = 'lost'`;
      return (await source.sql(lost)).length > 0;
    });
  } finally {
    await source.sql('alter system reset idle_replication_slot_timeout');
    await source.sql('select pg_reload_conf()');
  }
  const { code, stderr } = await runToEnd(migration, follow(migration));

  expect([code, stderr]).toEqual([23, expect.stringContaining('(idle_replication_slot_timeout)') as string]);
});
