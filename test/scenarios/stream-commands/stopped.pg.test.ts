/** Ctrl-C: the run ends within two seconds, says how to go on, and does go on. */
import { expect, test } from 'vitest';
import { expectEqual, expectLedger } from '../../support/equal.js';
import {
  cloneFollow,
  follow,
  openMigration,
  run,
  setEndpos,
  setupStream,
  streamOptions,
  succeed,
  type Migration,
} from '../../support/live-migration.js';
import { ledgerSchema, startLoad } from '../../support/load.js';
import { until } from '../../support/until.js';
import type { WalferryProcess } from '../../support/walferry.js';

const withinMs = 2000;

/** Copying a row of this table takes a while on the target, whose check is a slow one; it was quick when they were made. */
const slowSchema = `${ledgerSchema}
  create function slow(int) returns boolean language plpgsql as 'begin return true; end';
  create table slowly (id int primary key check (slow(id)), filler text);
  insert into slowly select i, repeat('x', 1000) from generate_series(1, 400) i;
  create or replace function slow(int) returns boolean language plpgsql as
    'begin perform pg_sleep(0.01); return true; end';
`;

async function expectStopped(
  migration: Migration,
  running: WalferryProcess,
  signal: 'SIGINT' | 'SIGTERM',
): Promise<void> {
  const asked = Date.now();
  running.kill(signal);
  const exit = await running.exit;
  const took = Date.now() - asked;
  expect(exit.code, exit.stderr).toBe(22);
  expect(took).toBeLessThan(withinMs);
  expect(exit.stderr).toContain(
    `go on with: walferry ${cloneFollow(migration, '--no-owner').join(' ')} --dir ${migration.directory} --resume`,
  );
  expect(exit.stderr).not.toMatch(/ERROR|WARN|\n {4}at /);
  // Nothing works on for a process that is gone.
  const sessions = `select application_name from pg_stat_activity
    where datname = current_database() and application_name like 'walferry%' and application_name !~ 'snapshot|slot'`;
  await until('its sessions are gone', async () => {
    const left = [...(await migration.source.sql(sessions)), ...(await migration.target.sql(sessions))];
    return left.length === 0;
  });
}

test('stopped during the copy, and during the stream: it ends within 2 s with exit 22 and goes on with --resume', async () => {
  await using migration = await openMigration({ schema: slowSchema });
  const { source, target } = migration;
  await using holder = run(migration, ['snapshot', '--follow', ...streamOptions(migration)]);
  await holder.waitForOutput(/^[0-9A-F]+-[0-9A-F]+-\d+$/m);
  const load = await startLoad(source, 2, 5);
  const line = cloneFollow(migration, '--no-owner');

  // During the copy.
  await using copying = run(migration, line);
  await until('rows are being copied', async () => {
    const running = await target.sql(
      `select 1 from pg_stat_activity where datname = current_database() and state = 'active' and query ~* '^copy .*slowly'`,
    );
    return running.length > 0;
  });
  await expectStopped(migration, copying, 'SIGINT');

  // During the stream.
  await using following = run(migration, [...line, '--resume']);
  await following.waitForOutput(/applying changes from/);
  holder.kill('SIGTERM');
  await until('changes are applied', async () => {
    const [row] = await target.sql('select count(*) as n from journal');
    return Number(row?.['n']) > 0;
  });
  await expectStopped(migration, following, 'SIGTERM');

  // And to the end.
  await using last = run(migration, [...line, '--resume']);
  await last.waitForOutput(/applying changes from/);
  await load.stop();
  await setEndpos(migration);
  expect((await last.exit).code, last.stderr).toBe(0);
  await expectEqual(source, target);
  await expectLedger(target);
});

/** A foreign key whose check takes seconds, by an operator that was quick when it was made. */
const slowKey = `
  create function slow_less(int, int) returns boolean language sql as 'select pg_catalog.int4lt($1, $2)';
  create function slow_equal(int, int) returns boolean language sql as 'select pg_catalog.int4eq($1, $2)';
  create function slow_compare(int, int) returns int language plpgsql as 'begin return pg_catalog.btint4cmp($1, $2); end';
  create operator <<< (function = slow_less, leftarg = int, rightarg = int);
  create operator === (function = slow_equal, leftarg = int, rightarg = int);
  create operator class slow_ops for type int using btree as
    operator 1 <<<, operator 3 ===, function 1 slow_compare(int, int);
  create unique index on parent (id slow_ops);
  alter table child add foreign key (parent) references parent (id);
  create or replace function slow_equal(int, int) returns boolean language plpgsql as
    'begin perform pg_catalog.pg_sleep(0.05); return pg_catalog.int4eq($1, $2); end'`;

test('stopped while foreign keys are put back it ends within 2 s, and they are put back by whoever goes on', async () => {
  await using migration = await openMigration({
    schema: `create table parent (id int); create table child (id int primary key, parent int);
      insert into parent select generate_series(1, 100); insert into child select i, i from generate_series(1, 100) i`,
    onBoth: true,
  });
  const { source, target } = migration;
  await target.sql(slowKey);
  await setupStream(migration);
  await source.sql('insert into child values (101, 1)');
  await setEndpos(migration);
  const key = async () =>
    (await target.sql(`select convalidated as valid from pg_constraint where contype = 'f'`))[0]?.['valid'];

  await using following = run(migration, follow(migration));
  await until('the key is validated', async () => {
    const running = await target.sql(
      `select 1 from pg_stat_activity
        where datname = current_database() and state = 'active' and query ~ '^alter table .* validate constraint'`,
    );
    return running.length > 0;
  });
  const asked = Date.now();
  following.kill('SIGTERM');
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(22);
  expect(Date.now() - asked).toBeLessThan(withinMs);
  expect(exit.stderr).not.toMatch(/ERROR|WARN|\n {4}at /);
  expect(await key()).toBe('f');

  await target.sql(
    `create or replace function slow_equal(int, int) returns boolean language sql as 'select pg_catalog.int4eq($1, $2)'`,
  );
  await succeed(migration, follow(migration, '--resume'));
  expect(await key()).toBe('t');
  await expectEqual(source, target);
});

test('asked twice it ends at once, and goes on with --resume all the same', async () => {
  await using migration = await openMigration({ schema: ledgerSchema });
  const { source, target } = migration;
  const line = cloneFollow(migration, '--no-owner');
  await using running = run(migration, line);
  await running.waitForOutput(/applying changes from/);
  // One transaction that the target cannot take: it waits for a lock, and so does a clean stop, for its grace.
  await using blocker = await target.session();
  await blocker.sql('begin; lock table account');
  await source.sql('update account set balance = balance where id = 1');
  await until('the applier waits', async () => {
    const waiting = await target.sql(
      `select 1 from pg_locks where not granted and relation = 'account'::regclass`,
    );
    return waiting.length > 0;
  });
  running.kill('SIGINT');
  await running.waitForOutput(/press Ctrl-C again/);
  const asked = Date.now();
  running.kill('SIGINT');
  const exit = await running.exit;
  expect(exit.code, exit.stderr).toBe(130);
  expect(Date.now() - asked).toBeLessThan(500);
  await blocker.sql('rollback');

  await using last = run(migration, [...line, '--resume']);
  await last.waitForOutput(/applying changes from/);
  await setEndpos(migration);
  expect((await last.exit).code, last.stderr).toBe(0);
  await expectEqual(source, target);
});
