/** Servers that restart, and sessions that somebody ends, while a stream is followed: it goes on by itself. */
import { expect, test } from 'vitest';
import { startServer } from '../../support/clusters.js';
import type { TestDatabase } from '../../support/databases.js';
import { expectEqual, expectLedger } from '../../support/equal.js';
import { appliedPosition, cloneFollow, openMigration, run, setEndpos } from '../../support/live-migration.js';
import { insertPosition } from '../../support/commits.js';
import { ledgerSchema, startLoad } from '../../support/load.js';
import { readLsn } from '../../../src/model/lsn.js';
import { until } from '../../support/until.js';

/** Ends the sessions of the program whose name begins so; gives how many. */
async function endSessions(database: TestDatabase, name: string): Promise<number> {
  const ended = await database.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like '${name}%'`,
  );
  return ended.length;
}

test('servers restart and sessions are ended while it follows: it goes on, and both sides are equal', async () => {
  await using sourceServer = await startServer('source');
  await using targetServer = await startServer('target');
  await using migration = await openMigration({ schema: ledgerSchema, sourceServer, targetServer });
  const { source, target } = migration;
  await using following = run(migration, cloneFollow(migration, '--no-owner'));
  await following.waitForOutput(/applying changes from/);

  const level = async (what: string) => {
    const written = readLsn(await insertPosition(source));
    await source.sql(`insert into ticket (state) values ('so that something comes after')`);
    await until(`the target is level again after ${what}`, async () => {
      return readLsn((await appliedPosition(migration)) ?? '0/0') >= written;
    });
  };
  await level('the start');

  // Under load: the target's sessions, the source's, and the target as a whole, cleanly and by power loss.
  for (const [what, happen] of [
    ['its sessions on the target were ended', () => endSessions(target, 'walferry apply')],
    ['its walsender was ended', () => endSessions(source, 'walferry')],
    ['the target restarted', () => targetServer.cluster.restart('fast')],
    ['the target crashed', () => targetServer.cluster.restart('kill')],
  ] as const) {
    // It is level, and nothing happened meanwhile: its sessions are there, all of them.
    const reconnects = () => following.stderr.match(/connecting again/g)?.length ?? 0;
    const before = reconnects();
    const load = await startLoad(source, 2, 3);
    expect(reconnects(), following.stderr).toBe(before);
    const done = await happen();
    if (typeof done === 'number') expect(done, `${what}: ${following.stderr}`).toBeGreaterThan(0);
    await load.stop();
    await level(what);
  }

  // The source, between loads that would not survive it.
  for (const mode of ['fast', 'immediate', 'kill'] as const) {
    const load = await startLoad(source, 2);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await load.stop();
    await sourceServer.cluster.restart(mode);
    await level(`the source restarted (${mode})`);
  }

  expect(following.stderr).toMatch(/connecting again/);
  await setEndpos(migration);
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(0);
  expect(exit.stderr).not.toMatch(/ERROR/);
  await expectEqual(source, target);
  await expectLedger(target);
});
