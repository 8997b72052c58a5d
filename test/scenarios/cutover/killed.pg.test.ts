import { expect, test } from 'vitest';
import type { Failpoint } from '../../../src/failpoint.js';
import { expectEqual } from '../../support/equal.js';
import { cloneFollow, openMigration, run, runToEnd } from '../../support/live-migration.js';
import { killAndAbort, killAndResume, killAt } from './kills.js';
import { anyLag, expectFollows, followed, shopSchema } from './shop.js';

/** One of each kind; all of them are in the soak. */
const frozen: Failpoint = 'cutover.frozen';
const waiting: Failpoint = 'cutover.drained';
const completing: Failpoint = 'cutover.finalizing';

test('killed before the target is open, --abort has everything go on', { retry: 0 }, async () => {
  await killAndAbort([frozen, waiting, completing, 'cutover.completed']);
});

test.each<Failpoint>([frozen, completing, 'cutover.open'])(
  'killed at %s, --resume completes it',
  { retry: 0 },
  killAndResume,
);

test(
  'both terminals killed: refused until the run is there again, then completed',
  { retry: 0 },
  async () => {
    await using migration = await openMigration({ schema: shopSchema });
    {
      await using following = await followed(migration);
      await expectFollows(migration);
      await killAt(migration, waiting);
      following.kill('SIGKILL');
      await following.exit;
    }
    const alone = await runToEnd(migration, ['cutover', ...anyLag, '--resume']);
    expect(alone.code).toBe(12);
    expect(alone.stderr).toContain('no run follows in this work directory');

    await using again = run(migration, cloneFollow(migration, '--no-owner', '--resume'));
    await again.waitForOutput(/waiting for `walferry cutover`/);
    const resumed = await runToEnd(migration, ['cutover', ...anyLag, '--resume']);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect((await again.exit).code).toBe(0);
    await expectEqual(migration.source, migration.target);
  },
);
