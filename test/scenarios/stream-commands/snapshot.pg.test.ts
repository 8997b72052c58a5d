/** `walferry snapshot` in one terminal, the commands that use its snapshot in another. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { contents, expectEqual } from '../../support/equal.js';
import {
  cloneFollow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  slotOf,
  streamOptions,
  succeed,
} from '../../support/live-migration.js';
import { ledgerSchema } from '../../support/load.js';

const printed = /^[0-9A-F]+-[0-9A-F]+-\d+$/m;

test('a snapshot is printed soon, serves a clone in the same directory, and goes with SIGTERM', async () => {
  await using migration = await openMigration({ schema: ledgerSchema });
  const { source, target, directory } = migration;
  const before = await contents(source);

  await using holder = run(migration, ['snapshot']);
  await holder.waitForOutput(/Running walferry/);
  const startedAt = Date.now();
  const [snapshot] = await holder.waitForOutput(printed);
  // A second on a machine of one's own; beside other tests it takes its turn.
  expect(Date.now() - startedAt).toBeLessThan(10_000);
  expect(holder.stdout).toBe(`${snapshot}\n`);
  expect(readFileSync(`${directory}/snapshot`, 'utf8')).toBe(`${snapshot}\n`);

  // What is written after it was taken is not copied.
  await source.sql(`update account set balance = 0; insert into ticket (state) values ('too late')`);
  await succeed(migration, ['clone', '--no-owner']);
  expect(await contents(target)).toEqual(before);

  // A second one in the same directory is refused while the first lives.
  const second = await runToEnd(migration, ['snapshot']);
  expect([second.code, second.stdout]).toEqual([1, '']);
  expect(second.stderr).toContain(`(pid ${holder.pid})`);

  holder.kill('SIGTERM');
  expect(await holder.exit).toMatchObject({ code: 0, signal: null });
  expect(holder.stderr).not.toContain('ERROR');
  expect(existsSync(`${directory}/snapshot`)).toBe(false);
});

test('a snapshot whose session the server ends is told, with exit 6', async () => {
  await using migration = await openMigration({ role: 'superuser' });
  await using holder = run(migration, ['snapshot']);
  await holder.waitForOutput(printed);
  await migration.source.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'walferry snapshot' and datname = current_database()`,
  );
  const exit = await holder.exit;
  expect(exit.code, exit.stderr).toBe(6);
  expect(exit.stderr).toMatch(/held the snapshot/);
  expect(existsSync(`${migration.directory}/snapshot`)).toBe(false);
});

test('snapshot --follow makes the slot, and clone --follow in the same directory uses slot and snapshot', async () => {
  await using migration = await openMigration({ schema: ledgerSchema });
  const { source, target } = migration;
  await using holder = run(migration, ['snapshot', '--follow', ...streamOptions(migration)]);
  await holder.waitForOutput(printed);
  const slot = `select slot_name, restart_lsn from pg_replication_slots where slot_name = '${slotOf(migration)}'`;
  const [made] = await source.sql(slot);
  expect(made?.['slot_name']).toBe(slotOf(migration));

  // What happens between the snapshot and the clone comes by the stream.
  await source.sql(`update account set balance = balance + 1; insert into ticket (state) values ('between')`);
  await using migrating = run(migration, cloneFollow(migration, '--no-owner'));
  await migrating.waitForOutput(/applying changes from/);
  holder.kill('SIGTERM');
  expect(await holder.exit).toMatchObject({ code: 0 });

  // The slot outlives the holder, and a slot's snapshot cannot be had twice.
  const again = await runToEnd(migration, ['snapshot', '--follow', ...streamOptions(migration)]);
  expect(again.code, again.stderr).toBe(1);
  expect(again.stderr).toMatch(/a stream was set up in .* already/);

  await source.sql(`delete from ticket where state = 'new'`);
  await setEndpos(migration);
  expect((await migrating.exit).code, migrating.stderr).toBe(0);
  await expectEqual(source, target);
});

test('a stream is never joined to a snapshot that is not its own', async () => {
  await using migration = await openMigration({ schema: 'create table seen (i int, t text)' });
  const { source, target, directory } = migration;
  await using holder = run(migration, ['snapshot', '--follow', ...streamOptions(migration)]);
  await holder.waitForOutput(printed);

  // Given a row that the stream carries, and a later snapshot that has it as well,
  await source.sqlAsOwner(`insert into seen values (1, 'once')`);
  await using later = run({ ...migration, directory: `${directory}/later` }, ['snapshot']);
  const [name] = await later.waitForOutput(printed);

  // when that one is named, then it is refused, by a run that begins as by one that goes on,
  for (const place of [directory, `${directory}/new`]) {
    const words = cloneFollow({ ...migration, directory: place }, '--no-owner', '--snapshot', name);
    const exit = await runToEnd({ ...migration, directory: place }, words);
    expect([exit.code, exit.stderr]).toEqual([
      6,
      expect.stringContaining('not that of the replication slot'),
    ]);
  }
  // a step of a copy takes no other one than its directory's,
  const step = await runToEnd(migration, ['copy', 'table-data', '--snapshot', name]);
  expect([step.code, step.stderr]).toEqual([1, expect.stringMatching(/holds the snapshot .* names/)]);

  // and with the slot's own one the row is there once.
  await using migrating = run(migration, cloneFollow(migration, '--no-owner'));
  await migrating.waitForOutput(/applying changes from/);
  await setEndpos(migration);
  expect((await migrating.exit).code, migrating.stderr).toBe(0);
  expect(await target.sql('select t from seen')).toEqual([{ t: 'once' }]);
});
