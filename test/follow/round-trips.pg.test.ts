/** A target that is far away: what is asked of it before the first change waits for its answer as seldom as possible. */
import { connect as connectSocket, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { connectApplier } from '../../src/apply/apply.js';
import { fetchStanding } from '../../src/follow/stream-standing.js';
import { silentLog } from '../../src/log.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { applying, key, preparedTarget } from '../apply/target.js';
import {
  follow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  setupStream,
  streamOptions,
  succeed,
} from '../support/live-migration.js';
import { at, insert, relation, TestJournal, transaction } from '../apply/support.js';

type Way = AsyncDisposable & {
  readonly uri: string;
  /** How often something was sent behind an answer so far: each time a round trip was waited for. */
  turns(): number;
  /** Connections so far. */
  connections(): number;
};

async function openWay(to: string): Promise<Way> {
  const url = new URL(to);
  const { hostname: host, port } = url;
  let turns = 0;
  let connections = 0;
  let isAnswered = true;
  const server = createServer((client) => {
    connections += 1;
    const upstream = connectSocket({ host, port: Number(port) });
    client.on('data', (chunk) => {
      if (isAnswered) turns += 1;
      isAnswered = false;
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      isAnswered = true;
      client.write(chunk);
    });
    client.on('error', () => {}).on('close', () => upstream.destroy());
    upstream.on('error', () => {}).on('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  url.port = String(address.port);
  return {
    uri: url.toString(),
    turns: () => turns,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => void (await new Promise((resolve) => server.close(resolve))),
  };
}

test('where the stream stands is one question; the first change waits for two more', async () => {
  await using target = await preparedTarget('create table t (id int primary key, v text)');
  await using way = await openWay(target.neonUri);
  const signal = new AbortController().signal;
  const session = await connectApplier(readConninfo(way.uri, {}), { signal, log: silentLog });
  const opened = way.turns();

  await fetchStanding(session, { key });
  expect(way.turns() - opened).toBe(1);

  const journal = new TestJournal();
  const running = applying(target, journal, { session, endpos: () => at(200) });
  journal.feed(...transaction(200, [insert(relation('t', 'id*, v'), '1', 'a')]));
  expect((await running).applied).toBe(at(200));
  // The lock with all that is asked behind it, the table, and the rows with their COMMIT; nothing else is waited for.
  expect(way.turns() - opened).toBe(4);
});

test('a stream that was set up before logs in for the applier, and for what follows the last change', async () => {
  await using migration = await openMigration({
    schema: 'create table t (id int primary key)',
    onBoth: true,
  });
  const { source, target } = migration;
  await setupStream(migration);
  await source.sql('insert into t values (1)');
  await setEndpos(migration);
  await using way = await openWay(target.neonUri);

  const exit = await runToEnd(migration, follow(migration, '--resume'), { PGCOPYDB_TARGET_PGURI: way.uri });

  expect(exit.code, exit.stderr).toBe(0);
  expect(way.connections()).toBe(2);
  expect(await target.sql('select id from t')).toEqual([{ id: '1' }]);
});

test('what was copied while a run waited to apply counts: no end position before its snapshot is taken', async () => {
  await using migration = await openMigration({
    schema: 'create table t (id int primary key)',
    onBoth: true,
  });
  await succeed(migration, ['stream', 'setup', ...streamOptions(migration)]);
  await using following = run(migration, follow(migration));
  await following.waitForOutput(/Waiting until the sentinel apply is enabled/);
  await setEndpos(migration);

  // Another process goes on with the copy, from a later snapshot, and then lets changes be applied.
  await migration.target.sql(`
    insert into walferry.generation (stream, system_identifier, database, number, seen, lsn)
    select stream, system_identifier, database, 1, '1000:1000:', lsn + 1000000000 from walferry.position`);
  await succeed(migration, ['stream', 'sentinel', 'set', 'apply']);

  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(1);
  expect(exit.stderr).toMatch(/the end position \S+ cannot be reached/);
});
