/**
 * Killed in the middle of the copy, and nobody held the snapshot: what was copied belongs to a moment that cannot be
 * had again. Without a stream that is refused, not patched (with one: test/scenarios/later-snapshot); and what a used
 * directory is good for is said each time.
 */
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { contents, expectEqual } from '../../support/equal.js';
import {
  cloneFollow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  slotOf,
  type Migration,
} from '../../support/live-migration.js';
import { ledgerSchema } from '../../support/load.js';

const dying = { WALFERRY_FAILPOINT: 'clone.table-committed:2' };

async function slots({ source, ...migration }: Migration): Promise<string[]> {
  const rows = await source.sql(
    `select slot_name from pg_replication_slots where slot_name = '${slotOf({ source, ...migration })}'`,
  );
  return rows.map((row) => row['slot_name'] ?? '');
}

test('killed during the copy of clone --follow: the line that goes on is printed, --restart begins anew and says what it drops', async () => {
  await using migration = await openMigration({ schema: ledgerSchema });
  const { source, target, directory } = migration;
  const clone = cloneFollow(migration, '--no-owner');

  // Given a run that dies with the snapshot in its hand, when some tables are copied.
  const death = await runToEnd(migration, clone, dying);
  expect(death.signal, death.stderr).toBe('SIGKILL');
  const half = await contents(target);

  // The same line again is refused, and the line that goes on is printed to be copied.
  const again = await runToEnd(migration, clone);
  expect(again.code, again.stderr).toBe(1);
  expect(again.stderr).toContain(
    `walferry clone --follow --slot-name ${slotOf(migration)} --no-owner --dir ${directory} --resume`,
  );
  expect(again.stderr).toContain('--restart');

  // With other settings it would be another run.
  const other = await runToEnd(migration, cloneFollow(migration, '--resume'));
  expect(other.code, other.stderr).toBe(1);
  expect(other.stderr).toMatch(/no-owner was true and is now false/);

  // Nothing was touched by all this.
  expect(await contents(target)).toEqual(half);
  expect(await slots(migration)).toEqual([slotOf(migration)]);

  // With --restart it begins anew, names what it drops, and ends well.
  await using restarted = run(migration, [...clone, '--restart']);
  await restarted.waitForOutput(/applying changes from/);
  expect(restarted.stderr).toContain(`--restart: dropping what earlier runs left in ${directory}`);
  expect(restarted.stderr).toContain(`Dropped replication slot "${slotOf(migration)}"`);
  expect(restarted.stderr).toContain(`Dropped publication "${slotOf(migration)}"`);

  // While it runs a second process is kept out, with --restart too: it takes the lock before it drops anything.
  for (const more of [['--resume'], ['--restart'], []]) {
    const second = await runToEnd(migration, [...clone, ...more]);
    expect(second.code, second.stderr).toBe(1);
    expect(second.stderr).toContain(`another walferry process (pid ${restarted.pid}) works in ${directory}`);
    expect(second.stderr).not.toContain('Dropped');
  }
  expect(await slots(migration)).toEqual([slotOf(migration)]);
  expect(existsSync(`${directory}/catalog.db`)).toBe(true);

  await source.sql(`update account set note = 'after the restart' where id < 20`);
  await setEndpos(migration);
  expect((await restarted.exit).code, restarted.stderr).toBe(0);
  await expectEqual(source, target);
});

test('killed during the copy of a plain clone: --resume refuses, --restart ends well', async () => {
  await using migration = await openMigration({ schema: ledgerSchema });
  const { source, target } = migration;
  const death = await runToEnd(migration, ['clone', '--no-owner'], dying);
  expect(death.signal, death.stderr).toBe('SIGKILL');

  const resumed = await runToEnd(migration, ['clone', '--no-owner', '--resume']);
  expect(resumed.code, resumed.stderr).toBe(6);
  expect(resumed.stderr).toMatch(/snapshot .* is gone/);

  const restarted = await runToEnd(migration, ['clone', '--no-owner', '--restart']);
  expect(restarted.code, restarted.stderr).toBe(0);
  await expectEqual(source, target);

  // And once complete, it has nothing to do; with --restart it would do it all again.
  const again = await runToEnd(migration, ['clone', '--no-owner']);
  expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('nothing to do')]);
});

test('killed during the copy while another process holds the snapshot: --resume goes on with it', async () => {
  await using migration = await openMigration({ schema: ledgerSchema });
  const { source, target } = migration;
  await using holder = run(migration, ['snapshot']);
  await holder.waitForOutput(/^[0-9A-F]+-[0-9A-F]+-\d+$/m);
  const before = await contents(source);

  const death = await runToEnd(migration, ['clone', '--no-owner'], dying);
  expect(death.signal, death.stderr).toBe('SIGKILL');
  await source.sql(`insert into ticket (state) values ('after the snapshot')`);

  const resumed = await runToEnd(migration, ['clone', '--no-owner', '--resume']);
  expect(resumed.code, resumed.stderr).toBe(0);
  expect(await contents(target)).toEqual(before);
});
