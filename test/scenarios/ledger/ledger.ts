/**
 * The ledger under load, while everything that can die dies at random: walferry (kill -9), the target, the source, single
 * connections. Among the load are huge transactions that the source streams, with parts rolled back. Nobody looks after
 * the run but a person who types the same line with --resume when it is gone. At the end both sides must be equal.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { startServer } from '../../support/clusters.js';
import type { TestDatabase } from '../../support/databases.js';
import { expectEqual, expectLedger } from '../../support/equal.js';
import { cloneFollow, openMigration, run, setEndpos, slotOf } from '../../support/live-migration.js';
import { ledgerSchema, startLoad, type Load } from '../../support/load.js';
import { seededRandom, testSeed } from '../../support/random.js';
import { until } from '../../support/until.js';
import type { WalferryProcess } from '../../support/walferry.js';
import { streamEarly, streamingOf } from '../streamed/weave.js';

export type Troubles = {
  readonly kills: number;
  readonly targetCrashes: number;
  readonly sourceCrashes: number;
  readonly terminations: number;
  readonly clients: number;
  /** Between one trouble and the next, at most. */
  readonly calmMs: number;
};

type Trouble = 'kill' | 'target crash' | 'source crash' | 'termination';

/** Exit codes of a run that met a dead server: all of them can be resumed. */
const resumable: readonly number[] = [1, 5, 6, 7, 12, 22];

/** What is told of a run that went well. */
export type Survived = {
  readonly troubles: string;
  readonly transactions: number;
  readonly streamed: number;
  readonly restarts: number;
};

export async function surviveTroubles(options: Troubles): Promise<Survived> {
  const random = seededRandom(testSeed('troubles at random'));
  await using sourceServer = await startServer('source');
  await using targetServer = await startServer('target');
  await using migration = await openMigration({ schema: ledgerSchema, sourceServer, targetServer });
  const { source, target } = migration;
  await streamEarly(source);
  const troubles = shuffled(
    [
      ...Array<Trouble>(options.kills).fill('kill'),
      ...Array<Trouble>(options.targetCrashes).fill('target crash'),
      ...Array<Trouble>(options.sourceCrashes).fill('source crash'),
      ...Array<Trouble>(options.terminations).fill('termination'),
    ],
    random,
  );

  // Given a run that has begun to apply, under load,
  let load = await startLoads(source, options.clients);
  let transactions = 0;
  let process: WalferryProcess = run(migration, cloneFollow(migration, '--no-owner'));
  let ended = watch(process);
  let restarts = 0;
  await process.waitForOutput(/applying changes from/, { timeoutMs: 200_000 });
  const again = async () => {
    if (ended.code === undefined) return;
    expect([...resumable, null], process.stderr).toContain(ended.code);
    process = run(migration, cloneFollow(migration, '--no-owner', '--resume'));
    ended = watch(process);
    restarts += 1;
    // Most troubles are to meet a run at work, and some its start.
    if (random() < 0.7)
      await process.waitForOutput(/applying changes from/, { timeoutMs: 120_000 }).catch(() => {});
  };
  try {
    // when one thing after the other dies,
    for (const trouble of troubles) {
      await again();
      await sleep(random() * options.calmMs);
      switch (trouble) {
        case 'kill':
          process.kill();
          await process.exit;
          break;
        case 'target crash':
          await targetServer.cluster.restart(random() < 0.5 ? 'immediate' : 'kill');
          break;
        case 'source crash':
          await sourceServer.cluster.restart(random() < 0.5 ? 'immediate' : 'kill');
          transactions += await load.stop();
          load = await startLoads(source, options.clients);
          break;
        case 'termination':
          await endSession(random() < 0.5 ? source : target, random);
          break;
      }
    }
    // and the writers stop, and the end position is set,
    await again();
    transactions += await load.stop();
    await until(
      'the end position is set',
      async () =>
        await setEndpos(migration).then(
          () => true,
          () => false,
        ),
      { timeoutMs: 120_000 },
    );
    while ((await process.exit).code !== 0) await again();
  } finally {
    await load.stop();
    process.kill();
    await process.exit;
  }

  // then nothing is lost and nothing is doubled.
  await expectEqual(source, target);
  await expectLedger(target);
  const { streamed } = await streamingOf(source, slotOf(migration));
  return { troubles: troubles.join(', '), transactions, streamed, restarts };
}

/** Writers of small transactions, and one of huge ones; those that lose their server end, and are told by nobody. */
async function startLoads(source: TestDatabase, clients: number): Promise<Load> {
  const small = await startLoad(source, clients, 2);
  let running = true;
  const huge = (async () => {
    let done = 0;
    try {
      await using session = await source.session();
      for (; running; done += 1) await writeHuge(session);
    } catch {
      // The server is gone; what had committed has committed.
    }
    return done;
  })();
  return {
    stop: async () => {
      running = false;
      return (await small.stop().catch(() => 0)) + (await huge);
    },
  };
}

async function writeHuge(session: { sql(text: string): Promise<unknown> }): Promise<void> {
  const events = (kind: string) =>
    `insert into event (kind, detail) select '${kind}', jsonb_build_object('i', i, 'filler', repeat('x', 60)) from generate_series(1, 700) i`;
  await session.sql(`begin; ${events('huge')}`);
  await session.sql(`savepoint part; ${events('never')}`);
  await session.sql(
    `update event set kind = 'never' where ctid in (select ctid from event where kind = 'huge' limit 100)`,
  );
  await session.sql(`rollback to part; ${events('huge')}`);
  await sleep(50);
  await session.sql(Math.random() < 0.25 ? 'rollback' : 'commit');
}

type Ended = { code?: number | null };

function watch(process: WalferryProcess): Ended {
  const ended: Ended = {};
  void process.exit.then(({ code }) => (ended.code = code));
  return ended;
}

/** Ends one of walferry's sessions, whichever. */
async function endSession(database: TestDatabase, random: () => number): Promise<void> {
  const sessions = await database.sql(
    `select pid from pg_stat_activity where datname = current_database() and application_name like 'walferry%' order by pid`,
  );
  const pid = sessions[Math.floor(random() * sessions.length)]?.['pid'];
  if (pid !== undefined) await database.sql(`select pg_terminate_backend(${pid})`);
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const rest = [...items];
  const order: T[] = [];
  while (rest.length > 0) order.push(...rest.splice(Math.floor(random() * rest.length), 1));
  return order;
}
