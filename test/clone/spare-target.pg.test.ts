import { expect, test } from 'vitest';
import { lendTarget, SpareTarget, type LentTarget } from '../../src/clone/spare-target.js';
import { silentLog } from '../../src/log.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase } from '../support/databases.js';

async function pidOf({ session }: LentTarget): Promise<string> {
  const [row] = await session.query('select pg_backend_pid() as pid');
  return row?.['pid'] ?? '';
}

test('steps one after the other share a session; two at once have one each; one that is not at rest is not lent again', async () => {
  await using database = await createDatabase('target');
  await using spare = new SpareTarget();
  const work = { target: readConninfo(database.uri, {}), log: silentLog, spare };
  const step = async (use: (lent: LentTarget) => Promise<unknown>) => {
    await using lent = await lendTarget(work);
    await use(lent).catch(() => {});
    return lent.session.lost === null ? String(lent.session.backendPid) : 'lost';
  };
  const idle = () => Promise.resolve();

  const first = await step(pidOf);
  expect(await step(pidOf)).toBe(first);

  const other = await step(async () => expect(await step(pidOf)).not.toBe(first));
  expect(other).toBe(first);

  // Inside of a transaction, failed or not, it is no use for the next step.
  const begun = await step(({ session }) => session.query('begin'));
  expect(await step(idle)).not.toBe(begun);
  const failed = await step(({ session }) => session.run('begin; select 1/0'));
  expect(await step(idle)).not.toBe(failed);

  const cut = await step(idle);
  await database.sql(`select pg_terminate_backend(${cut})`);
  await expect.poll(() => database.sql(`select from pg_stat_activity where pid = ${cut}`)).toEqual([]);
  expect(await step(pidOf)).not.toBe(cut);

  await spare.close();
  expect(spare.take()).toBeNull();
  const [left] = await database.sql(
    `select count(*) as n from pg_stat_activity where datname = current_database() and application_name = 'walferry clone'`,
  );
  expect(left).toEqual({ n: '0' });
});
