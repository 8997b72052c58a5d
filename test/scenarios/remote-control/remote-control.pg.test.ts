/** A run that is steered from elsewhere: over its port, without its work directory. */
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../../support/directory.js';
import { expectEqual } from '../../support/equal.js';
import { cloneFollow, openMigration, run, runToEnd, slotOf, uris } from '../../support/live-migration.js';
import { freePort } from '../../support/ports.js';
import { until } from '../../support/until.js';
import { walferry } from '../../support/walferry.js';

const schema = `create table item (id int primary key, body text); create table note (id int primary key);
  insert into item select i, 'item ' || i from generate_series(1, 2000) i`;

test('the end position is set over the port while the copy runs, and the run ends there', async () => {
  await using migration = await openMigration({ schema });
  await using elsewhere = await temporaryDirectory();
  const port = await freePort();
  const token = { WALFERRY_TOKEN: 'known to both: ü' };
  const ask = async (words: string[], environment: Record<string, string> = {}) => {
    const command = ['stream', ...words, '--dir', elsewhere.path];
    await using asked = walferry(command, { env: { ...uris(migration), ...environment } });
    return await asked.exit;
  };
  await using locker = await migration.source.session();
  await using following = run(migration, cloneFollow(migration, '--port', port, '--no-owner'), token);
  // The copy waits for the lock, long after the slot is there.
  await until('the slot is there', async () => {
    const slots = `select from pg_replication_slots where slot_name = '${slotOf(migration)}' and confirmed_flush_lsn is not null`;
    return (await migration.source.sql(slots)).length > 0;
  });
  await locker.sql('begin; lock table item in access exclusive mode');
  await following.waitForOutput(/remote control: listening on 127.0.0.1:\d+/);

  const at = ['--host', '127.0.0.1', '--port', port];
  const read = await ask(['sentinel', 'get', ...at, '--apply']);
  expect([read.code, read.stdout]).toEqual([0, 'disabled\n']);
  const refused = await ask(['sentinel', 'set', 'endpos', '--current', ...at]);
  expect([refused.code, refused.stdout]).toEqual([12, '']);
  expect(refused.stderr).toMatch(/needs the token of the run/);
  const elsewhereMade = await ask(['sentinel', 'set', 'endpos', '0/0', ...at], { WALFERRY_TOKEN: 'guess' });
  expect(elsewhereMade.code).toBe(12);

  // By variables, with the mark made by the client: what committed before it is in, what comes after it is not.
  await migration.source.sql('insert into note values (1)');
  const address = { WALFERRY_HOST: 'localhost', WALFERRY_PORT: port };
  const set = await ask(['sentinel', 'set', 'endpos', '--current'], { ...token, ...address });
  expect(set.code, set.stderr).toBe(0);
  await migration.source.sql('insert into note values (2)');
  await locker.sql('commit');
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(0);
  expect(exit.stderr).toContain(`remote control: endpos is ${set.stdout.trim()}`);
  await migration.source.sql('delete from note where id = 2');
  await expectEqual(migration.source, migration.target);

  // Nobody listens any more: reading falls back to the work directory and says so, setting does not.
  const late = await runToEnd(migration, ['stream', 'sentinel', 'get', '--endpos', ...at]);
  expect([late.code, late.stdout]).toEqual([0, set.stdout]);
  expect(late.stderr).toMatch(/nobody listens on 127.0.0.1:\d+ any more: this is what the work directory/);
  const lost = await runToEnd(migration, ['stream', 'sentinel', 'set', 'apply', ...at]);
  expect(lost.code).toBe(12);
  expect(lost.stderr).toMatch(/nobody listens on/);
});

test('with the token of the work directory; files are pruned over the port; another source marks nothing', async () => {
  await using migration = await openMigration({ schema });
  const port = await freePort();
  await using following = run(migration, cloneFollow(migration, '--host', 'localhost', '--port', port));
  await following.waitForOutput(/applying changes from/);
  const at = ['--host', 'localhost', '--port', port];
  const pruned = await runToEnd(migration, ['stream', 'prune', '--dry-run', ...at]);
  expect([pruned.code, pruned.stderr]).toEqual([0, expect.stringMatching(/DRY RUN: would remove 0 CDC/)]);
  const wrong = await runToEnd(migration, [
    'stream',
    'sentinel',
    'set',
    'endpos',
    '--current',
    '--source',
    migration.target.uri,
    ...at,
  ]);
  expect([wrong.code, wrong.stderr]).toEqual([6, expect.stringMatching(/not the source of the stream/)]);
  const set = await runToEnd(migration, ['stream', 'sentinel', 'set', 'endpos', '--current', ...at]);
  expect(set.code, set.stderr).toBe(0);
  expect((await following.exit).code, following.stderr).toBe(0);
});

test('an address that others reach is refused without a token, before anything is begun', async () => {
  await using migration = await openMigration({ schema });
  const exit = await runToEnd(migration, cloneFollow(migration, '--host', '0.0.0.0'));
  expect(exit.code).toBe(1);
  expect(exit.stderr).toMatch(
    /--host 0.0.0.0 can be reached from other machines: without a token nobody listens/,
  );
  expect(
    await migration.source.sql(`select from pg_replication_slots where database = current_database()`),
  ).toEqual([]);
});
