/**
 * Lag at a steady load: from the moment that the source's application has its COMMIT until the target shows the row.
 * Small transactions at a fixed rate from one connection; a loop inside of the target looks for the next row about every
 * third of a millisecond and notes when it saw it. Both servers, and so all clocks, are on one machine.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { inPlace, nativeSubscription, untilSome, walferryFollow, type Way } from './follow.js';
import { lookedAt, looker } from './looker.js';
import type { Case, Sample } from './measure.js';
import { startWalferry, type Place } from './place.js';
import { execute, type BenchServers } from './servers.js';

const perSecond = 200;
/** At scale 1, and those before that do not count. */
const seconds = 20;
const warmUpSeconds = 3;

const tables = `
  create table branches (bid int primary key, bbalance int);
  create table accounts (aid int primary key, bid int, abalance int, filler char(84));
  create table history (hid int primary key, aid int, delta int, mtime timestamptz);
  insert into branches select i, 0 from generate_series(1, 10) i;
  insert into accounts select i, 1 + i % 10, 0, '' from generate_series(1, 100000) i;`;

/** walferry that somebody looks at fifty times a second, in its work directory or over its port. */
const looked = (name: string, address: string): Way => ({
  ...walferryFollow,
  name: `walferry follow, ${name} looked at`,
  run: (place) => {
    const { child, ended } = startWalferry(['follow', '--resume', '--monitor', lookedAt], place);
    const directory = path.join(place.directory, 'walferry');
    const looking = spawn(process.execPath, ['--input-type=module', '--eval', looker, directory, address], {
      stdio: 'ignore',
    });
    const stop = async () => {
      if (looking.exitCode !== null) throw new Error('whoever looks has ended');
      looking.kill();
      child.kill('SIGTERM');
      return await ended;
    };
    return Promise.resolve({ stop });
  },
});

const ways = [walferryFollow, nativeSubscription, looked('its directory', ''), looked('its port', lookedAt)];

/** All ways in turns. */
export function latencyCases(servers: BenchServers, scale: number): readonly Case[] {
  return ways.map((way) => ({
    name: way.name,
    run: () =>
      inPlace(servers, way, tables, { scale, roundTripMs: 0, tls: false }, (near, place) =>
        lagOf(way, near, place, scale),
      ),
  }));
}

async function lagOf(way: Way, near: Place, place: Place, scale: number): Promise<Sample> {
  const warmUp = warmUpSeconds * perSecond;
  const count = warmUp + Math.round(seconds * perSecond * scale);
  const running = await way.run(place);
  // Whoever applies is at work before the clock starts.
  await execute(near.sourceUri, transaction(0));
  await untilSome(near.targetUri, 'select from history');
  const seen = observe(near.targetUri, count);
  const committed = await load(near.sourceUri, count);
  const visible = await seen;
  const cost = await running.stop();
  const lags = committed.slice(warmUp).map((at, nth) => (visible[warmUp + nth] ?? Number.NaN) - at);
  const sorted = lags.toSorted((a, b) => a - b);
  const quantile = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  return { ...cost, ms: quantile(0.5), p50Ms: quantile(0.5), p99Ms: quantile(0.99) };
}

function transaction(id: number): string {
  const account = 1 + ((id * 7919) % 100_000);
  return `begin;
    update accounts set abalance = abalance + 1 where aid = ${account};
    update branches set bbalance = bbalance + 1 where bid = ${1 + (id % 10)};
    insert into history values (${id}, ${account}, 1, clock_timestamp());
    commit`;
}

/** Transactions 1 to `count` at the rate; when each was committed, in milliseconds since 1970. */
async function load(uri: string, count: number): Promise<number[]> {
  const client = new pg.Client({ connectionString: uri, application_name: 'bench' });
  await client.connect();
  try {
    const committed: number[] = [];
    const began = performance.now();
    for (let id = 1; id <= count; id += 1) {
      const wait = began + (id * 1000) / perSecond - performance.now();
      if (wait > 0) await sleep(wait);
      await client.query(transaction(id));
      committed.push(performance.timeOrigin + performance.now());
    }
    return committed;
  } finally {
    await client.end();
  }
}

/** When the target showed each of the rows, in milliseconds since 1970. */
async function observe(uri: string, count: number): Promise<number[]> {
  const rows = await execute(
    uri,
    'create temporary table seen (id int, at timestamptz)',
    `do $$
    declare last int := 0; top int;
    begin
      while last < ${count} loop
        select max(hid) into top from history;
        if top > last then
          insert into seen select id, clock_timestamp() from generate_series(last + 1, top) id;
          last := top;
        else
          perform pg_sleep(0.0003);
        end if;
      end loop;
    end $$`,
    'select (extract(epoch from at) * 1000)::float8 as ms from seen order by id',
  );
  return rows.map(({ ms }) => Number(ms));
}
