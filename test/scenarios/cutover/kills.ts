/** The cutover killed with -9 at its failpoints, and then undone, or gone on with. */
import { expect } from 'vitest';
import { failpoints, type Failpoint } from '../../../src/failpoint.js';
import { readStatus } from '../../../src/monitor/status.js';
import { expectEqual } from '../../support/equal.js';
import { openMigration, run, runToEnd, type Migration } from '../../support/live-migration.js';
import { anyLag, cutover, expectFollows, followed, shopSchema } from './shop.js';

/** Of an undo: see the test of revoked privileges. */
const ofTheUndo: readonly Failpoint[] = ['cutover.taken-back', 'cutover.unfrozen'];
/** Every failpoint on the way to the target's opening and behind it. */
export const cutoverPoints = failpoints.filter(
  (name) => name.startsWith('cutover.') && !ofTheUndo.includes(name),
);
/** Behind the point of no return. */
export const openPoints: readonly Failpoint[] = ['cutover.open', 'cutover.after'];

export async function killAt(migration: Migration, failpoint: Failpoint, ...more: string[]): Promise<void> {
  const asked = failpoint === 'cutover.copied-again' ? ['--copy-again'] : [];
  const command = ['cutover', ...anyLag, ...asked, ...more];
  await using dying = run(migration, command, { WALFERRY_FAILPOINT: failpoint });
  const exit = await dying.exit;
  expect(exit.signal, `${failpoint}: ${exit.stderr}`).toBe('SIGKILL');
}

/** Killed at one after the other, undone each time, and complete at last. */
export async function killAndAbort(points: readonly Failpoint[]): Promise<void> {
  await using migration = await openMigration({ schema: shopSchema });
  await using following = await followed(migration);
  for (const failpoint of points) {
    await killAt(migration, failpoint);
    expect(readStatus(migration.directory).warnings, failpoint).toEqual([expect.stringMatching(/--abort/)]);
    const write = migration.source.sqlAsOwner('insert into sale (item, amount) values (1, 1)');
    await expect(write, failpoint).rejects.toThrow(/read-only/);

    const aborted = await runToEnd(migration, ['cutover', ...anyLag, '--abort']);
    expect(aborted.code, `${failpoint}: ${aborted.stderr}`).toBe(0);
    // Also a run that had completed the target by then: it waits until the target is open.
    await expectFollows(migration);
  }
  const { exit } = await cutover(migration);
  expect(exit.code, exit.stderr).toBe(0);
  expect((await following.exit).code).toBe(0);
  await expectEqual(migration.source, migration.target);
}

/** Killed, and gone on with. */
export async function killAndResume(failpoint: Failpoint): Promise<void> {
  await using migration = await openMigration({ schema: shopSchema });
  await using following = await followed(migration);
  await expectFollows(migration);
  await killAt(migration, failpoint);

  const resumed = await runToEnd(migration, ['cutover', ...anyLag, '--resume', '--json']);
  expect(resumed.code, resumed.stderr).toBe(0);
  const report = JSON.parse(resumed.stdout) as { state: string; pause_ms: number };
  expect(report.state).toBe('done');
  expect(report.pause_ms).toBeGreaterThan(0);
  expect((await following.exit).code).toBe(0);
  await expectEqual(migration.source, migration.target);
}
