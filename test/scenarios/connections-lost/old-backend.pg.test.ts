/** A process that was killed leaves a backend on the target which works on: whoever resumes waits for it. */
import { connect as connectSocket, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { expectEqual } from '../../support/equal.js';
import { follow, openMigration, run, setEndpos, setupStream } from '../../support/live-migration.js';
import { until } from '../../support/until.js';

type Way = AsyncDisposable & {
  /** The same server and database, this way. */
  readonly uri: string;
  /** The server learns of all clients that have gone so far, and from now on of every one at once. */
  release(): void;
};

/**
 * A way to a server on which it does not learn that its client is gone before it is released. A backend of 14 or later
 * that waits for a lock looks after its client every two seconds, and ends: sooner than another process has started.
 */
async function openWay(to: string): Promise<Way> {
  const url = new URL(to);
  const { hostname: host, port } = url;
  const sockets = new Set<Socket>();
  const held = new Set<Socket>();
  let released = false;
  const server = createServer((client) => {
    const upstream = connectSocket({ host, port: Number(port) });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    }
    client.on('data', (chunk: Buffer) => upstream.write(chunk));
    upstream.on('data', (chunk: Buffer) => client.writable && client.write(chunk));
    upstream.on('close', () => client.destroy());
    client.on('close', () => {
      if (released) upstream.destroy();
      else held.add(upstream);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  url.port = String(address.port);
  return {
    uri: url.toString(),
    release: () => {
      released = true;
      for (const socket of held) socket.destroy();
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const schema = `create table item (id int primary key, body text); create table line (body text);
  alter table line replica identity full`;

const appliers = `select pid::text, wait_event_type from pg_stat_activity
  where datname = current_database() and application_name = 'walferry apply'`;

test('resumed while the old backend waits with groups that are complete: they are applied once', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  const { source, target } = migration;
  await setupStream(migration);
  // Given a whole transaction, with its COMMIT, in a backend that waits for somebody else's lock
  await using way = await openWay(target.neonUri);
  const onTheWay = { PGCOPYDB_TARGET_PGURI: way.uri };
  await using killed = run(migration, follow(migration, '--resume'), onTheWay);
  await killed.waitForOutput(/receiving changes from/);
  await source.sql(`insert into item values (0, 'first')`);
  await until('it is applied', async () => (await target.sql('select from item')).length === 1);
  const somebody = await target.session();
  await somebody.sql('begin; lock table item in share mode');
  await source.sql(`insert into line values ('same'); insert into item values (1, 'second')`);
  await until('the backend waits', async () => {
    return (await target.sql(appliers)).some((row) => row['wait_event_type'] === 'Lock');
  });

  // when the process is killed and resumed at once, and after that the lock is given up, and the old backend works on,
  killed.kill('SIGKILL');
  await killed.exit;
  await using resumed = run(migration, follow(migration, '--resume'), onTheWay);
  await until('both are there', async () => (await target.sql(appliers)).length === 2);
  await somebody.sql('commit');
  await until(
    'the old backend has applied it',
    async () => (await target.sql('select from item')).length === 2,
  );
  way.release();

  // then it goes on by itself.
  await source.sql(`insert into line values ('same'); insert into item values (2, 'third')`);
  await setEndpos(migration);
  const exit = await resumed.exit;
  expect(exit.code, exit.stderr).toBe(0);
  await expectEqual(source, target);
});
