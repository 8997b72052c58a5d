/** A slot that would be lost soon: it is said loudly, the copy leaves the servers to the stream, and what helps helps. */
import { expect, test } from 'vitest';
import { readStatusAndDetails } from '../../../src/monitor/status.js';
import { startServer } from '../../support/clusters.js';
import { expectEqual } from '../../support/equal.js';
import { cloneFollow, openMigration, run, setEndpos } from '../../support/live-migration.js';
import { until } from '../../support/until.js';

const schema = ['a', 'b', 'c', 'd']
  .map(
    (name, nth) => `create table ${name} (id int primary key, body text);
      insert into ${name} select i, repeat('x', 200) from generate_series(1, ${20_000 - nth * 4000}) i;`,
  )
  .join('\n');

test('before the slot is lost it is warned of, and one table is copied at a time until there is room', async () => {
  const settings = { max_slot_wal_keep_size: '256MB', max_wal_size: '1GB' };
  await using sourceServer = await startServer('source', { settings });
  await using migration = await openMigration({ schema, sourceServer });
  await using first = await migration.source.session();
  await using second = await migration.source.session();
  await using following = run(migration, cloneFollow(migration, '--table-jobs', '2', '--no-owner'));
  await following.waitForOutput(/restoring the schema/);
  // Two workers wait for their locks; and these transactions are what keeps the slot back.
  await first.sql('begin; lock table a in access exclusive mode');
  await second.sql('begin; lock table b in access exclusive mode');
  const look = () => {
    const { status, details } = readStatusAndDetails(migration.directory, {
      sampleMs: 0,
      lineId: 0,
      tables: 9,
    });
    const rows = new Map(details.tables.map((table) => [table.name, table.parts]));
    return { status, rows };
  };
  await until('both are at work', () => ['a', 'b'].every((name) => look().rows.get(name)?.running === 1));
  await until('the slot was looked at', () => look().status.slot !== null);

  let segments = 0;
  await until(
    'the slot is in danger',
    async () => {
      if (segments < 8)
        await migration.source.sql(`select pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()`);
      segments += 1;
      return look().status.slot?.verdict === 'danger';
    },
    { timeoutMs: 60_000 },
  );
  await following.waitForOutput(/WARN .*THE REPLICATION SLOT "\w+" MAY BE LOST .* max_slot_wal_keep_size/);
  expect(look().status.warnings).toContainEqual(expect.stringMatching(/may be lost/));

  // The second worker is free now, and begins nothing while the first one is at work.
  await second.sql('commit');
  await following.waitForOutput(/WARN .*the copy brakes: one table at a time/);
  await until('b is there', () => look().rows.get('b')?.done === 1);
  await until('it is told', () => look().status.copy?.braked === true);
  expect(look().rows.get('c')).toMatchObject({ done: 0, running: 0 });

  // What the warning says helps, while everything else stays as it is.
  await migration.source.sql(`alter system set max_slot_wal_keep_size = '16GB'`);
  await migration.source.sql('select pg_reload_conf()');
  await following.waitForOutput(/INFO .*the replication slot "\w+" has room again/);
  await until('the others are copied', () => ['c', 'd'].every((name) => look().rows.get(name)?.done === 1));
  expect(look().rows.get('a')).toMatchObject({ done: 0, running: 1 });
  // A run tells once a second.
  await until('no warning is left', () => look().status.warnings.length === 0);
  await first.sql('commit');
  await following.waitForOutput(/applying changes from/);
  await setEndpos(migration);
  expect((await following.exit).code, following.stderr).toBe(0);
  await expectEqual(migration.source, migration.target);
});
