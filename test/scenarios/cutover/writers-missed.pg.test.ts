/**
 * Whoever the freeze has missed: a target that opens without their rows has lost them. And a source that is frozen for
 * good, because the way back did not get through.
 */
import { describe, expect, test } from 'vitest';
import { startServer } from '../../support/clusters.js';
import { createDatabase } from '../../support/databases.js';
import { temporaryDirectory } from '../../support/directory.js';
import {
  follow,
  openMigration,
  run,
  runToEnd,
  setupStream,
  type Migration,
} from '../../support/live-migration.js';
import { openSilentProxy, serverOf, through } from '../../support/silent-proxy.js';
import { until } from '../../support/until.js';
import { killAt } from './kills.js';
import { anyLag, cutover, expectFollows, followed, holdUp, shopSchema } from './shop.js';

const insert = 'insert into sale (item, amount) values (1, 4711)';

/** On both sides. */
async function salesOf({ source, target }: Migration): Promise<string[]> {
  const count = `select count(*)::text as count from sale where amount = 4711`;
  const counts = await Promise.all([source.sql(count), target.sql(count)]);
  return counts.map(([row]) => row?.['count'] ?? '');
}

describe.concurrent('one after the other', () => {
  describe.sequential('a transaction that is open when the target is about to open', () => {
    test('is waited for, and found when it commits', async () => {
      await using migration = await openMigration({ schema: shopSchema });
      const { source } = migration;
      await using _following = await followed(migration);
      await using reader = await holdUp(migration, 'item in row exclusive mode');
      await using cutting = run(migration, ['cutover', ...anyLag]);
      await cutting.waitForOutput(/completing the target/);
      // A superuser, whom nobody may stop, and whom the freeze does not bind.
      await using late = await source.session();
      await late.sql('begin read write');
      await late.sql(insert);
      await reader.end();
      await until('it looks who writes', async () => {
        const looks = `select from pg_stat_activity where application_name = 'walferry cutover'
          and datname = current_database() and query like '%pg_prepared_xacts p on %'`;
        return (await source.sql(looks)).length > 0;
      });
      await late.sql('commit');

      const exit = await cutting.exit;
      expect(exit.code, exit.stderr).toBe(12);
      expect(exit.stderr).toMatch(/wrote to the source behind the end position .* in public\.sale/);
      await until('the sale is on both sides', async () => (await salesOf(migration)).join() === '1,1');
    });
  });

  test.sequential('another run that follows into the source: the cutover is refused', async () => {
    await using upstream = await createDatabase('source');
    await using directory = await temporaryDirectory();
    const extra = 'create table extra (id int primary key);';
    await upstream.sql(extra);
    await using migration = await openMigration({ schema: `${shopSchema}${extra}`, role: 'superuser' });
    const chain: Migration = {
      ...migration,
      source: upstream,
      target: migration.source,
      directory: directory.path,
    };
    await setupStream(chain);
    await using feeding = run(chain, follow(chain, '--resume'));
    await using _following = await followed(migration);
    await upstream.sql('insert into extra values (1)');
    await until(
      'a row has come through both',
      async () => (await migration.target.sql('select from extra')).length > 0,
    );

    const refused = await runToEnd(migration, ['cutover', ...anyLag]);
    expect(refused.code).toBe(12);
    expect(refused.stderr).toMatch(
      /another run of walferry follows into the source \(process \d+ of the server\)/,
    );

    feeding.kill('SIGTERM');
    await feeding.exit;
    const { exit } = await cutover(migration);
    expect(exit.code, exit.stderr).toBe(0);
  });

  describe.sequential('killed when the target was about to be completed', () => {
    test('and gone on with, the source is frozen again, which somebody had let write', async () => {
      await using migration = await openMigration({ schema: shopSchema });
      const { source } = migration;
      await using following = await followed(migration);
      await killAt(migration, 'cutover.finalizing');
      await source.sql(
        `begin read write; alter database ${source.name} reset default_transaction_read_only; commit`,
      );

      const { exit, report } = await cutover(migration, '--resume');
      expect(exit.code, exit.stderr).toBe(0);
      expect(report.source_frozen).toBe(true);
      await expect(source.sqlAsOwner(insert)).rejects.toThrow(/read-only/);
      expect((await following.exit).code).toBe(0);
    });

    test('what was written meanwhile undoes it', async () => {
      await using migration = await openMigration({ schema: shopSchema });
      const { source } = migration;
      await using _following = await followed(migration);
      await killAt(migration, 'cutover.finalizing');
      await source.sql(
        `begin read write; alter database ${source.name} reset default_transaction_read_only; commit`,
      );
      await source.sqlAsOwner(insert);

      const { exit } = await cutover(migration, '--resume');
      expect(exit.code, exit.stderr).toBe(12);
      expect(exit.stderr).toContain('wrote to the source behind the end position');
      await until('the sale is on both sides', async () => (await salesOf(migration)).join() === '1,1');
    });
  });

  test.sequential('an undo needs no connection that is not there: a crowd may have taken them all', async () => {
    await using migration = await openMigration({ schema: shopSchema });
    const { source } = migration;
    await using _following = await followed(migration);
    await using _reader = await holdUp(migration, 'item in row exclusive mode');
    await using cutting = run(migration, ['cutover', ...anyLag]);
    await cutting.waitForOutput(/completing the target/);
    await source.sql(`begin read write; alter database ${source.name} connection limit 0; commit`);
    cutting.kill('SIGINT');
    const exit = await cutting.exit;
    await source.sql(`begin read write; alter database ${source.name} connection limit -1; commit`);
    expect(exit.code).toBe(22);
    expect(exit.stderr).toContain('The cutover was undone: the source takes writes as before');
    await source.sqlAsOwner(insert);
  });

  describe.sequential('an end position that is set by hand', () => {
    test('is refused while a cutover is at work', async () => {
      await using migration = await openMigration({ schema: shopSchema });
      await using following = await followed(migration);
      await using reader = await holdUp(migration, 'item in row exclusive mode');
      await using cutting = run(migration, ['cutover', ...anyLag]);
      await cutting.waitForOutput(/completing the target/);
      for (const lsn of ['0/0', 'FFFF/0']) {
        const set = await runToEnd(migration, ['stream', 'sentinel', 'set', 'endpos', lsn]);
        expect(set.code).toBe(12);
        expect(set.stderr).toContain('a cutover is at work, and the end position is its own');
      }
      await reader.end();
      const exit = await cutting.exit;
      expect(exit.code, exit.stderr).toBe(0);
      expect((await following.exit).code).toBe(0);
    });

    test('and taken back while the target is completed: the stream goes on, also after an earlier cutover', async () => {
      await using migration = await openMigration({ schema: shopSchema });
      const { target } = migration;
      await using following = await followed(migration);
      await target.sql(`update item set name = 'tampered with' where id = 42`);
      expect((await cutover(migration)).exit.code).toBe(21);
      await target.sql(`update item set name = 'item 42' where id = 42`);
      await using reader = await holdUp(migration, 'item in row exclusive mode');
      const set = async (...what: string[]) => {
        const exit = await runToEnd(migration, ['stream', 'sentinel', 'set', 'endpos', ...what]);
        expect(exit.code, exit.stderr).toBe(0);
      };
      await set('--current');
      await following.waitForOutput(/adding foreign keys/);
      await set('0/0');
      await following.waitForOutput(/was taken back: the stream goes on/);
      await reader.end();
      await expectFollows(migration);
      const { exit } = await cutover(migration);
      expect(exit.code, exit.stderr).toBe(0);
      expect((await following.exit).code).toBe(0);
    });
  });
});

// These wait until the pause is over, and do next to nothing: beside the others.
describe.concurrent('a transaction that is open when the target is about to open', () => {
  test('is named when it does not end, also where it is prepared', async () => {
    // On a server of its own: whoever makes a slot on the same one waits for the transaction.
    await using sourceServer = await startServer('source');
    await using migration = await openMigration({ schema: shopSchema, sourceServer });
    const { source } = migration;
    await using _following = await followed(migration);
    await using reader = await holdUp(migration, 'item in row exclusive mode');
    await using cutting = run(migration, ['cutover', ...anyLag, '--freeze', 'none', '--max-pause', '20']);
    await cutting.waitForOutput(/completing the target/);
    await source.sql(`begin; ${insert}; prepare transaction 'late_${source.name}'`);
    await reader.end();

    const exit = await cutting.exit;
    expect(exit.code, exit.stderr).toBe(12);
    expect(exit.stderr).toMatch(
      /is over, while this is not committed yet: the prepared transaction late_\w+ \(of \w+\) in public\.sale/,
    );
    await source.sql(`commit prepared 'late_${source.name}'`);
    await until('the sale is on both sides', async () => (await salesOf(migration)).join() === '1,1');
  });
});

describe.concurrent('a connection to the source that dies without a word in the pause', () => {
  test.each([
    ['while the cutover is stopped', 'stop'],
    ['and is asked afterwards: --max-pause is kept', 'ask'],
  ] as const)('%s', async (_claim, then) => {
    await using migration = await openMigration({ schema: shopSchema });
    const { source } = migration;
    await using _following = await followed(migration);
    await using reader = await holdUp(migration, 'item in row exclusive mode');
    await using proxy = await openSilentProxy(serverOf(source.neonUri));
    const over = ['--source', through(source.neonUri, proxy), '--max-pause', '15'];
    await using cutting = run(migration, ['cutover', ...anyLag, ...over]);
    await cutting.waitForOutput(/completing the target/);
    proxy.silence();
    proxy.speak();
    if (then === 'stop') cutting.kill('SIGINT');
    else await reader.end();
    const exit = await cutting.exit;
    expect(exit.code, exit.stderr).toBe(then === 'stop' ? 22 : 12);
    expect(exit.stderr).toContain('The cutover was undone: the source takes writes as before');
    if (then === 'stop') await reader.end();
    await expectFollows(migration);
  });
});
