/**
 * A cutover that fails: the source takes writes again, the application goes on there, the target goes on following, and
 * a later cutover succeeds.
 */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { expectEqual } from '../../support/equal.js';
import { openMigration, run, runToEnd, type Migration } from '../../support/live-migration.js';
import { until } from '../../support/until.js';
import {
  anyLag,
  cutover,
  draining,
  expectFollows,
  followed,
  heldUpInDrain,
  holdUp,
  shopSchema,
  startShop,
} from './shop.js';

/** The database's own default on the source; null where it has none. */
async function readOnlyDefault({ source }: Migration): Promise<string | null> {
  const [row] = await source.sql(
    `select (select string_agg(line, ' ') from pg_db_role_setting s, unnest(s.setconfig) line
              where s.setdatabase = d.oid and line like 'default_transaction_read_only%') as line
       from pg_database d where datname = current_database()`,
  );
  return row?.['line'] ?? null;
}

test('sides that differ: the rows are named, the shop goes on, and the next cutover succeeds', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  const { source, target } = migration;
  await using following = await followed(migration);
  await using shop = await startShop(source);
  await shop.written(20);
  await target.sql(`update item set name = 'tampered with' where id = 42`);

  const { exit } = await cutover(migration);
  expect(exit.code).toBe(21);
  expect(exit.stderr).toContain('public.item: different: id = 42 (name)');
  expect(exit.stderr).not.toContain('tampered with');
  expect(exit.stderr).toContain('The cutover was undone');
  expect(await readOnlyDefault(migration)).toBeNull();

  // The shop goes on, the very same run follows it,
  await shop.written((await committedOn(migration)) + 20);
  await expectFollows(migration);
  // and once the row is mended, it is switched.
  await target.sql(`update item set name = 'item 42' where id = 42`);
  const second = await cutover(migration);
  expect(second.exit.code, second.exit.stderr).toBe(0);
  expect((await following.exit).code).toBe(0);
  await shop.stop();
  await expectEqual(source, target);
});

test('a difference that one cutover has found is found by the next, whatever was proven before it', async () => {
  // Given tables that are proven equal, then a row of the target that the stream has not written,
  await using migration = await openMigration({ schema: shopSchema });
  await using following = await followed(migration);
  expect((await runToEnd(migration, ['compare', 'data'])).code).toBe(0);
  await migration.target.sql(`update item set name = 'tampered with' where id = 42`);

  // when one comparison of everything has found it,
  for (const verify of ['full', 'touched']) {
    const { exit } = await cutover(migration, '--verify', verify);
    // then so does one that rests on what is proven.
    expect(exit.code, exit.stderr).toBe(21);
    expect(exit.stderr).toContain('public.item: different: id = 42 (name)');
  }
  following.kill('SIGINT');
  await following.exit;
});

async function committedOn({ source }: Migration): Promise<number> {
  const [row] = await source.sql('select count(*)::text as count from sale');
  return Number(row?.['count']);
}

test('a target that is too slow: undone after --max-pause, by what it waited for', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  await using _following = await followed(migration);
  await using blocker = await heldUpInDrain(migration);

  // Nor does a log file on a full disk keep the source frozen.
  const command = ['cutover', ...anyLag, '--max-pause', '2'];
  const exit = await runToEnd(migration, command, { WALFERRY_LOG_FILENAME: '/dev/full' });
  expect(exit.code).toBe(12);
  expect(exit.stderr).toMatch(/--max-pause \(2 s\) is over, while the target is at/);
  expect(await readOnlyDefault(migration)).toBeNull();
  await blocker.end();
  await expectFollows(migration);
});

test('stopped while the target is completed: the run takes up the stream again', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  const { target } = migration;
  await using following = await followed(migration);
  await expectFollows(migration);
  // A reader of the target keeps the foreign keys from being added.
  await using reader = await holdUp(migration, 'item in row exclusive mode');

  await using cutting = run(migration, ['cutover', ...anyLag]);
  await cutting.waitForOutput(/completing the target/);
  await following.waitForOutput(/adding foreign keys/);
  cutting.kill('SIGINT');
  const exit = await cutting.exit;
  expect(exit.code, exit.stderr).toBe(22);
  expect(exit.stderr).toContain('The cutover was undone');
  await following.waitForOutput(/the cutover was taken back: the stream goes on/);
  await reader.end();
  await expectFollows(migration);
  const second = await cutover(migration);
  expect(second.exit.code, second.exit.stderr).toBe(0);
  expect((await following.exit).code).toBe(0);
  await expectEqual(migration.source, target);
});

test('cut over again before the run has noticed the undo of the first: it follows, and the second succeeds', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  const { target } = migration;
  await using following = await followed(migration);
  await expectFollows(migration);
  await using reader = await holdUp(migration, 'item in row exclusive mode');
  await using cutting = run(migration, ['cutover', ...anyLag]);
  await following.waitForOutput(/adding foreign keys/);

  // The run stands still while the first is undone and the second one begins.
  following.kill('SIGSTOP');
  cutting.kill('SIGINT');
  expect((await cutting.exit).code).toBe(22);
  await reader.end();
  await using second = run(migration, ['cutover', ...anyLag]);
  await second.waitForOutput(draining);
  following.kill('SIGCONT');

  await following.waitForOutput(/the cutover was taken back: the stream goes on/);
  const exit = await second.exit;
  expect(exit.code, exit.stderr).toBe(0);
  expect((await following.exit).code).toBe(0);
  await expectEqual(migration.source, target);
});

test('a catalog that cannot be written any more does not keep the source frozen', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  const { directory } = migration;
  await using _following = await followed(migration);
  await using blocker = await heldUpInDrain(migration);
  await using cutting = run(migration, ['cutover', ...anyLag]);
  await cutting.waitForOutput(draining);

  const catalog = new Database(join(directory, 'catalog.db'));
  catalog.exec(
    `create trigger full before update on cutover begin select raise(abort, 'the disk is full'); end`,
  );
  cutting.kill('SIGINT');
  const exit = await cutting.exit;
  expect(exit.code).not.toBe(0);
  expect(exit.stderr).toContain('the cutover could not be undone');
  expect(exit.stderr).toContain('the disk is full');
  expect(await readOnlyDefault(migration)).toBeNull();

  // Once it can be written again, the rest is undone too.
  catalog.exec('drop trigger full');
  catalog.close();
  await blocker.end();
  const aborted = await runToEnd(migration, ['cutover', ...anyLag, '--abort']);
  expect(aborted.code, aborted.stderr).toBe(0);
  await expectFollows(migration);
});

test.each(['pgoutput', 'test_decoding', 'wal2json'])(
  'somebody who cannot be stopped and writes on is found out by position, through %s',
  async (plugin) => {
    await using migration = await openMigration({ schema: shopSchema });
    await using _following = await followed(migration, '--plugin', plugin);
    await using shop = await startShop(migration.source, { as: 'superuser', pauseMs: 1 });
    await shop.written(20);

    const { exit } = await cutover(migration);
    expect(exit.code, exit.stderr).toBe(12);
    expect(exit.stderr).toMatch(/somebody wrote to the source behind the end position .* in public\.sale/);
    await shop.stop();
    await expectFollows(migration);
  },
);

test('a prepared transaction, and a subscription that writes to the source, block the beginning', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  const { source } = migration;
  await using _following = await followed(migration);
  await source.sql(`begin; insert into sale (item, amount) values (1, 1); prepare transaction 'late'`);
  await source.sql(`
    create subscription inward connection 'host=nowhere.invalid' publication p with (connect = false, slot_name = none)`);
  await source.sql(`update pg_subscription set subenabled = true where subname = 'inward'`);

  const { exit } = await cutover(migration);
  expect(exit.code).toBe(12);
  expect(exit.stderr).toContain('end them first: late (of postgres)');
  expect(exit.stderr).toContain('alter subscription "inward" disable');
  expect(await readOnlyDefault(migration)).toBeNull();
  await source.sql(`rollback prepared 'late'`);
  await source.sql('alter subscription inward disable');
  await source.sql('drop subscription inward');
});

test('Ctrl-C during the pause undoes it', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  await using _following = await followed(migration);
  await using blocker = await heldUpInDrain(migration);

  await using cutting = run(migration, ['cutover', ...anyLag]);
  await cutting.waitForOutput(draining);
  cutting.kill('SIGINT');
  const exit = await cutting.exit;
  expect(exit.code, exit.stderr).toBe(22);
  expect(exit.stderr).toContain('The cutover was undone');
  expect(await readOnlyDefault(migration)).toBeNull();
  await blocker.end();
  await expectFollows(migration);
});

test('stopped while somebody holds a sequence of the target: undone, and nothing waits for it', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  const { target } = migration;
  await using _following = await followed(migration);
  await using session = await target.session();
  await session.sql('begin; alter sequence sale_id_seq restart 5');

  await using cutting = run(migration, ['cutover', ...anyLag]);
  // The run that completes the target may wait for it too.
  await until('it waits for the sequence', async () => {
    const rows = await target.sql(
      `select from pg_locks join pg_stat_activity using (pid)
        where not granted and relation = 'sale_id_seq'::regclass and query like '%setval%'`,
    );
    return rows.length === 1;
  });
  cutting.kill('SIGINT');
  const exit = await cutting.exit;
  expect(exit.code, exit.stderr).toBe(22);
  expect(exit.stderr).toContain('The cutover was undone');
  expect(await readOnlyDefault(migration)).toBeNull();
  await session.sql('rollback');
});

test('a sequence that somebody takes from after it was set is set again', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  const { source, target } = migration;
  await using following = await followed(migration);
  await expectFollows(migration);
  await using reader = await holdUp(migration, 'item in row exclusive mode');
  await using cutting = run(migration, ['cutover', ...anyLag, '--freeze', 'none']);
  await cutting.waitForOutput(/completing the target/);
  await source.sql(`select setval('sale_id_seq', 4711)`);
  await reader.end();

  const exit = await cutting.exit;
  expect(exit.code, exit.stderr).toBe(0);
  expect(exit.stderr).toContain('1 sequences had moved, and were set again');
  expect(await target.sql('select last_value::text as last from sale_id_seq')).toEqual([{ last: '4711' }]);
  expect((await following.exit).code).toBe(0);
});

test('the commands at the seams: run in order, relayed, and a failing one stops it all', async () => {
  await using migration = await openMigration({ schema: shopSchema });
  await using following = await followed(migration);

  const failing = await cutover(migration, '--before-freeze', 'echo the shop will not close >&2; exit 3');
  expect(failing.exit.code).toBe(12);
  expect(failing.exit.stderr).toContain('--before-freeze: the shop will not close');
  expect(failing.exit.stderr).toContain('the command of --before-freeze ended with exit status 3');
  expect(await readOnlyDefault(migration)).toBeNull();

  const slow = await cutover(
    migration,
    '--before-freeze',
    'sleep 60',
    '--hook-timeout',
    '1',
    '--on-undo',
    'echo opened',
  );
  expect(slow.exit.code).toBe(12);
  expect(slow.exit.stderr).toContain('did not end within 1 s');
  expect(slow.exit.stderr).toContain('--on-undo: opened');

  const after = await cutover(
    migration,
    '--before-freeze',
    'echo closed at $WALFERRY_CUTOVER_STATE',
    '--after',
    'echo switched at $WALFERRY_CUTOVER_STATE; exit 4',
  );
  expect(after.exit.code).toBe(12);
  expect(after.exit.stderr).toContain('--before-freeze: closed at running');
  expect(after.exit.stderr).toContain('--after: switched at open');
  expect((await following.exit).code).toBe(0);
  // Not undone: the application may be there already. It can be gone on with.
  expect(await readOnlyDefault(migration)).toBe('default_transaction_read_only=on');
  const resumed = await runToEnd(migration, ['cutover', ...anyLag, '--resume', '--after', 'echo switched']);
  expect(resumed.code, resumed.stderr).toBe(0);
  expect(resumed.stderr).toContain('--after: switched');
});
