import { expect, test } from 'vitest';
import { endStragglers } from '../../src/cutover/freeze.js';
import { Pause } from '../../src/cutover/pause.js';
import { fetchOtherSessions } from '../../src/cutover/sessions.js';
import { untilQuiet } from '../../src/cutover/waits.js';
import { silentLog } from '../../src/log.js';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase, type TestDatabase, type TestSession } from '../support/databases.js';
import { until } from '../support/until.js';

function open(source: TestDatabase) {
  return connect(readConninfo(source.neonUri, {}), { side: 'source', applicationName: 'walferry test' });
}

async function pidOf(session: TestSession): Promise<string> {
  const [row] = await session.sql('select pg_backend_pid()::text as pid');
  return row?.['pid'] ?? '';
}

test.each([
  ['INSERT', 'insert into t select 3 from (select pg_advisory_xact_lock(1)) as turn'],
  ['UPDATE', 'update t set id = 2 where id = 1 and pg_advisory_xact_lock(1) is not null'],
])('an %s that has not found a row yet is writing, a reader is not', async (_, statement) => {
  await using source = await createDatabase('source');
  await source.sqlAsOwner('create table t (id int primary key); insert into t values (1)');
  await using turn = await source.session();
  await turn.sql('select pg_advisory_lock(1)');
  await using writer = await source.session();
  await using reader = await source.session();
  const pids = { writer: await pidOf(writer), reader: await pidOf(reader) };
  await reader.sql('begin; select from t');
  const written = writer.sql(statement).catch((error: unknown) => error);
  await using session = await open(source);
  await until('the statement waits', async () => {
    const rows = await source.sql(
      `select from pg_stat_activity where pid = ${pids.writer} and wait_event_type = 'Lock' and backend_xid is null`,
    );
    return rows.length === 1;
  });

  const found = await fetchOtherSessions(session);
  const isWriting = (pid: string) => found.find((one) => one.pid === pid)?.writing;
  expect(isWriting(pids.writer)).toBe(true);
  expect(isWriting(pids.reader)).toBe(false);

  // It is waited for, by name, and no longer than it takes.
  const pause = new Pause(new AbortController().signal);
  const quiet = untilQuiet(session, 'revoke', pause);
  await until('it is waited for', () => pause.waitingFor.includes(`still write: ${pids.writer} `));
  await turn.sql('select pg_advisory_unlock(1)');
  await written;
  expect(await quiet).toMatch(/^after \d+ looks$/);
});

test('a transaction that is prepared is waited for, by name', async () => {
  await using source = await createDatabase('source');
  await source.sql(
    `create table t (id int primary key); begin; insert into t values (1); prepare transaction 'prepared meanwhile'`,
  );
  await using session = await open(source);
  const pause = new Pause(new AbortController().signal);
  const quiet = untilQuiet(session, 'read-only', pause);
  await until('it is waited for', () =>
    pause.waitingFor.includes('prepared transactions are open: prepared meanwhile (of postgres)'),
  );
  await source.sql(`rollback prepared 'prepared meanwhile'`);
  expect(await quiet).toMatch(/^after \d+ looks$/);
});

test('a session that was logging in during the freeze is ended once more, one that came behind it stays', async () => {
  await using source = await createDatabase('source');
  await using session = await connect(readConninfo(source.uri, {}), {
    side: 'source',
    applicationName: 'walferry test',
  });
  await using before = await source.session();
  const pids = { before: await pidOf(before), behind: '' };
  const frozenAtMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 250));
  await using behind = await source.session();
  pids.behind = await pidOf(behind);
  await endStragglers(session, frozenAtMs, silentLog);

  const left = (await fetchOtherSessions(session)).map(({ pid }) => pid);
  expect(left).toContain(pids.behind);
  expect(left).not.toContain(pids.before);
});
