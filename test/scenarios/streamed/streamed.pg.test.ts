/**
 * Transactions that the source streams while they run. The source says that it does, and what is applied is what it
 * committed: whole, once, in the order of commits, wherever the run is killed, cut off or ended.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Failpoint } from '../../../src/failpoint.js';
import { formatLsn, type Lsn } from '../../../src/model/lsn.js';
import { insertPosition, watchCommits } from '../../support/commits.js';
import { expectEqual } from '../../support/equal.js';
import {
  appliedPosition,
  cloneFollow,
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
import { walferry } from '../../support/walferry.js';
import { streamEarly, streamingOf, weave, wovenSchema } from './weave.js';

async function transformFiles({ directory }: Migration): Promise<string[]> {
  const cdc = join(directory, 'cdc');
  return (await readdir(cdc)).filter((name) => name.endsWith('.json')).map((name) => join(cdc, name));
}

async function transformLines(migration: Migration): Promise<string> {
  let lines = '';
  for (const file of await transformFiles(migration)) lines += await readFile(file, 'utf8');
  return lines;
}

test('huge transactions that interleave, with parts and wholes rolled back, end with both sides equal', async () => {
  await using migration = await openMigration({ role: 'superuser', schema: wovenSchema });
  const { source, target } = migration;
  await streamEarly(source);
  await using migrating = run(migration, cloneFollow(migration));
  await migrating.waitForOutput(/receiving changes from/);

  // While tables are copied, and after it.
  await weave(source, 1, { truncate: false });
  await migrating.waitForOutput(/applying changes from/, { timeoutMs: 200_000 });
  await weave(source, 2);
  await setEndpos(migration);
  const exit = await migrating.exit;

  expect(exit.code, exit.stderr).toBe(0);
  await expectEqual(source, target);
  const { streamed, spilled } = await streamingOf(source, slotOf(migration));
  expect([streamed >= 8, spilled]).toEqual([true, 0]);
  const lines = await transformLines(migration);
  expect(lines).toMatch(/^\{"action":"B","xid":"\d+","streamed":true/m);
  expect(lines).toMatch(/^\{"action":"R","xid":"\d+","sub":"\d+"/m);
  expect(lines).toMatch(/^\{"action":"R","xid":"\d+","lsn"/m);
});

test('printed as SQL, they are whole, and leave the same rows', async () => {
  await using migration = await openMigration({ role: 'superuser', schema: wovenSchema });
  const { source, target } = migration;
  await streamEarly(source);
  await setupStream(migration);
  await weave(source, 1);
  await setEndpos(migration);
  await succeed(migration, ['stream', 'prefetch', ...streamOptions(migration)]);

  let printed = '';
  for (const file of await transformFiles(migration))
    printed += (await walferry(['stream', 'transform', file]).exit).stdout;
  const all = await walferry(['stream', 'apply', '--dir', migration.directory, '--target', '-']).exit;
  expect(all.stdout).toBe(printed);
  await target.sql(wovenSchema);
  await target.sql(printed);
  // Rows of `twin` are no more than their values, of which a printed line means each.
  for (const table of ['entry', 'small', 'cleared']) {
    const rows = `select count(*), md5(string_agg(t::text, ';' order by id)) from ${table} t`;
    expect(await target.sql(rows), table).toEqual(await source.sql(rows));
  }
});

describe('killed', () => {
  const deaths: readonly [Failpoint, number][] = [
    ['receive.batch-received', 8],
    ['journal.written', 8],
    ['journal.durable', 3],
    ['apply.group-sent', 2],
    ['apply.committed', 2],
  ];
  test(
    'in the middle of streamed transactions, at one failpoint after the other, it loses nothing and doubles nothing',
    { timeout: 300_000, retry: 0 },
    async () => {
      await using migration = await openMigration({ schema: wovenSchema, onBoth: true });
      const { source, target } = migration;
      await streamEarly(source);
      await setupStream(migration);
      let round = 0;
      for (const [failpoint, pass] of deaths) {
        await using dying = run(migration, follow(migration, '--resume'), {
          WALFERRY_FAILPOINT: `${failpoint}:${pass}`,
        });
        let dead = false;
        const death = dying.exit.finally(() => (dead = true));
        // What the one before it has left may be applied, and be its death, before it receives.
        await Promise.any([dying.waitForOutput(/receiving changes from/), death]);
        for (let times = 0; !dead && times < 40; times += 1) await weave(source, (round += 1));
        expect(dead, failpoint).toBe(true);
        expect((await death).signal, `${failpoint}: ${dying.stderr}`).toBe('SIGKILL');
      }
      await setEndpos(migration);
      await succeed(migration, follow(migration, '--resume'));
      await expectEqual(source, target);
    },
  );
});

test('cut off in the middle of streamed transactions, they arrive again and are applied once', async () => {
  await using migration = await openMigration({ schema: wovenSchema, onBoth: true });
  const { source, target } = migration;
  await streamEarly(source);
  await setupStream(migration);
  await using following = run(migration, follow(migration, '--resume'));
  await following.waitForOutput(/receiving changes from/);
  let cuts = 0;
  const between = async () => {
    // Some of what is open has arrived,
    await until('a streamed transaction arrives', async () =>
      /"streamed":true/.test(await transformLines(migration)),
    );
    // when the source ends the connection.
    await source.sql(
      `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${slotOf(migration)}'`,
    );
    cuts += 1;
    const connects = () => following.stderr.match(/receiving changes from/g)?.length ?? 0;
    await until('it is connected again', () => connects() > cuts);
  };
  await weave(source, 1, { between });
  await setEndpos(migration);
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(0);
  expect(cuts).toBe(2);
  await expectEqual(source, target);
});

test(
  'an end position before, inside, at the end of and after a streamed transaction: what ends by then, and none other',
  { timeout: 300_000 },
  async () => {
    await using migration = await openMigration({ schema: wovenSchema, onBoth: true });
    const { source, target } = migration;
    await streamEarly(source);
    const commits = await watchCommits(source);
    await setupStream(migration);
    const rows = (who: string, from: number) =>
      `insert into entry select i, '${who}', repeat('x', 100) from generate_series(${from}, ${from + 1999}) i`;

    // Given one that begins first and commits last, with another and small ones in between.
    await using long = await source.session();
    await using short = await source.session();
    await long.sql(`begin; ${rows('long', 1)}`);
    await source.sql(`insert into small values (1, 'first')`);
    const insideBoth = await insertPosition(source);
    await short.sql(`begin; ${rows('short', 10_000)}`);
    await short.sql(`savepoint s; ${rows('gone', 20_000)}; rollback to s`);
    await long.sql(rows('long', 30_000));
    await source.sql(`insert into small values (2, 'second')`);
    await short.sql('commit');
    await long.sql(`${rows('long', 40_000)}; commit`);
    const ends = (await commits()).map(({ endLsn, commitLsn }) => ({ endLsn, commitLsn }));
    expect(ends).toHaveLength(4);
    const lsn = (value: bigint) => formatLsn(value as Lsn);
    const [, second, shortEnd, longEnd] = ends;

    const applied = async () => {
      const [row] = await target.sql(
        `select (select count(*) from small) || ' ' || count(*) filter (where who = 'short') || ' ' ||
         count(*) filter (where who = 'long') || ' ' || count(*) filter (where who = 'gone') as list from entry`,
      );
      return row?.['list'];
    };
    const cases: readonly (readonly [where: string, endpos: string, rows: string])[] = [
      ['inside both, before any of their commits', insideBoth, '1 0 0 0'],
      ['at the end of a small one, with both open', lsn(second?.endLsn ?? 0n), '2 0 0 0'],
      ['at the start of the commit record of the first to commit', lsn(shortEnd?.commitLsn ?? 0n), '2 0 0 0'],
      ['inside of its commit record', lsn((shortEnd?.endLsn ?? 0n) - 1n), '2 0 0 0'],
      ['at its end', lsn(shortEnd?.endLsn ?? 0n), '2 2000 0 0'],
      ['behind it, inside of the other', lsn((shortEnd?.endLsn ?? 0n) + 100n), '2 2000 0 0'],
      ['at the end of the other', lsn(longEnd?.endLsn ?? 0n), '2 2000 6000 0'],
    ];
    for (const [index, [where, endpos, expected]] of cases.entries()) {
      // Received and applied side by side, and one after the other.
      if (index % 2 === 0) await succeed(migration, follow(migration, '--resume', '--endpos', endpos));
      else {
        await setEndpos(migration, endpos);
        await succeed(migration, ['stream', 'prefetch', '--resume', ...streamOptions(migration)]);
        await succeed(migration, ['stream', 'catchup', '--resume', ...streamOptions(migration)]);
      }
      expect(await applied(), where).toBe(expected);
      expect(await appliedPosition(migration), where).not.toBeNull();
    }
    await expectEqual(source, target);
    expect((await streamingOf(source, slotOf(migration))).streamed).toBeGreaterThanOrEqual(2);
  },
);

test('a crash of the walferry that holds half of one, and of nobody else: catchup alone applies none of it', async () => {
  await using migration = await openMigration({ schema: wovenSchema, onBoth: true });
  const { source, target } = migration;
  await streamEarly(source);
  await setupStream(migration);
  await using open = await source.session();
  await using receiving = run(migration, ['stream', 'prefetch', '--resume', ...streamOptions(migration)]);
  await receiving.waitForOutput(/receiving changes from/);
  await open.sql(
    `begin; insert into entry select i, 'open', repeat('x', 100) from generate_series(1, 3000) i`,
  );
  await source.sql(`insert into small values (1, 'whole')`);
  await until('both have arrived', async () => {
    const lines = await transformLines(migration);
    return /"streamed":true/.test(lines) && /"whole"/.test(lines);
  });
  receiving.kill();
  await receiving.exit;

  const caughtUp = await runToEnd(migration, ['stream', 'catchup', '--resume', ...streamOptions(migration)]);
  expect(caughtUp.code, caughtUp.stderr).toBe(0);
  expect(await target.sql('select id from small')).toEqual([{ id: '1' }]);
  expect(await target.sql('select count(*) as n from entry')).toEqual([{ n: '0' }]);

  await open.sql('commit');
  await setEndpos(migration);
  await succeed(migration, follow(migration, '--resume'));
  await expectEqual(source, target);
});
