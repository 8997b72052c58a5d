import { expect, test } from 'vitest';
import { connectApplier } from '../../src/apply/apply.js';
import { askApplier, TargetAhead } from '../../src/follow/target-ahead.js';
import { silentLog } from '../../src/log.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { insert, relation, TestJournal, transaction, at } from '../apply/support.js';
import { applying, preparedTarget } from '../apply/target.js';
import { createDatabase } from '../support/databases.js';
import { until } from '../support/until.js';

const signal = new AbortController().signal;
const appliers = `select pid::text as pid from pg_stat_activity
  where datname = current_database() and application_name = 'walferry apply'`;

test('a session that asked where the stream stands is the applier’s first, and the only one', async () => {
  await using target = await preparedTarget('create table t (id int primary key, v text)');
  const session = await connectApplier(readConninfo(target.neonUri, {}), { signal, log: silentLog });
  const journal = new TestJournal();
  const running = applying(target, journal, { session, endpos: () => at(200) });
  await until('it reads', async () => journal.opened > 0);

  expect(await target.sql(appliers)).toEqual([{ pid: String(session.backendPid) }]);

  journal.feed(...transaction(200, [insert(relation('t', 'id*, v'), '1', 'a')]));
  expect((await running).applied).toBe(at(200));
  expect(await target.sql('select id from t')).toEqual([{ id: '1' }]);
  await until('it is closed', async () => (await target.sql(appliers)).length === 0);
});

test('one that was lost while it lay there is replaced; a question that fails is told', async () => {
  await using database = await createDatabase('target');
  const target = readConninfo(database.neonUri, {});
  const where = { target, log: silentLog, signal };
  const lost = await connectApplier(target, where);
  const ahead = new TargetAhead(lost);
  await database.sql(appliers.replace('pid::text as pid', 'pg_terminate_backend(pid)'));

  // Whether or not its end was noticed by now.
  const { session, answer } = await askApplier(ahead, where, (one) => one.query('select 1 as one'));
  expect(answer).toEqual([{ one: '1' }]);
  expect(session.backendPid).not.toBe(lost.backendPid);

  const wrong = askApplier(new TargetAhead(session), where, (one) => one.query('select 1 / 0'));
  await expect(wrong).rejects.toThrow(/division by zero/);
  await until('nothing is left open', async () => (await database.sql(appliers)).length === 0);
});
