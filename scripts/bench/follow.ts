/**
 * Draining a known backlog of small transactions (three updates and an insert each, hot rows among them): walferry
 * follow against a native subscription. Time is from its start until the target has everything; for walferry that
 * includes the start of the program and its end.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { time, type Case } from './measure.js';
import {
  createDatabase,
  dropDatabase,
  execute,
  expectEqual,
  runWalferry,
  type BenchServers,
} from './servers.js';

export const followTransactions = 20_000;

const tables = `
  create table branches (bid int primary key, bbalance int);
  create table tellers (tid int primary key, bid int, tbalance int);
  create table accounts (aid int primary key, bid int, abalance int, filler char(84));
  create table history (hid bigint primary key, tid int, aid int, delta int, mtime timestamptz);
  insert into branches select i, 0 from generate_series(1, 10) i;
  insert into tellers select i, 1 + i % 10, 0 from generate_series(1, 100) i;
  insert into accounts select i, 1 + i % 10, 0, '' from generate_series(1, 100000) i;`;

/** One statement that commits after each of them: the source writes the backlog as fast as it can. */
const backlog = `
  do $$
  begin
    for i in 1 .. ${followTransactions} loop
      update accounts set abalance = abalance + i % 100 where aid = 1 + (i * 7919) % 100000;
      update tellers set tbalance = tbalance + i % 100 where tid = 1 + i % 100;
      update branches set bbalance = bbalance + i % 100 where bid = 1 + i % 10;
      insert into history values (i, 1 + i % 100, 1 + (i * 7919) % 100000, i % 100, clock_timestamp());
      commit;
    end loop;
  end $$`;

type Place = { readonly sourceUri: string; readonly targetUri: string; readonly directory: string };

/** What differs between the cases. */
type Way = {
  readonly name: string;
  /** Makes what keeps the changes from here on. */
  readonly prepare: (place: Place) => Promise<void>;
  /** Applies the backlog; returns when the target has all of it. */
  readonly drain: (place: Place) => Promise<void>;
  readonly cleanUp: (place: Place) => Promise<void>;
};

export function followCases(servers: BenchServers): readonly Case[] {
  return [walferryFollow, nativeSubscription].map((way) => ({
    name: way.name,
    run: () => drainBacklog(servers, way),
  }));
}

async function drainBacklog({ source, target }: BenchServers, way: Way): Promise<number> {
  const from = await createDatabase(source, 'follow');
  const into = await createDatabase(target, 'follow');
  const directory = await mkdtemp(path.join(os.tmpdir(), 'walferry-bench-'));
  const place = {
    sourceUri: source.uri({ database: from }),
    targetUri: target.uri({ database: into }),
    directory,
  };
  try {
    await Promise.all([
      execute(place.sourceUri, tables, 'vacuum analyze', 'checkpoint'),
      execute(place.targetUri, tables, 'vacuum analyze', 'checkpoint'),
    ]);
    await way.prepare(place);
    await execute(place.sourceUri, backlog);
    const ms = await time(() => way.drain(place));
    await expectEqual(place.sourceUri, place.targetUri);
    await way.cleanUp(place);
    return ms;
  } finally {
    // After a failure a slot or a subscription may hold it; the servers go in the end.
    await dropDatabase(target, into).catch(() => {});
    await dropDatabase(source, from).catch(() => {});
    await rm(directory, { recursive: true, force: true });
  }
}

const walferryFollow: Way = {
  name: 'walferry follow',
  prepare: async (place) => {
    const to = toOf(place);
    await runWalferry(['stream', 'setup'], to);
    await runWalferry(['stream', 'sentinel', 'set', 'apply'], to);
  },
  drain: async (place) => {
    await runWalferry(['stream', 'sentinel', 'set', 'endpos', '--current'], toOf(place));
    await runWalferry(['follow', '--resume'], toOf(place));
  },
  cleanUp: async (place) => {
    await runWalferry(['stream', 'cleanup'], toOf(place));
  },
};

function toOf({ sourceUri, targetUri, directory }: Place): {
  source: string;
  target: string;
  directory: string;
} {
  return { source: sourceUri, target: targetUri, directory };
}

const nativeSubscription: Way = {
  name: 'native subscription',
  prepare: async ({ sourceUri, targetUri }) => {
    await execute(sourceUri, 'create publication bench for all tables');
    await execute(sourceUri, `select pg_create_logical_replication_slot('bench', 'pgoutput')`);
    const connection = sourceUri.replaceAll("'", "''");
    await execute(
      targetUri,
      `create subscription bench connection '${connection}' publication bench
         with (create_slot = false, slot_name = bench, copy_data = false, enabled = false)`,
    );
  },
  drain: async ({ targetUri }) => {
    const client = new pg.Client({ connectionString: targetUri });
    await client.connect();
    try {
      await client.query('alter subscription bench enable');
      for (;;) {
        const { rowCount } = await client.query('select from history where hid = $1', [followTransactions]);
        if (rowCount === 1) return;
        await sleep(5);
      }
    } finally {
      await client.end();
    }
  },
  cleanUp: async ({ targetUri }) => {
    await execute(targetUri, 'drop subscription bench');
  },
};
