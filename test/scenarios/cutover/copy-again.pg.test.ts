/** Tables whose changes no stream carries in full: named before the pause, found in it, copied again where that is asked for. */
import { expect, test } from 'vitest';
import { expectEqual } from '../../support/equal.js';
import { openMigration, run, runToEnd, type Migration } from '../../support/live-migration.js';
import { until } from '../../support/until.js';
import { anyLag, cutover, followed, holdUp } from './shop.js';

// `kind` has a key that a foreign key points at, and none that identifies its rows in the stream.
const schema = `
  create table item (id int primary key, name text);
  create table kind (name text unique not null, words text);
  create table thing (id int primary key, kind text references kind (name));
  create table log (at int, what text, loud text generated always as (upper(what)) stored, "Odd ""name""" text);
  create table bare ();
  create unlogged table cache (id int primary key, value text);
  create function never() returns trigger language plpgsql as $$ begin raise 'fired'; end $$;
  create trigger never before insert or delete on log for each row when (current_user = 'nobody') execute function never();
  insert into item select i, 'item ' || i from generate_series(1, 100) i;
  insert into kind values ('good', 'w'), ('bad', 'w');
  insert into thing values (1, 'good'), (2, 'bad');
  insert into log (at, what, "Odd ""name""") select i, 'what ' || i, repeat('y', i) from generate_series(1, 500) i;
  insert into bare default values; insert into bare default values;
  insert into cache select i, 'v' from generate_series(1, 50) i;
`;

/** What the stream of pgoutput carries, and what it does not. */
const changes = `
  update item set name = 'another' where id < 5;
  insert into log (at, what) values (501, 'new');
  update log set what = 'changed' where at % 7 = 0;
  delete from log where at between 100 and 110;
  update kind set words = 'others';
  insert into cache values (51, 'written');
  delete from cache where id = 1;
`;

async function twice({ target }: Migration): Promise<unknown> {
  return await target.sql('select at from log group by at having count(*) > 1');
}

test('without being asked the cutover is undone and says how; then they are copied again, and the sides are equal', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  await using following = await followed(migration);
  await source.sqlAsOwner(changes);

  const first = await cutover(migration);
  expect(first.exit.code).toBe(21);
  expect(first.exit.stderr).toMatch(
    /check: updates and deletes of tables without a replica identity are in no stream: .* --copy-again .*: public\.bare, public\.kind, public\.log$/m,
  );
  expect(first.exit.stderr).toMatch(/public\.log has /);
  expect(first.exit.stderr).toMatch(
    /replica identity \(public\.kind, public\.log\): with --copy-again they are copied again/,
  );

  // A trial says what would be copied, and what of it.
  const dry = await runToEnd(migration, ['cutover', ...anyLag, '--dry-run', '--copy-again']);
  expect(dry.code, dry.stderr).toBe(0);
  expect(dry.stdout).toMatch(/copied again in the pause where they differ: .*public\.cache.*public\.log/);
  expect(dry.stdout).toMatch(/^ +copy-again +\d+ ms/m);

  const second = await cutover(migration, '--copy-again');
  expect(second.exit.code, second.exit.stderr).toBe(0);
  expect(second.report.steps.find(({ step }) => step === 'copy-again')?.detail).toBe(
    '4 tables, of which differed: public.cache (50 rows), public.kind (2 rows), public.log (490 rows)',
  );
  expect((await following.exit).code).toBe(0);
  await expectEqual(source, target);
});

test('what was proven beforehand is not read again, and what cannot be is copied again', async () => {
  await using migration = await openMigration({ schema });
  await using following = await followed(migration);
  expect((await runToEnd(migration, ['compare', 'data'])).code).toBe(0);
  await migration.source.sqlAsOwner(changes);
  const { exit, report } = await cutover(migration, '--copy-again', '--verify', 'touched');
  expect(exit.code, exit.stderr).toBe(0);
  expect(report.steps.find(({ step }) => step === 'copy-again')?.detail).toMatch(/public\.log \(490 rows\)/);
  expect((await following.exit).code).toBe(0);
  await expectEqual(migration.source, migration.target);
});

test('rows that are written behind the end position are neither lost nor doubled: the copies are not kept', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  await using following = await followed(migration);
  await source.sqlAsOwner(`update log set what = 'changed' where at = 1`);
  // Somebody writes all the while, and nobody stops him.
  let writing = true;
  const writer = (async () => {
    for (let at = 1000; writing; at += 1) {
      await source.sqlAsOwner(`insert into log (at, what) values (${at}, 'late')`);
    }
  })();
  const late = await cutover(migration, '--copy-again', '--freeze', 'none');
  writing = false;
  await writer;
  expect(late.exit.code).not.toBe(0);
  expect(late.exit.stderr).toMatch(/copied public\.log again/);
  expect(late.exit.stderr).toMatch(/The cutover was undone/);

  // The stream brings them, once.
  const { exit } = await cutover(migration, '--verify', 'counts');
  expect(exit.code, exit.stderr).toBe(0);
  expect((await following.exit).code).toBe(0);
  expect(await twice(migration)).toEqual([]);
  expect(await target.sql('select what from log where at = 1')).toEqual([{ what: 'what 1' }]);
});

test('somebody who reads such a table on the target for too long: undone after --max-pause', async () => {
  await using migration = await openMigration({ schema });
  await using following = await followed(migration);
  await migration.source.sqlAsOwner(changes);
  await using reader = await holdUp(migration, 'log in access share mode');

  const late = await cutover(migration, '--copy-again', '--max-pause', '3');
  expect(late.exit.code).toBe(12);
  expect(late.exit.stderr).toMatch(/--max-pause \(3 s\) is over, while tables are copied again/);
  await reader.end();
  const { exit } = await cutover(migration, '--copy-again');
  expect(exit.code, exit.stderr).toBe(0);
  expect((await following.exit).code).toBe(0);
  await expectEqual(migration.source, migration.target);
});

test('a table that is rewritten on the source while others are copied keeps its rows on the target', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  await using _following = await followed(migration);
  await source.sqlAsOwner(changes);
  // Given copies that are begun, and wait for the first table of several,
  await using reader = await holdUp(migration, 'cache in access share mode');
  const ending = cutover(migration, '--copy-again', '--freeze', 'none');
  const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
    and application_name = 'walferry cutover'`;
  await until('it waits', async () => (await target.sql(waiting)).length > 0);

  // when the last one gets a new file, in which an older snapshot sees nothing,
  const rewritten = source.sqlAsOwner('alter table log alter column at type int using at + 0');
  const onLog = `select from pg_locks where relation = 'log'::regclass and mode = 'AccessExclusiveLock'`;
  await Promise.race([rewritten, until('it begins', async () => (await source.sql(onLog)).length > 0)]);
  await reader.end();
  const { exit } = await ending;
  await rewritten;

  // then its rows are copied, whatever the comparison made of it.
  expect(exit.stderr).toMatch(/copied public\.log again: 490 rows/);
  const rows = 'select at, what from log order by at, what';
  expect(await target.sql(rows)).toEqual(await source.sql(rows));
});

test('beside a follow, into tables with their foreign keys', async () => {
  // Given a target that is complete, of which a superuser keeps the keys from firing,
  await using migration = await openMigration({ schema, role: 'superuser' });
  const { source, target } = migration;
  const slot = ['--slot-name', `slot_${source.name}`];
  for (const command of [['stream', 'setup', ...slot], ['clone'], ['stream', 'sentinel', 'set', 'apply']]) {
    const exit = await runToEnd(migration, command);
    expect(exit.code, exit.stderr).toBe(0);
  }
  await using following = run(migration, ['follow', ...slot]);
  await following.waitForOutput(/applying changes from/);
  await source.sql(changes);

  // when it is cut over, then a table that foreign keys point at is copied again too.
  const { exit, report } = await cutover(migration, '--copy-again');
  expect(exit.code, exit.stderr).toBe(0);
  expect(report.steps.find(({ step }) => step === 'copy-again')?.detail).toMatch(/public\.kind \(2 rows\)/);
  expect((await following.exit).code).toBe(0);
  await expectEqual(source, target);
});
