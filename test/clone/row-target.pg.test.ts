/** What is asked of a target before rows are copied into it. */
import { expect, test } from 'vitest';
import { fetchRowTarget } from '../../src/clone/row-target.js';
import { silentLog } from '../../src/log.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase } from '../support/databases.js';
import { until } from '../support/until.js';

test('a target that gives no answer is not waited for once the run is stopped', async () => {
  await using database = await createDatabase('target');
  await database.sqlAsOwner('create table item (id int)');
  const target = readConninfo(database.neonUri, {});
  // Given a catalog that is locked,
  await using holder = await database.session();
  await holder.sql('begin; lock table pg_catalog.pg_trigger in access exclusive mode');
  const stop = new AbortController();
  const asked = fetchRowTarget({ target, log: silentLog, signal: stop.signal }, [
    { qualified: '"public"."item"' },
  ]);
  const ended = asked.then(
    () => 'answered',
    () => 'stopped',
  );
  const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
    and application_name = 'walferry step'`;
  await until('it waits', async () => (await database.sql(waiting)).length > 0);

  // when the run is stopped, then it ends while the lock is held.
  stop.abort();
  const late = new Promise((resolve) => setTimeout(resolve, 10_000, 'waits').unref());
  expect(await Promise.race([ended, late])).toBe('stopped');
  await holder.sql('rollback');
});
