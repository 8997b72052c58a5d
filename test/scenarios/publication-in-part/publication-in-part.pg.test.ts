/**
 * A publication made by somebody else, with column lists, row filters and partition roots: what it publishes is copied,
 * followed and compared, and nothing else.
 */
import { describe, expect, test } from 'vitest';
import type { TestDatabase } from '../../support/databases.js';
import {
  cloneFollow,
  follow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  streamOptions,
  succeed,
  type Migration,
} from '../../support/live-migration.js';
import { anyLag } from '../cutover/shop.js';

const schema = `
  create table whole (id int primary key, note text);
  create table listed (id int primary key, a text, secret text, count int not null default 7, twice int
    generated always as (id * 2) stored);
  create table filtered (region text, id int, body text, primary key (region, id));
  create table state (id int primary key, open boolean not null, body text);
  alter table state replica identity full;
  create table "We ird""T" (id int, "te nant" int, a text, secret text default 'none', primary key (id, "te nant"));
  create table measure (at int, sensor int, value text, internal text, primary key (at, sensor)) partition by range (at);
  create table measure_low partition of measure for values from (0) to (100);
  create table measure_high partition of measure for values from (100) to (1000) partition by list (sensor);
  create table measure_high_1 partition of measure_high for values in (1, 2);
  create table measure_high_3 partition of measure_high for values in (3);
  insert into whole select i, 'note ' || i from generate_series(1, 50) i;
  insert into listed (id, a, secret, count) select i, 'a' || i, 'secret', i from generate_series(1, 50) i;
  insert into filtered select case when i % 2 = 0 then 'eu' else 'us' end, i, repeat('x', i) from generate_series(1, 50) i;
  insert into state select i, i % 3 = 0, string_agg(md5(n::text), '') from generate_series(1, 20) i,
    generate_series(1, 400) n group by i;
  insert into "We ird""T" select i, i % 3, 'a' || i, 'secret' from generate_series(1, 50) i;
  insert into measure select i, i % 3 + 1, 'v' || i, 'internal' from generate_series(0, 299) i;
  create publication part for table whole, listed (id, a), filtered where (region = 'eu'),
    state where (open), "We ird""T" (id, "te nant", a) where ("te nant" in (1, 2)),
    measure (at, sensor, value) where (sensor <> 2) with (publish_via_partition_root);`;

/** Rows that come, change, go, and move into and out of filters and partitions. */
const changes = `
  insert into whole values (100, 'new'); update whole set note = null where id = 1; delete from whole where id = 2;
  insert into listed (id, a, secret) values (100, 'new', 'secret'); update listed set secret = 'other' where id < 5;
  update listed set a = 'changed', id = 1000 where id = 3; delete from listed where id = 4;
  insert into filtered values ('eu', 100, 'in'), ('us', 101, 'out');
  update filtered set region = 'us' where id = 2; update filtered set region = 'eu' where id = 3;
  update filtered set body = 'out' where id = 5; update filtered set body = 'in' where id = 6;
  update filtered set id = 700 where id = 7; update filtered set id = 800 where id = 8;
  delete from filtered where id in (9, 10);
  update state set open = not open where id < 10; delete from state where id in (12, 13);
  update state set body = 'short' where id in (15, 16);
  update "We ird""T" set "te nant" = 0 where id = 1; update "We ird""T" set "te nant" = 1 where id = 3;
  update "We ird""T" set a = null, secret = 'more' where id in (4, 6); delete from "We ird""T" where id = 7;
  insert into measure values (500, 1, 'new', 'internal'), (501, 2, 'out', 'internal'), (7, 3, 'in', 'internal');
  update measure set at = at + 600 where at in (3, 4, 5); update measure set sensor = 2 where at = 10;
  update measure set sensor = 1 where at = 11; update measure set value = 'changed' where at between 150 and 155;
  delete from measure where at between 20 and 25;`;

/** What the publication publishes, by SQL of the test's own; on the target, everything that is there. */
const published = [
  ['select * from whole order by id', 'select * from whole order by id'],
  ['select id, a from listed order by id', 'select id, a from listed order by id'],
  [`select * from filtered where region = 'eu' order by id`, 'select * from filtered order by id'],
  ['select id, md5(body) from state where open order by id', 'select id, md5(body) from state order by id'],
  [
    'select id, "te nant", a from "We ird""T" where "te nant" in (1, 2) order by id',
    'select id, "te nant", a from "We ird""T" order by id',
  ],
  [
    'select tableoid::regclass::text, at, sensor, value from measure where sensor <> 2 order by at, sensor',
    'select tableoid::regclass::text, at, sensor, value from measure order by at, sensor',
  ],
] as const;

async function expectPublished(source: TestDatabase, target: TestDatabase): Promise<void> {
  for (const [onSource, onTarget] of published) {
    expect(await target.sql(onTarget)).toEqual(await source.sql(onSource));
  }
  // What is not published has stayed at its default.
  const left = [
    `select count(*) from listed where secret is not null or count <> 7`,
    `select count(*) from "We ird""T" where secret <> 'none'`,
    `select count(*) from measure where internal is not null`,
  ];
  for (const sql of left) expect(await target.sql(sql)).toEqual([{ count: '0' }]);
}

async function compareData(migration: Migration): Promise<number | null> {
  return (await runToEnd(migration, ['compare', 'data'])).code;
}

describe.each(['the end position', 'a cutover'])('a publication in part, up to %s', (end) => {
  test('moves what it publishes and nothing else', { timeout: 240_000 }, async () => {
    await using migration = await openMigration({ schema });
    const { source, target } = migration;
    const command = cloneFollow(migration, '--no-owner', '--publication', 'part');

    // Given a run whose copy is compared, and which then follows changes of every kind,
    await using following = run(migration, command);
    await following.waitForOutput(/applying changes from/);
    expect(await compareData(migration)).toBe(0);
    await source.sqlAsOwner(changes);
    // (compared while it follows: what does not arrive at all would be found)
    expect(await compareData(migration)).toBe(0);

    // when it ends,
    if (end === 'a cutover') {
      const cutover = await runToEnd(migration, ['cutover', ...anyLag, '--verify', 'touched']);
      expect(cutover.code, cutover.stderr).toBe(0);
    } else await setEndpos(migration);
    const exit = await following.exit;
    expect(exit.code, exit.stderr).toBe(0);

    // then both sides are equal in what is published,
    await expectPublished(source, target);
    expect(await compareData(migration)).toBe(0);
    // the comparison looks at nothing else,
    await target.sql(`update listed set secret = 'theirs'; update measure set internal = 'theirs'`);
    expect(await compareData(migration)).toBe(0);
    // and still at all of that: rows that are not to be there, and values.
    await target.sql(`insert into filtered values ('us', 1, 'x')`);
    expect(await compareData(migration)).toBe(21);
    await target.sql(`delete from filtered where region = 'us'; update listed set a = 'other' where id = 5`);
    expect(await compareData(migration)).toBe(21);
  });
});

test(
  'step by step: setup, the schema, the rows, the stream, killed and resumed',
  { timeout: 240_000 },
  async () => {
    await using migration = await openMigration({ schema });
    const { source, target } = migration;
    const options = [...streamOptions(migration), '--publication', 'part'];
    await using holding = run(migration, ['snapshot', '--follow', ...options]);
    await holding.waitForOutput(/\S/);
    await source.sqlAsOwner(changes);
    await succeed(migration, ['copy', 'schema', '--no-owner']);
    await succeed(migration, ['copy', 'table-data', '--split-tables-larger-than', '8kB']);
    expect(await target.sql('select count(*) from filtered')).toEqual([{ count: '25' }]);
    holding.kill('SIGTERM');
    await holding.exit;
    await succeed(migration, ['stream', 'setup', ...options]);
    await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);
    await using killed = run(migration, follow(migration, '--publication', 'part'), {
      WALFERRY_FAILPOINT: 'apply.group-sent',
    });
    expect((await killed.exit).signal).toBe('SIGKILL');
    await setEndpos(migration);
    await succeed(migration, follow(migration, '--publication', 'part', '--resume'));
    await expectPublished(source, target);
  },
);

test('TRUNCATE comes under the root, and is replayed whatever the filter says', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  await using following = run(migration, cloneFollow(migration, '--no-owner', '--publication', 'part'));
  await following.waitForOutput(/applying changes from/);
  expect(following.stderr).toContain('the source does not send a TRUNCATE of a single partition');
  await source.sqlAsOwner(
    `truncate measure, filtered; insert into measure values (1, 1, 'after'), (2, 2, 'out'); insert into filtered values ('us', 1)`,
  );
  await setEndpos(migration);
  expect((await following.exit).code).toBe(0);
  await expectPublished(source, target);
  expect(await target.sql('select count(*) from measure')).toEqual([{ count: '1' }]);
});

test('a row that comes into the filter without a value that is stored out of line stops the stream', async () => {
  const tenants = `create table doc (tenant int, id int, body text, primary key (tenant, id));
    alter table doc alter column body set storage external;
    insert into doc select i, i, repeat('x', 5000) from generate_series(1, 3) i;
    create publication part for table doc where (tenant = 1)`;
  await using migration = await openMigration({ schema: tenants });
  await using following = run(migration, cloneFollow(migration, '--no-owner', '--publication', 'part'));
  await following.waitForOutput(/applying changes from/);
  expect(following.stderr).toMatch(
    /an update of the key .* would stop the stream; .*: public\.doc \("body"\)/,
  );
  await migration.source.sqlAsOwner('update doc set tenant = 1 where id = 2');
  const exit = await following.exit;
  expect([exit.code, exit.stderr]).toEqual([
    12,
    expect.stringMatching(/moved a row of public\.doc into the row filter .* column "body" was not sent/),
  ]);
  expect(await migration.target.sql('select id from doc')).toEqual([{ id: '1' }]);
});

test('a publication that was altered since the start is refused on resume', async () => {
  await using migration = await openMigration({ schema });
  const options = [...streamOptions(migration), '--publication', 'part'];
  await succeed(migration, ['stream', 'setup', ...options]);
  await succeed(migration, ['stream', 'setup', ...options]);
  const another = await runToEnd(migration, [
    'stream',
    'setup',
    ...streamOptions(migration),
    '--publication',
    'other',
  ]);
  expect([another.code, another.stderr]).toEqual([
    1,
    expect.stringContaining('--publication was part and is now other'),
  ]);
  await migration.source.sqlAsOwner(
    `alter publication part set table listed (id), filtered where (region = 'us')`,
  );
  const exit = await runToEnd(migration, ['stream', 'prefetch', ...options]);
  expect([exit.code, exit.stderr]).toEqual([
    23,
    expect.stringMatching(
      /publishes other tables, columns or rows than when the stream began, of .*public\.whole.*public\.listed.*public\.filtered/,
    ),
  ]);
});

test('the plan shows what is copied of which table, and check says it', async () => {
  await using migration = await openMigration({ schema });
  const command = cloneFollow(migration, '--no-owner', '--publication', 'part', '--plan');
  const text = (await succeed(migration, command)).stdout;
  expect(text).toMatch(/Copied in part.*Columns.*Rows where/);
  expect(text).toMatch(/public\.filtered\s+\|\s+all\s+\|\s+\(region = 'eu'::text\)/);
  expect(text).toMatch(/public\.listed\s+\|\s+id, a\s+\|\s+all/);
  const plan = JSON.parse((await succeed(migration, [...command, '--json'])).stdout) as {
    tables: { name: string; columns: string[] | null; 'row-filter': string | null }[];
  };
  expect(plan.tables.find(({ name }) => name === 'measure_high_3')).toMatchObject({
    columns: ['at', 'sensor', 'value'],
    'row-filter': '(sensor <> 2)',
  });
  expect(plan.tables.find(({ name }) => name === 'whole')).toMatchObject({
    columns: null,
    'row-filter': null,
  });
  const check = await succeed(migration, [
    'check',
    '--follow',
    '--no-owner',
    ...streamOptions(migration),
    '--publication',
    'part',
  ]);
  expect(check.stdout.replaceAll(/\s+/g, ' ')).toMatch(
    /carries, and the copy takes, of .*public\.listed: columns id, a/,
  );
});
