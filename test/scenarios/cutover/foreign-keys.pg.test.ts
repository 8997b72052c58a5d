/**
 * Foreign keys that were dropped on the target while changes were applied (the role may not set
 * session_replication_role): new rows are checked from the switch on, old ones after it.
 */
import { expect, test } from 'vitest';
import type { Failpoint } from '../../../src/failpoint.js';
import { expectEqual } from '../../support/equal.js';
import {
  cloneFollow,
  follow,
  openMigration,
  run,
  runToEnd,
  setupStream,
  type Migration,
} from '../../support/live-migration.js';
import type { WalferryProcess } from '../../support/walferry.js';
import { killAt } from './kills.js';
import { anyLag, cutover, expectFollows, followed, holdUp, shopSchema, type Report } from './shop.js';

const key = 'sale_item_fkey of public.sale';
/** Everything but the opening is done. */
const completed: Failpoint = 'cutover.completed';

/** Whether the target has the key, and has checked the old rows; null: it has none. */
async function validated({ target }: Migration): Promise<boolean | null> {
  const [row] = await target.sql(
    `select convalidated::text as is from pg_constraint where conname = 'sale_item_fkey'`,
  );
  return row === undefined ? null : row['is'] === 'true';
}

const schema = shopSchema.replace(/insert into item.*/, '');

/** A stream into a target that has its keys already; it is applying. */
async function followedOnly(migration: Migration): Promise<WalferryProcess> {
  await setupStream(migration);
  const following = run(migration, follow(migration));
  await migration.source.sqlAsOwner(`insert into item values (7, 'item 7')`);
  await expectFollows(migration);
  expect(await validated(migration)).toBeNull();
  return following;
}

async function resume(migration: Migration): Promise<Report> {
  const exit = await runToEnd(migration, ['cutover', ...anyLag, '--resume', '--json']);
  expect(exit.code, exit.stderr).toBe(0);
  return JSON.parse(exit.stdout) as Report;
}

const laterStep = ({ steps }: Report) => steps.find(({ step }) => step === 'validate')?.detail;

test('beside `follow`: there before the target opens, validated after it, which the report says', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await using following = await followedOnly(migration);
  await killAt(migration, completed);
  await following.waitForOutput(/waiting for `walferry cutover` to open it/);
  expect(await validated(migration)).toBe(false);

  // The run stands still, so that it has not done it when the report is made.
  following.kill('SIGSTOP');
  expect(laterStep(await resume(migration))).toBe(
    `being validated by the run of the first terminal, which ends then: ${key}`,
  );
  expect(await validated(migration)).toBe(false);
  following.kill('SIGCONT');
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(0);
  expect(await validated(migration)).toBe(true);
  await expectEqual(migration.source, migration.target);
});

test('beside `follow` that dies before it has put them back: the cutover does both', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await using following = await followedOnly(migration);
  // Somebody's transaction on the target keeps the key from being added.
  await using reader = await holdUp(migration, 'item in row exclusive mode');
  await using cutting = run(migration, ['cutover', ...anyLag, '--json']);
  await cutting.waitForOutput(/completing the target/);
  following.kill('SIGKILL');
  await following.exit;
  await reader.end();

  const exit = await cutting.exit;
  expect(exit.code, exit.stderr).toBe(0);
  expect(laterStep(JSON.parse(exit.stdout) as Report)).toBe(`validated: ${key}`);
  expect(await validated(migration)).toBe(true);
  await expectEqual(migration.source, migration.target);
});

test('beside `follow`, undone when all was put back: the very same run follows on', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await using following = await followedOnly(migration);
  await killAt(migration, completed);
  const aborted = await runToEnd(migration, ['cutover', ...anyLag, '--abort']);
  expect(aborted.code, aborted.stderr).toBe(0);
  expect(aborted.stderr).not.toContain('no run follows any more');
  await expectFollows(migration);
  expect(await validated(migration)).toBeNull();

  const second = await cutover(migration);
  expect(second.exit.code, second.exit.stderr).toBe(0);
  expect((await following.exit).code).toBe(0);
  expect(await validated(migration)).toBe(true);
  await expectEqual(migration.source, migration.target);
});

test('a row that breaks its key does not hold up the switch; the run says so at its end', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await using following = await followedOnly(migration);
  await migration.target.sql(
    'insert into sale (id, item, amount) overriding system value values (1000, -1, 1)',
  );
  await killAt(migration, completed, '--verify', 'none');
  following.kill('SIGSTOP');
  await resume(migration);
  following.kill('SIGCONT');
  const exit = await following.exit;
  expect(exit.code).toBe(7);
  expect(exit.stderr).toContain('could not validate foreign key sale_item_fkey of public.sale');
  expect(await validated(migration)).toBe(false);
});

test('beside a clone, behind an undone cutover: not validated within the pause either', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  await using following = await followed(migration);
  await killAt(migration, completed);
  const aborted = await runToEnd(migration, ['cutover', ...anyLag, '--abort']);
  expect(aborted.code, aborted.stderr).toBe(0);
  await expectFollows(migration);
  expect(await validated(migration)).toBeNull();

  await killAt(migration, completed);
  await following.waitForOutput(/waiting for `walferry cutover` to open it/);
  expect(await validated(migration)).toBe(false);
  await resume(migration);
  expect((await following.exit).code).toBe(0);
  expect(await validated(migration)).toBe(true);
  expect(await migration.target.sql('select * from walferry.guard')).toEqual([]);
  await expectEqual(migration.source, migration.target);
});

test('beside a clone that dies when all is complete: the report says who validates, and it does', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  {
    await using following = await followed(migration);
    await killAt(migration, completed);
    following.kill('SIGKILL');
    await following.exit;
  }
  expect(laterStep(await resume(migration))).toMatch(/^not validated, .* --resume.*: sale_item_fkey/);
  expect(await validated(migration)).toBe(false);
  const sequence = `select last_value::text as at from sale_id_seq`;
  await migration.target.sql('insert into sale (item, amount) values (1, 1)');
  const before = await migration.target.sql(sequence);

  const resumed = await runToEnd(migration, cloneFollow(migration, '--no-owner', '--resume'));
  expect(resumed.code, resumed.stderr).toBe(0);
  expect(await validated(migration)).toBe(true);
  // The target takes writes: nothing of it is set back.
  expect(await migration.target.sql(sequence)).toEqual(before);
});
