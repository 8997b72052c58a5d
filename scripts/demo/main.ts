/**
 * The demo: a shop that is written to all the time moves from one server to another, with the commands that a user
 * would type, and both sides are compared at the end. `npm run demo` comes here through start.mjs.
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readLsn } from '../../src/model/lsn.js';
import { findPrograms } from '../clusters/programs.js';
import { type Load, startLoad } from './load.js';
import { type DemoServers, onDatabase, startServers } from './servers.js';
import { fillShop, shopSchema } from './shop.js';
import { bold, bytes, count, quoted, say, seconds, step, typed } from './terminal.js';
import { type Environment, type Exit, Program, walferry } from './walferry.js';

const size = { customers: 15_000, products: 3_000, orders: 50_000 };
const writers = { connections: 4, pauseMs: 8 };

/** How long the stream is watched after the copy, while the shop goes on. */
const watchMs = 10_000;
/** A copy or a stream that takes this long has gone wrong. */
const patienceMs = 90_000;

async function main(signal: AbortSignal): Promise<void> {
  const started = Date.now();
  console.log(bold('walferry: a live migration between two local servers'));

  step('Two servers');
  ensurePrograms();
  await using servers = await startServers();
  const { source, target } = servers;
  const version = await onDatabase(source.plainUri, (client) =>
    text(client, `select split_part(current_setting('server_version'), ' ', 1)`),
  );
  say(`PostgreSQL ${version}: the source on port ${source.cluster.address.port},`);
  say(
    `the target on port ${target.cluster.address.port}. TLS and passwords on both. The role on the target is like`,
  );
  say(`one of Neon's: no superuser, no replication origins, no session_replication_role.`);

  step('A shop on the source, open for business');
  await using workDirectory = await temporaryDirectory();
  const rows = await openShop(source.plainUri);
  say(rows);
  const load = await startLoad({ uri: source.plainUri, ...size, ...writers });
  await using _ = { [Symbol.asyncDispose]: async () => void (await load.stop().catch(() => {})) };
  say(`${writers.connections} connections write all the time: orders, payments, prices, cancellations, …`);

  step('The migration starts');
  const environment = {
    PGCOPYDB_SOURCE_PGURI: source.uri,
    PGCOPYDB_TARGET_PGURI: target.uri,
    XDG_DATA_HOME: workDirectory.path,
  };
  typed(`export PGCOPYDB_SOURCE_PGURI='${source.uri.replace(/:[^:@/]+@/, ':…@')}'`);
  typed(`export PGCOPYDB_TARGET_PGURI='${target.uri.replace(/:[^:@/]+@/, ':…@')}'`);
  typed('walferry clone --follow --no-owner');
  await using migration = new Program(['clone', '--follow', '--no-owner'], environment, {
    signal,
    onLine: (line) => quoted(logLine(line)),
  });

  const observed = await watch(migration, environment, servers, load, signal);
  throwIfAborted(signal);

  step('The switch, while customers order');
  const lag = await behind(servers);
  typed('walferry cutover');
  await using switching = new Program(['cutover'], environment, {
    signal,
    onLine: (line) => quoted(logLine(line)),
  });
  const switched = await within(patienceMs, 'cutover ended', switching.exit);
  expectSuccess('walferry cutover', { ...switched, stderr: '' });
  quoted(switched.stdout);
  const pauseMs = await measuredPause(path.join(workDirectory.path, 'walferry', 'cutover.json'));
  const end = await within(patienceMs, 'clone --follow ended', migration.exit);
  expectSuccess('walferry clone --follow', { ...end, stderr: '' });
  const written = await load.stop();
  say(
    `the shop committed ${count(written.transactions)} transactions on the source, and was refused ${written.refusals} times since;`,
  );
  say('clone --follow ended by itself, with exit status 0. Its summary:');
  quoted(end.stdout);

  step('Are both sides equal? Nobody has written to either since');
  typed('walferry compare data');
  const comparison = await walferry(['compare', 'data'], environment, signal);
  if (comparison.code === 21) quoted(comparison.stdout);
  expectSuccess('walferry compare data', comparison);
  const equalMs = Date.now() - written.lastCommitAt;
  quoted(narrow(comparison.stdout));
  say('(the checksums are shortened here)');

  step('The shop opens again, on the target');
  const applied = await targetFigures(target.plainUri);
  say(await firstOrder(target.plainUri));
  typed('walferry stream cleanup');
  expectSuccess('walferry stream cleanup', await walferry(['stream', 'cleanup'], environment, signal));
  say(await nothingLeft(source.plainUri));

  console.log(`\n${bold('Done: source and target are equal.')}`);
  const figures: [string, string][] = [
    ['rows copied', count(applied.copied)],
    ['changes applied while the shop was open', count(applied.changes)],
    ['furthest behind while watched', `${bytes(observed.furthestBehind)} of WAL`],
    ['behind at the last look before the switch', `${bytes(observed.lastBehind)} of WAL`],
    ['behind when the switch began', `${bytes(lag)} of WAL`],
    ['nobody could write for (measured by cutover)', `${count(pauseMs)} ms`],
    ['from the last write to the second comparison', seconds(equalMs)],
    ['the whole demo', seconds(Date.now() - started)],
  ];
  for (const [name, value] of figures) console.log(`   ${name.padEnd(46)} ${value}`);
}

/** The write pause, by cutover's own report. */
async function measuredPause(file: string): Promise<number> {
  const report = JSON.parse(await readFile(file, 'utf8')) as { readonly pause_ms: number | null };
  if (report.pause_ms === null) throw new Problem('the cutover has measured no pause');
  return report.pause_ms;
}

/** Looks for the server programs, and has them installed where that is possible. */
function ensurePrograms(): void {
  const openssl = spawnSync('openssl', ['version'], { stdio: 'ignore' }).status === 0;
  const ps = spawnSync('ps', ['-A'], { stdio: 'ignore' }).status === 0;
  if (findPrograms() !== null && openssl && ps) return;
  const { status } = spawnSync(process.execPath, ['build/scripts/setup/main.js'], { stdio: 'inherit' });
  if (status !== 0) throw new Problem('The demo needs PostgreSQL on this machine.');
}

async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const made = await mkdtemp(path.join(os.tmpdir(), 'walferry-demo-'));
  return { path: made, [Symbol.asyncDispose]: () => rm(made, { recursive: true, force: true }) };
}

async function openShop(uri: string): Promise<string> {
  return onDatabase(uri, async (client) => {
    await client.query(shopSchema);
    for (const statement of fillShop(size)) await client.query(statement);
    const total = await text(
      client,
      `select sum(reltuples)::bigint from pg_class where relkind = 'r'
      and relnamespace = 'public'::regnamespace`,
    );
    const tables = await text(
      client,
      `select count(*) from pg_class where relkind = 'r'
      and relnamespace = 'public'::regnamespace`,
    );
    const onDisk = await text(client, 'select pg_database_size(current_database())');
    return `${tables} tables, ${count(Number(total))} rows, ${bytes(Number(onDisk))}; foreign keys, triggers, enums, jsonb, arrays, TOAST`;
  });
}

type Sentinel = { readonly apply: boolean; readonly write_lsn: string; readonly replay_lsn: string };

/** Null while the run has not made it yet. */
async function readSentinel(environment: Environment, signal: AbortSignal): Promise<Sentinel | null> {
  const { code, stdout } = await walferry(['stream', 'sentinel', 'get', '--json'], environment, signal);
  return code === 0 ? (JSON.parse(stdout) as Sentinel) : null;
}

/** How much of the source's WAL the target does not hold yet, by what the two servers say themselves. */
async function behind({ source, target }: DemoServers): Promise<number> {
  const [current, applied] = await Promise.all([
    onDatabase(source.plainUri, (client) => text(client, 'select pg_current_wal_insert_lsn()')),
    onDatabase(target.plainUri, (client) => text(client, 'select lsn from walferry.position')),
  ]);
  const difference = readLsn(current) - readLsn(applied);
  return difference > 0n ? Number(difference) : 0;
}

/** Shows what the sentinel says until the target has followed the source for a while. */
async function watch(
  migration: Program,
  environment: Environment,
  servers: DemoServers,
  load: Load,
  signal: AbortSignal,
): Promise<{ furthestBehind: number; lastBehind: number }> {
  const giveUp = Date.now() + patienceMs;
  let furthestBehind = 0;
  let lastBehind = 0;
  let following: number | null = null;
  let shown = 0;
  while (following === null || Date.now() - following < watchMs) {
    if (signal.aborted) break;
    if (migration.ended) expectSuccess('walferry clone --follow', { ...(await migration.exit), stderr: '' });
    if (migration.ended) throw new Problem('clone --follow ended before an end position was set');
    if (Date.now() > giveUp) throw new Problem('the target does not catch up with the source');
    await sleep(1000, undefined, { signal }).catch(() => {});
    const sentinel = await readSentinel(environment, signal);
    if (sentinel === null || !sentinel.apply || sentinel.replay_lsn === '0/0') continue;
    const lag = await behind(servers);
    if (following === null) {
      following = Date.now();
      step('Meanwhile, in a second terminal: is the target keeping up?');
      typed('walferry stream sentinel get --json');
    }
    furthestBehind = Math.max(furthestBehind, lag);
    lastBehind = lag;
    shown += 1;
    if (shown % 2 === 1) {
      const { transactions } = load.figures();
      say(
        `write_lsn ${sentinel.write_lsn.padEnd(10)} replay_lsn ${sentinel.replay_lsn.padEnd(10)} ` +
          `behind the source ${bytes(lag).padStart(7)}   shop transactions ${count(transactions).padStart(7)}`,
      );
    }
    // Not yet level: the copy took its time, and the changes since then are still being applied.
    if (lag > 4 * 1024 * 1024) following = Date.now();
  }
  return { furthestBehind, lastBehind };
}

/** What the target's own statistics and walferry's task table say. */
async function targetFigures(uri: string): Promise<{ copied: number; changes: number }> {
  return onDatabase(uri, async (client) => {
    const copied = Number(await text(client, 'select sum(rows) from walferry.task'));
    const touched = Number(
      await text(
        client,
        `select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables where schemaname = 'public'`,
      ),
    );
    return { copied, changes: touched - copied };
  });
}

/** After the cleanup the source keeps nothing for walferry. */
async function nothingLeft(uri: string): Promise<string> {
  const left = await onDatabase(uri, (client) =>
    text(
      client,
      'select (select count(*) from pg_replication_slots) + (select count(*) from pg_publication)',
    ),
  );
  if (left !== '0') throw new Problem('walferry has left a slot or a publication on the source');
  return 'slot and publications on the source are gone';
}

/** Sequences, foreign keys and triggers are in place: an ordinary order goes through. */
async function firstOrder(uri: string): Promise<string> {
  return onDatabase(uri, async (client) => {
    const last = Number(await text(client, 'select max(id) from orders'));
    const id = Number(await text(client, 'insert into orders (customer_id) values (1) returning id'));
    const audited = await text(client, 'select count(*) from audit_log where order_id = $1', [id]);
    if (id <= last || audited !== '1')
      throw new Problem('the first order on the target did not go as it should');
    const refused = await client
      .query('insert into orders (customer_id) values (-1)')
      .then(() => false)
      .catch(() => true);
    if (!refused) throw new Problem('the target has lost a foreign key');
    return `order ${id} placed: the sequence goes on, the trigger wrote its audit row, foreign keys hold`;
  });
}

type Client = { query(sql: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }> };

async function text(client: Client, sql: string, values: unknown[] = []): Promise<string> {
  const { rows } = await client.query(sql, values);
  return String(Object.values(rows[0] ?? {})[0]);
}

/** Something that the reader of the demo should see as a sentence, not as a stack. */
class Problem extends Error {}

/** A line of walferry's log, with the time of day alone. */
function logLine(line: string): string {
  return line.replace(/^\d{4}-\d\d-\d\d (\d\d:\d\d:\d\d)\.\d+ \d+ /, '$1 ');
}

/** The table of compare data with shorter checksums, to fit a terminal. */
function narrow(table: string): string {
  return table.replaceAll(/ {48}(?= *\w* Checksum)|-{48}|(?<=[0-9a-f]{16})[0-9a-f]{48}/g, '');
}

function expectSuccess(command: string, exit: Exit): void {
  if (exit.code === 0) return;
  if (exit.stderr !== '') quoted(exit.stderr.split('\n').slice(-20).join('\n'));
  throw new Problem(`${command} ended with exit status ${exit.code}`);
}

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Problem('stopped');
}

async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal }).then(() => {
    throw new Problem(`waited ${seconds(ms)} in vain until ${what}`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
    late.catch(() => {});
  }
}

const controller = new AbortController();
process.once('SIGINT', () => controller.abort());
process.once('SIGTERM', () => controller.abort());
try {
  await main(controller.signal);
} catch (error) {
  console.error(`\n${error instanceof Problem ? error.message : ((error as Error).stack ?? String(error))}`);
  process.exitCode = 1;
}
