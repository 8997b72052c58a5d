import { describe, expect, test } from 'vitest';
import { createDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';
import { expectEqual } from '../support/equal.js';
import {
  cloneFollow,
  run,
  runToEnd,
  hasApplied,
  sentinelOf,
  setEndpos,
  type Migration,
} from '../support/live-migration.js';
import { ledgerSchema, startLoad } from '../support/load.js';
import { until } from '../support/until.js';

/** A busy machine copies slowly; what is waited for comes in seconds else. */
const patience = { timeoutMs: 120_000 };

describe.each(['wal2json', 'test_decoding'] as const)(
  'a live migration through %s',
  { timeout: 400_000 },
  (plugin) => {
    test('ends with both sides equal', async () => {
      await using source = await createDatabase('source');
      await using target = await createDatabase('target');
      await using directory = await temporaryDirectory();
      await source.sqlAsOwner(ledgerSchema);
      await source.sqlAsOwner(`
      create table measure (id int primary key, f float8, n numeric, twice numeric generated always as (n * 2) stored,
        raw bytea, is_set boolean, doc jsonb)`);
      const migration: Migration = { source, target, directory: directory.path, role: 'owner' };
      const command = cloneFollow(migration, '--no-owner', '--plugin', plugin);

      // Given a database that is written to all the time, and killed once in the middle.
      const load = await startLoad(source, 3);
      {
        await using first = run(migration, command);
        await until('changes are applied', () => sentinelOf(migration)?.apply, patience);
        await until('some were', () => hasApplied(migration), patience);
        first.kill('SIGKILL');
        await first.exit;
      }
      await source.sqlAsOwner(`
      insert into measure values (1, 'NaN', 1.50, default, '\\x00', true, '{"a": "'' \\" \\\\"}');
      insert into measure (id, f, n) values (2, null, null), (3, 1e-300, 'Infinity');
      update measure set f = null where id = 1;
      update measure set id = 4, n = 12345678901234567890.1230 where id = 3;
      delete from measure where id = 2`);
      await using migrating = run(migration, [...command, '--resume']);
      await until('it goes on', () => hasApplied(migration), patience);

      // When the writers stop, and the end position is set.
      await load.stop();
      await setEndpos(migration);
      const exit = await migrating.exit;

      // Then both sides hold the same, and no publication was made.
      expect(exit.stderr).not.toMatch(/ERROR/);
      expect(exit.code).toBe(0);
      await expectEqual(source, target);
      expect(await source.sql('select pubname from pg_publication')).toEqual([]);

      // And the stream commands know the plugin of the stream.
      const again = await runToEnd(migration, command);
      expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('nothing to do')]);
    });
  },
);

test('a source that does not allow wal2json says how it is allowed; nothing is left behind', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await using directory = await temporaryDirectory();
  const migration: Migration = { source, target, directory: directory.path, role: 'owner' };
  await source.sqlAsOwner('create table one (id int primary key)');
  const [known] = await source.sql(`select setting from pg_settings where name = 'output_plugin_libraries'`);
  // Servers before this setting allow every plugin to a role that may replicate.
  if (known === undefined) return;
  await source.sql(`alter database ${source.name} set output_plugin_libraries = pgoutput`);

  const exit = await runToEnd(migration, cloneFollow(migration, '--plugin', 'wal2json'));

  expect(exit.code).toBe(6);
  expect(exit.stderr).toMatch(/the source does not allow the output plugin/);
  expect(exit.stderr).toMatch(/alter system set output_plugin_libraries = pgoutput, test_decoding, wal2json/);
  expect(
    await source.sql(`select slot_name from pg_replication_slots where database = '${source.name}'`),
  ).toEqual([]);
});
