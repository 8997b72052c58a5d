/** The steps of a migration, one command each, as the peer's manual has them. */
import { expect, test } from 'vitest';
import { watchCommits } from '../../support/commits.js';
import { expectEqual } from '../../support/equal.js';
import {
  follow,
  openMigration,
  run,
  setEndpos,
  setupStream,
  streamOptions,
  succeed,
} from '../../support/live-migration.js';
import { formatLsn, type Lsn } from '../../../src/model/lsn.js';
import { until } from '../../support/until.js';

const schema = `create table item (id int primary key, body text);
  insert into item select i, 'item ' || i from generate_series(1, 100) i`;

test(
  'snapshot, setup, clone, prefetch, catchup: without --resume, and each run again has nothing to do',
  { timeout: 300_000 },
  async () => {
    await using migration = await openMigration({ schema });
    const { source, target } = migration;
    const options = streamOptions(migration);
    await using holding = run(migration, ['snapshot', '--follow', ...options]);
    await until('the snapshot is held', () => holding.stdout.length > 0);
    await succeed(migration, ['stream', 'setup', ...options]);
    await source.sql(`insert into item values (101, 'behind the snapshot')`);
    await succeed(migration, ['clone', '--no-owner']);
    holding.kill('SIGTERM');
    await holding.exit;
    expect(await target.sql('select from item')).toHaveLength(100);

    await setEndpos(migration);
    await succeed(migration, ['stream', 'prefetch', ...options]);
    await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);
    await succeed(migration, ['stream', 'catchup']);
    await expectEqual(source, target);
    for (const again of [
      ['stream', 'setup', ...options],
      ['stream', 'prefetch', ...options],
      ['stream', 'catchup'],
      ['stream', 'replay', ...options],
      ['stream', 'prune'],
    ]) {
      await succeed(migration, again);
      await expectEqual(source, target);
    }
    // The second time there is nothing to drop, and nothing is said to be dropped.
    const [first, second] = [
      await succeed(migration, ['stream', 'cleanup', ...options]),
      await succeed(migration, ['stream', 'cleanup', ...options]),
    ];
    expect(first.stderr.match(/Dropped/g)).toHaveLength(2);
    expect(second.stderr).not.toMatch(/Dropped|Removed/);
    await expectEqual(source, target);
  },
);

test('follow that was killed goes on with --resume and nothing else', { timeout: 300_000 }, async () => {
  await using migration = await openMigration({
    schema: 'create table item (id int primary key)',
    onBoth: true,
  });
  const { source, target } = migration;
  await setupStream(migration);
  for (let time = 0; time < 3; time += 1) {
    await using following = run(migration, follow(migration, '--resume'));
    await following.waitForOutput(/receiving changes from/);
    await source.sql(`insert into item select ${time} * 1000 + i from generate_series(1, 500) i`);
    await until(
      'some of it is there',
      async () => (await target.sql('select from item')).length > time * 500,
    );
    following.kill('SIGKILL');
    await following.exit;
  }
  await setEndpos(migration);
  await succeed(migration, follow(migration, '--resume'));
  await expectEqual(source, target);
});

test(
  'an end position inside of a transaction ends catchup within 5 s, with nothing of it applied',
  { timeout: 300_000 },
  async () => {
    await using migration = await openMigration({
      schema: 'create table item (id int primary key)',
      onBoth: true,
    });
    const { source, target } = migration;
    const commits = await watchCommits(source);
    await setupStream(migration);
    await source.sql('insert into item values (1)');
    await source.sql('insert into item select i from generate_series(2, 1000) i');
    await source.sql('insert into item values (1001)');
    const all = await commits();
    const inside = formatLsn(((all.at(-2)?.commitLsn ?? 0n) - 8n) as Lsn);
    await setEndpos(migration);
    await succeed(migration, ['stream', 'receive', ...streamOptions(migration)]);
    await setEndpos(migration, inside);
    await using catchup = run(migration, ['stream', 'catchup', '--resume']);
    await catchup.waitForOutput(/Running walferry/);
    const began = Date.now();
    const exit = await catchup.exit;
    expect(exit.code, exit.stderr).toBe(0);
    expect(Date.now() - began).toBeLessThan(5000);
    expect(await target.sql('select id from item')).toEqual([{ id: '1' }]);
  },
);
