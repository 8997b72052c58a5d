import { expect, test } from 'vitest';
import { WalWriterCalls } from '../../src/clone/wal-writer.js';
import { openBulkTarget } from '../../src/clone/sessions.js';
import { silentLog } from '../../src/log.js';
import type { Session } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { startServer } from '../support/clusters.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';

const sessionsQuery = `
  select pid, query from pg_stat_activity where datname = current_database() and application_name = 'walferry wal'`;

/** Calls as an ordinary role, and the sessions that they have at the moment. */
function callsInto(target: TestDatabase, jobs: { readonly table: number; readonly index: number }) {
  const conninfo = readConninfo(target.neonUri, {});
  const opened: Session[] = [];
  return {
    opened,
    calls: new WalWriterCalls({
      open: async (signal) => {
        const session = await openBulkTarget(conninfo, 'wal', { log: silentLog, signal });
        opened.push(session);
        return session;
      },
      jobs,
      log: silentLog,
    }),
    sessions: () => target.sql(sessionsQuery),
  };
}

test('WAL comes to the disk while a transaction still writes, and the session is gone afterwards', async () => {
  // A WAL writer that does nothing by itself for as long as this takes, and all of it when it is called.
  const settings = { wal_writer_delay: '10s', wal_writer_flush_after: '0', autovacuum: 'off' };
  await using server = await startServer('target', { settings });
  await using target = await createDatabase('target', { server });
  const { calls, sessions } = callsInto(target, { table: 1, index: 1 });
  await using writing = await target.session();
  await writing.sql('create table t (n int)');
  const [slot] = await target.sql(
    `select pg_create_logical_replication_slot('calls', 'test_decoding') as slot`,
  );
  expect(slot).not.toBeUndefined();

  await calls.during(async () => {
    await writing.sql('begin');
    await writing.sql('insert into t select n from generate_series(1, 100000) n');
    const [written] = await writing.sql('select pg_current_wal_insert_lsn() as lsn');
    await expect
      .poll(
        async () => {
          const [row] = await target.sql(
            `select pg_current_wal_flush_lsn() >= '${written?.['lsn']}'::pg_lsn as there`,
          );
          return row?.['there'];
        },
        { timeout: 60_000, interval: 20 },
      )
      .toBe('t');
    await writing.sql('rollback');
  });

  await calls[Symbol.asyncDispose]();
  expect(await sessions()).toEqual([]);
  // With a commit on disk, the slot does not end within a record, whose rest would come only with the WAL writer.
  await target.sql('create table last ()');
  // They are no transactions, and empty.
  const messages = await target.sql(`select data from pg_logical_slot_get_changes('calls', null, null)`);
  const data = messages.map((row) => row['data']).filter((text) => text?.includes('walferry'));
  expect(data.length).toBeGreaterThan(1);
  expect(new Set(data)).toEqual(new Set(['message: transactional: 0 prefix: walferry, sz: 0 content:']));
  await target.sql(`select pg_drop_replication_slot('calls')`);
});

test('where connections are scarce the session is given up, and the work goes on', async () => {
  await using server = await startServer('target');
  await using target = await createDatabase('target', { server });
  // Its own and three more, where two table and two index workers are still to come beside the one that is there.
  await target.sql(`alter role ${server.owner.name} connection limit 3`);
  const { calls, opened, sessions } = callsInto(target, { table: 2, index: 2 });
  await using _disposed = calls;
  await calls.during(async () => {
    await expect.poll(() => opened.length).toBe(1);
    await expect.poll(sessions).toEqual([]);
  });
  await calls.during(() => sessions());
  expect(opened.length).toBe(1);
});

test('a call that fails ends the calls and not the work', async () => {
  await using target = await createDatabase('target');
  const { calls, sessions } = callsInto(target, { table: 1, index: 1 });
  await using _disposed = calls;
  const done = await calls.during(async () => {
    await expect.poll(async () => (await sessions()).length).toBe(1);
    const [session] = await sessions();
    await target.sql(`select pg_terminate_backend(${session?.['pid']})`);
    await expect.poll(sessions).toEqual([]);
    return 'copied';
  });
  expect(done).toBe('copied');
  expect(await calls.during(() => sessions())).toEqual([]);
});
