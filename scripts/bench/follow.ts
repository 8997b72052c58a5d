/**
 * Draining a known backlog: walferry follow against a native subscription on the same servers. Time is from its start
 * until the target has everything; for walferry that includes the start of the program and its end. *Draining* is from
 * the moment the slot is read until the target shows the last row, watched alike for both. Client CPU and peak memory
 * are walferry's own process.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Case, Sample } from './measure.js';
import { runWalferry, startWalferry, withPlace, type Conditions, type Place } from './place.js';
import { serverCpuMs } from './server-cost.js';
import { execute, expectEqual, type BenchServers } from './servers.js';

/** What the source did while nobody listened. */
type Workload = {
  /** At scale 1. */
  readonly what: string;
  readonly tables: string;
  readonly backlog: (scale: number) => string;
};

const marker = 'create table marker (id int primary key);';

const smallTransactions = (unit: number): Workload => ({
  what: `${unit} transactions of 4 changes each, hot rows among them`,
  tables: `
    create table branches (bid int primary key, bbalance int);
    create table tellers (tid int primary key, bid int, tbalance int);
    create table accounts (aid int primary key, bid int, abalance int, filler char(84));
    create table history (hid bigint primary key, tid int, aid int, delta int, mtime timestamptz);
    insert into branches select i, 0 from generate_series(1, 10) i;
    insert into tellers select i, 1 + i % 10, 0 from generate_series(1, 100) i;
    insert into accounts select i, 1 + i % 10, 0, '' from generate_series(1, 100000) i;`,
  // One statement that commits after each of them: the source writes the backlog as fast as it can.
  backlog: (scale) => `
    do $$
    begin
      for i in 1 .. ${Math.round(unit * scale)} loop
        update accounts set abalance = abalance + i % 100 where aid = 1 + (i::bigint * 7919) % 100000;
        update tellers set tbalance = tbalance + i % 100 where tid = 1 + i % 100;
        update branches set bbalance = bbalance + i % 100 where bid = 1 + i % 10;
        insert into history values (i, 1 + i % 100, 1 + (i::bigint * 7919) % 100000, i % 100, clock_timestamp());
        commit;
      end loop;
    end $$`,
});

/** 5 inserts, 2 updates and 1 delete for each `unit`, in transactions of some hundred changes. */
const bulk = (unit: number): Workload => ({
  what: `${5 * unit} inserts, ${2 * unit} updates, ${unit} deletes in transactions of hundreds`,
  tables: `create table item (id bigint primary key, name text, price numeric(12, 2), made timestamptz, note text);`,
  backlog: (scale) => `
    do $$
    begin
      for i in 0 .. ${Math.round((unit * scale) / 100) - 1} loop
        insert into item select n, 'item ' || n, n / 7.0, clock_timestamp(), repeat('x', 40)
          from generate_series(i * 500, i * 500 + 499) n;
        commit;
      end loop;
      for i in 0 .. ${Math.round((unit * scale) / 100) - 1} loop
        update item set price = price + 1, note = 'updated' where id % 5 < 2 and id between i * 500 and i * 500 + 499;
        commit;
        delete from item where id % 5 = 4 and id between i * 500 and i * 500 + 499;
        commit;
      end loop;
    end $$`,
});

const oneTransaction = (rows: number): Workload => ({
  what: `one transaction of ${rows} inserts`,
  tables: `create table item (id bigint primary key, name text, price numeric(12, 2), made timestamptz, note text);`,
  backlog: (scale) => `insert into item select n, 'item ' || n, n / 7.0, clock_timestamp(), repeat('x', 40)
    from generate_series(1, ${Math.round(rows * scale)}) n`,
});

export const workloads = {
  follow: smallTransactions(50_000),
  'follow-bulk': bulk(50_000),
  'follow-large': oneTransaction(1_000_000),
  'follow-tls': smallTransactions(50_000),
  'follow-far': smallTransactions(20_000),
} as const;

/** What differs between the cases. `far` is the server that is reached over the proxy, with its delay. */
export type Way = {
  readonly name: string;
  readonly far: 'source' | 'target';
  /** Makes what keeps the changes from here on. */
  readonly prepare: (place: Place) => Promise<void>;
  /** Applies the backlog; returns when the target has all of it. */
  readonly drain: (place: Place) => Promise<Sample>;
  /** Applies what comes, until it is stopped; then tells what it cost. */
  readonly run: (place: Place) => Promise<{ readonly stop: () => Promise<Partial<Sample>> }>;
  readonly cleanUp: (place: Place) => Promise<void>;
};

/** Both ways over one workload. */
export function followCases(servers: BenchServers, workload: Workload, scale: number): readonly Case[] {
  return [walferryFollow, nativeSubscription].map((way) => ({
    name: way.name,
    run: () => drainBacklog(servers, way, workload, { scale, roundTripMs: 0, tls: false }),
  }));
}

/** Both ways over TLS. */
export function tlsCases(servers: BenchServers, workload: Workload, scale: number): readonly Case[] {
  return [walferryFollow, nativeSubscription].map((way) => ({
    name: `${way.name}, TLS`,
    run: () => drainBacklog(servers, way, workload, { scale, roundTripMs: 0, tls: true }),
  }));
}

/** The same at several round trips: walferry to its target, the subscription to its source. */
export function farCases(servers: BenchServers, workload: Workload, scale: number): readonly Case[] {
  return [0, 10, 40].flatMap((roundTripMs) =>
    [walferryFollow, nativeSubscription].map((way) => ({
      name: `${way.name}, ${roundTripMs} ms`,
      run: () => drainBacklog(servers, way, workload, { scale, roundTripMs, tls: false }),
    })),
  );
}

function drainBacklog(
  servers: BenchServers,
  way: Way,
  { tables, backlog }: Workload,
  conditions: Conditions,
): Promise<Sample> {
  return inPlace(servers, way, `${tables} ${marker}`, conditions, async (near, place) => {
    // A backlog of many commits, made without waiting for the disk at each of them.
    await execute(
      near.sourceUri,
      'set synchronous_commit = off',
      backlog(conditions.scale),
      'set synchronous_commit = on',
      'insert into marker values (1)',
    );
    const { source, target } = servers;
    const before = await Promise.all([serverCpuMs(source), serverCpuMs(target)]);
    const drained = watchDrain(near);
    const sample = { ...(await way.drain(place)), drainMs: await drained };
    const after = await Promise.all([serverCpuMs(source), serverCpuMs(target)]);
    return { ...sample, sourceCpuMs: after[0] - before[0], targetCpuMs: after[1] - before[1] };
  });
}

/**
 * Two new databases with these tables, and what keeps the source's changes; then the work, between the servers as they
 * are near and as the way sees them; then everything verified and taken away.
 */
export function inPlace(
  servers: BenchServers,
  way: Way,
  tables: string,
  conditions: Conditions,
  work: (near: Place, place: Place) => Promise<Sample>,
): Promise<Sample> {
  return withPlace(servers, 'follow', { ...conditions, far: way.far }, async (near, place) => {
    await Promise.all([
      execute(near.sourceUri, tables, 'vacuum analyze', 'checkpoint'),
      execute(near.targetUri, tables, 'vacuum analyze', 'checkpoint'),
    ]);
    await way.prepare(place);
    const sample = await work(near, place);
    await expectEqual(near);
    await way.cleanUp(place);
    return sample;
  });
}

/** Milliseconds from the moment that somebody reads the slot until the target has the last row. */
async function watchDrain({ sourceUri, targetUri }: Pick<Place, 'sourceUri' | 'targetUri'>): Promise<number> {
  await untilSome(
    sourceUri,
    'select from pg_replication_slots where active and database = current_database()',
  );
  const began = performance.now();
  await untilSome(targetUri, 'select from marker');
  return performance.now() - began;
}

export async function untilSome(uri: string, query: string): Promise<void> {
  const client = new pg.Client({ connectionString: uri, application_name: 'bench' });
  await client.connect();
  try {
    while ((await client.query(query)).rowCount === 0) await sleep(10);
  } finally {
    await client.end();
  }
}

export const walferryFollow: Way = {
  name: 'walferry follow',
  far: 'target',
  prepare: async (place) => {
    await runWalferry(['stream', 'setup'], place);
    await runWalferry(['stream', 'sentinel', 'set', 'apply'], place);
  },
  drain: async (place) => {
    await runWalferry(['stream', 'sentinel', 'set', 'endpos', '--current'], place);
    const began = performance.now();
    const cost = await startWalferry(['follow', '--resume'], place).ended;
    return { ms: performance.now() - began, ...cost };
  },
  run: (place) => {
    const { child, ended } = startWalferry(['follow', '--resume'], place);
    const stop = async () => {
      child.kill('SIGTERM');
      return await ended;
    };
    return Promise.resolve({ stop });
  },
  cleanUp: async (place) => {
    await runWalferry(['stream', 'cleanup'], place);
  },
};

export const nativeSubscription: Way = {
  name: 'native subscription',
  far: 'source',
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
    const began = performance.now();
    await execute(targetUri, 'alter subscription bench enable');
    await untilSome(targetUri, 'select from marker');
    return { ms: performance.now() - began };
  },
  run: async ({ targetUri }) => {
    await execute(targetUri, 'alter subscription bench enable');
    return { stop: () => Promise.resolve({}) };
  },
  cleanUp: async ({ targetUri }) => {
    await execute(targetUri, 'drop subscription bench');
  },
};
