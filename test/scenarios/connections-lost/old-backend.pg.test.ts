/** A process that was killed leaves a backend on the target which works on: whoever resumes waits for it. */
import { expect, test } from 'vitest';
import { expectEqual } from '../../support/equal.js';
import { follow, openMigration, run, setEndpos, setupStream } from '../../support/live-migration.js';
import { until } from '../../support/until.js';

const schema = `create table item (id int primary key, body text); create table line (body text);
  alter table line replica identity full`;

const appliers = `select pid::text, wait_event_type from pg_stat_activity
  where datname = current_database() and application_name = 'walferry apply'`;

test('resumed while the old backend waits with groups that are complete: they are applied once', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  const { source, target } = migration;
  await setupStream(migration);
  // Given a whole transaction, with its COMMIT, in a backend that waits for somebody else's lock
  await using killed = run(migration, follow(migration, '--resume'));
  await killed.waitForOutput(/receiving changes from/);
  await source.sql(`insert into item values (0, 'first')`);
  await until('it is applied', async () => (await target.sql('select from item')).length === 1);
  const somebody = await target.session();
  await somebody.sql('begin; lock table item in share mode');
  await source.sql(`insert into line values ('same'); insert into item values (1, 'second')`);
  await until('the backend waits', async () => {
    return (await target.sql(appliers)).some((row) => row['wait_event_type'] === 'Lock');
  });

  // when the process is killed and resumed at once, and the lock is given up after that,
  killed.kill('SIGKILL');
  await killed.exit;
  await using resumed = run(migration, follow(migration, '--resume'));
  await until('both are there', async () => (await target.sql(appliers)).length === 2);
  await somebody.sql('commit');

  // then it goes on by itself.
  await source.sql(`insert into line values ('same'); insert into item values (2, 'third')`);
  await setEndpos(migration);
  const exit = await resumed.exit;
  expect(exit.code, exit.stderr).toBe(0);
  await expectEqual(source, target);
});
