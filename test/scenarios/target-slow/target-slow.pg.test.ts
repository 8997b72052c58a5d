/** A target that is slow, locked or away: the source hears from us all the same, and the disk is not filled. */
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startServer } from '../../support/clusters.js';
import { expectEqual } from '../../support/equal.js';
import {
  follow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  setupStream,
  slotOf,
  streamOptions,
  succeed,
  type Migration,
} from '../../support/live-migration.js';
import { until } from '../../support/until.js';

const schema = 'create table item (id int primary key, body text)';
const megabyte = 1024 * 1024;

/** The walsender that reads the slot, and how long ago it heard of us, in seconds. */
async function reader(migration: Migration): Promise<{ pid: string; silent: number }> {
  const [row] = await migration.source.sql(
    `select r.pid::text, extract(epoch from clock_timestamp() - r.reply_time)::text as silent
       from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid
      where s.slot_name = '${slotOf(migration)}'`,
  );
  expect(row).toBeDefined();
  return { pid: row?.['pid'] ?? '', silent: Number(row?.['silent']) };
}

/** Looks at the walsender again and again, for longer than its patience. */
async function expectHeard(migration: Migration, seconds: number): Promise<void> {
  const { pid } = await reader(migration);
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(500)) {
    const now = await reader(migration);
    expect(now.pid, 'the connection was lost').toBe(pid);
    expect(now.silent).toBeLessThan(3);
  }
}

function journalBytes({ directory }: Migration): number {
  const cdc = path.join(directory, 'cdc');
  return readdirSync(cdc).reduce((sum, file) => sum + statSync(path.join(cdc, file)).size, 0);
}

/** Transactions of a megabyte each. */
async function write({ source }: Migration, from: number, to: number): Promise<void> {
  for (let nth = from; nth < to; nth += 1) {
    await source.sql(
      `insert into item select ${nth} * 1000 + i, repeat(md5(i::text), 32) from generate_series(0, 999) i`,
    );
  }
}

test(
  'the target is locked, then away, and wal_sender_timeout is 5 s: the connection is kept; the brake stops the reading',
  { timeout: 300_000 },
  async () => {
    await using sourceServer = await startServer('source', { settings: { wal_sender_timeout: '5s' } });
    await using targetServer = await startServer('target');
    await using migration = await openMigration({ schema, onBoth: true, sourceServer, targetServer });
    await setupStream(migration);
    const cap = 4 * megabyte;
    await using following = run(migration, follow(migration, '--resume', '--max-journal-size', '4 MB'));
    await following.waitForOutput(/applying changes from/);

    // Locked: nothing is applied, what arrives fills the files up to their cap, and no further.
    await using locker = await migration.target.session();
    await locker.sql('begin; lock table item in access exclusive mode');
    await write(migration, 0, 30);
    await following.waitForOutput(/reading from the slot rests/);
    await expectHeard(migration, 8);
    expect(journalBytes(migration)).toBeLessThan(cap + 4 * megabyte);
    await locker.sql('rollback');
    await following.waitForOutput(/reading from the slot goes on/);
    const rows = async () => Number((await migration.target.sql('select count(*) as n from item'))[0]?.['n']);
    await until('it is applied', async () => (await rows()) === 30_000);

    // A transaction that is several times as large as the cap waits for nobody.
    await migration.source.sql(
      `insert into item select 100000 + i, repeat(md5(i::text), 32) from generate_series(0, 29999) i`,
    );
    await until('the large one is applied', async () => (await rows()) === 60_000, { timeoutMs: 60_000 });

    // Away.
    await targetServer.cluster.stop('kill');
    await write(migration, 200, 205);
    await expectHeard(migration, 8);
    await targetServer.cluster.start();
    await until('it goes on', async () => (await rows()) === 65_000, { timeoutMs: 60_000 });
    await setEndpos(migration);
    const exit = await following.exit;
    expect(exit.code, exit.stderr).toBe(0);
    await expectEqual(migration.source, migration.target);
  },
);

test(
  'received at the cap while another process applies: neither waits for the other for ever',
  { timeout: 300_000 },
  async () => {
    await using migration = await openMigration({ schema, onBoth: true });
    await setupStream(migration);
    const words = ['stream', 'receive', ...streamOptions(migration), '--max-journal-size', '4 MB'];
    await using receiving = run(migration, words);
    await receiving.waitForOutput(/receiving changes from/);
    await write(migration, 0, 8);
    await migration.source.sql(
      `insert into item select 100000 + i, repeat(md5(i::text), 32) from generate_series(0, 29999) i`,
    );
    await setEndpos(migration);
    await receiving.waitForOutput(/reading from the slot rests/);
    let done = false;
    void receiving.exit.then(() => (done = true));
    await until(
      'all is received',
      async () => {
        await succeed(migration, ['stream', 'catchup', '--resume']);
        return done;
      },
      { timeoutMs: 60_000 },
    );
    expect((await receiving.exit).code, receiving.stderr).toBe(0);
    expect(receiving.stderr.match(/reading from the slot goes on/g)?.length).toBeGreaterThan(2);
    await succeed(migration, ['stream', 'catchup', '--resume']);
    await expectEqual(migration.source, migration.target);
  },
);

test('stream prune says what would go, leaves it, and then takes exactly that', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await setupStream(migration);
  await write(migration, 0, 40);
  await setEndpos(migration);
  await succeed(migration, follow(migration, '--resume'));
  const files = () => readdirSync(path.join(migration.directory, 'cdc')).toSorted();
  const before = files();
  expect(before.length).toBeGreaterThan(1);
  const dry = await runToEnd(migration, ['stream', 'prune', '--dry-run', '--notice']);
  expect(dry.stderr).toMatch(/DRY RUN: would remove \d+ CDC file\(s\)/);
  expect(files()).toEqual(before);
  const named = before.filter((file) => dry.stderr.includes(file));
  expect(named.length).toBeGreaterThan(0);
  await succeed(migration, ['stream', 'prune']);
  expect(files()).toEqual(before.filter((file) => !named.includes(file)));
  const again = await succeed(migration, ['stream', 'prune']);
  expect(again.stderr).toMatch(/Removed 0 CDC file\(s\)/);
});
