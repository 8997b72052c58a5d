/**
 * kill -9 at every named failpoint, under load. The snapshot is held by `walferry snapshot --follow` in another
 * process, so that a copy can go on too. After each death the line with --resume is run, as a person would, until it
 * ends well; then both sides must be equal, and the ledger must be one that adds up.
 */
import { describe, expect, test } from 'vitest';
import { failpoints, type Failpoint } from '../../../src/failpoint.js';
import { createDatabase } from '../../support/databases.js';
import { temporaryDirectory } from '../../support/directory.js';
import { expectEqual } from '../../support/equal.js';
import {
  cloneFollow,
  run,
  sentinelOf,
  setEndpos,
  streamOptions,
  type Migration,
} from '../../support/live-migration.js';
import { ledgerSchema, startLoad } from '../../support/load.js';
import { until } from '../../support/until.js';
import type { WalferryExit } from '../../support/walferry.js';

/** Deaths that come only once the end position is reached. */
const afterTheEnd: readonly Failpoint[] = ['follow.drained', 'follow.sequences-set', 'clone.finalize'];

/** Which pass dies, where the first one would say little. */
const pass: Partial<Record<Failpoint, number>> = {
  'receive.batch-received': 5,
  'journal.written': 7,
  'journal.durable': 3,
  'receive.acknowledged': 3,
  'apply.group-sent': 4,
  'apply.commit-sent': 3,
  'apply.committed': 3,
  'apply.recorded': 2,
};

/** Deaths between two transform files: a load as small as this one begins a second only where the source is made to. */
const betweenFiles: readonly Failpoint[] = ['journal.closed', 'journal.rotated'];

/** The holder of the snapshot has passed it before. */
const elsewhere: readonly Failpoint[] = ['follow.slot-made'];

async function resumeToTheEnd(migration: Migration): Promise<WalferryExit> {
  await using process = run(migration, cloneFollow(migration, '--no-owner', '--resume'));
  return await process.exit;
}

describe('killed at', () => {
  // Those of the cutover are passed by another process: test/scenarios/cutover.
  const ofTheRun = failpoints.filter((name) => !elsewhere.includes(name) && !name.startsWith('cutover.'));

  test.each(ofTheRun)('%s, it loses nothing', { retry: 0 }, async (failpoint) => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using directory = await temporaryDirectory();
    await source.sqlAsOwner(`${ledgerSchema}; select lo_from_bytea(0, 'a large object')`);
    const migration: Migration = { source, target, directory: directory.path, role: 'owner' };
    await using holder = run(migration, ['snapshot', '--follow', ...streamOptions(migration)]);
    await holder.waitForOutput(/^[0-9A-F]+-[0-9A-F]+-\d+$/m);
    const load = await startLoad(source, 2, 2);

    // Given a run that dies at the failpoint,
    await using dying = run(migration, cloneFollow(migration, '--no-owner'), {
      WALFERRY_FAILPOINT: `${failpoint}:${pass[failpoint] ?? 1}`,
    });
    if (afterTheEnd.includes(failpoint)) {
      await until('changes are applied', () => sentinelOf(migration)?.apply);
      await load.stop();
      await setEndpos(migration);
    }
    if (betweenFiles.includes(failpoint)) {
      await dying.waitForOutput(/receiving changes from/);
      let isDead = false;
      void dying.exit.then(() => (isDead = true));
      await until('it dies', async () => {
        await source.sql('select pg_switch_wal()');
        return isDead;
      });
    }
    const death = await dying.exit;
    expect(death.signal, death.stderr).toBe('SIGKILL');

    // when the writers stop, and the same line is run with --resume until the end position is reached,
    if (!afterTheEnd.includes(failpoint)) {
      await load.stop();
      await setEndpos(migration);
    }
    const resumed = await resumeToTheEnd(migration);

    // then nothing is lost and nothing is doubled.
    expect(resumed.code, resumed.stderr).toBe(0);
    await expectEqual(source, target);
    const [sum] = await target.sql('select sum(balance) as sum, count(*) as count from account');
    expect(sum).toEqual({ sum: '200000.00', count: '200' });
  });
});
