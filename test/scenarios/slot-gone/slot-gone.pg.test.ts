/** A stream whose slot cannot go on: each reason by its own code, with the step that helps. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { startServer } from '../../support/clusters.js';
import { createDatabase, type TestDatabase } from '../../support/databases.js';
import {
  follow,
  openMigration,
  run,
  runToEnd,
  setupStream,
  slotOf,
  streamOptions,
} from '../../support/live-migration.js';
import { until } from '../../support/until.js';

const schema = 'create table item (id int primary key)';

async function restartLsn(source: TestDatabase, slot: string): Promise<string | null> {
  const [row] = await source.sql(
    `select restart_lsn::text as lsn from pg_replication_slots where slot_name = '${slot}'`,
  );
  return row?.['lsn'] ?? null;
}

/** Writes segment after segment, and has the server throw away what slots may not hold back. */
async function writeWalAway(source: TestDatabase): Promise<void> {
  for (let segment = 0; segment < 6; segment += 1) {
    await source.sql(`select pg_logical_emit_message(false, 'test', repeat('x', 1000)), pg_switch_wal()`);
  }
  await source.sql('checkpoint');
}

test('dropped, or asked for in another database: said, and nothing is applied', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await setupStream(migration);

  await using other = await createDatabase('source');
  const elsewhere = await runToEnd(migration, [
    'stream',
    'receive',
    ...streamOptions(migration),
    '--resume',
    '--source',
    other.uri,
  ]);
  expect(elsewhere.code, elsewhere.stderr).toBe(23);
  expect(elsewhere.stderr).toMatch(/belongs to the database "test_\w+", not to "test_\w+"/);
  expect(elsewhere.stderr).toMatch(/Check the database in --source/);

  await migration.source.sql(`select pg_drop_replication_slot('${slotOf(migration)}')`);
  const dropped = await runToEnd(migration, follow(migration, '--resume'));
  expect(dropped.code, dropped.stderr).toBe(23);
  expect(dropped.stderr).toMatch(/the replication slot "\w+" does not exist on the source/);
  expect(dropped.stderr).toMatch(/--restart/);
});

test('invalidated while it is read, and found so by the next run: the setting is named', async () => {
  const settings = { max_slot_wal_keep_size: '16MB', min_wal_size: '32MB', max_wal_size: '64MB' };
  await using sourceServer = await startServer('source', { settings });
  await using migration = await openMigration({ schema, onBoth: true, sourceServer });
  await setupStream(migration);
  await using following = run(migration, follow(migration, '--resume'));
  await following.waitForOutput(/receiving changes from/);
  const slot = slotOf(migration);

  // A reader that stands still: the source ends it to have its WAL back.
  process.kill(following.pid, 'SIGSTOP');
  await until('the slot is invalidated', async () => {
    await writeWalAway(migration.source);
    return (await restartLsn(migration.source, slot)) === null;
  });
  process.kill(following.pid, 'SIGCONT');
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(23);

  const again = await runToEnd(migration, follow(migration, '--resume'));
  expect(again.code, again.stderr).toBe(23);
  expect(again.stderr).toMatch(/was invalidated.*max_slot_wal_keep_size/);
  expect(again.stderr).toMatch(/Raise max_slot_wal_keep_size/);
});

test('a source that was promoted: what is missing there nobody knows, so it is not followed on', async () => {
  await using sourceServer = await startServer('source');
  await using migration = await openMigration({ schema, onBoth: true, sourceServer });
  await setupStream(migration);
  await using following = run(migration, follow(migration, '--resume'));
  await following.waitForOutput(/applying changes from/);
  await migration.source.sql('insert into item values (1)');
  await until('it is applied', async () => (await migration.target.sql('select from item')).length === 1);

  // The same server begins a new timeline, as a standby that is promoted does; its slot is even still there.
  const { cluster } = sourceServer;
  await cluster.stop('fast');
  const data = path.join(cluster.address.directory, 'data');
  // For a moment it is a standby, which is waited for.
  await writeFile(path.join(data, 'standby.signal'), '', { mode: 0o666 });
  await cluster.start();
  await until('it is promoted', async () => {
    const [row] = await migration.source.sql('select pg_promote(), pg_is_in_recovery()::text as standby');
    return row?.['standby'] === 'false';
  });
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(23);
  expect(exit.stderr).toMatch(/the source is on timeline 2, and the stream began on timeline 1/);
  const again = await runToEnd(migration, follow(migration, '--resume'));
  expect(again.code, again.stderr).toBe(23);
  expect(again.stderr).toMatch(/timeline 2/);
});
