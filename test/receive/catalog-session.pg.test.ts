import { expect, test } from 'vitest';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { CatalogSession } from '../../src/receive/catalog-session.js';
import { createDatabase } from '../support/databases.js';
import { until } from '../support/until.js';

test('many questions go over one session, which is not kept for long, and made anew when it is lost', async () => {
  await using source = await createDatabase('source');
  let opened = 0;
  const open = () => {
    opened += 1;
    return connect(readConninfo(source.neonUri, {}), { side: 'source', applicationName: 'asks' });
  };
  const sessions = async () =>
    (await source.sql(`select pid::text from pg_stat_activity where application_name = 'asks'`)).length;
  await using catalog = new CatalogSession(open, 300);
  const ask = () => catalog.ask((session) => session.query('select 1 as one'));

  for (let time = 0; time < 20; time += 1) expect(await ask()).toEqual([{ one: '1' }]);
  expect(opened).toBe(1);

  // Left alone, it is closed; asked again, there is another.
  await until('it is closed', async () => (await sessions()) === 0);
  await ask();
  expect(opened).toBe(2);

  // A question that fails ends it: nobody knows what state it is in.
  await expect(catalog.ask((session) => session.query('select 1/0'))).rejects.toMatchObject({
    code: 'source-statement',
  });
  await ask();
  expect(opened).toBe(3);

  // One that the server has ended is noticed.
  let lost = () => false;
  await catalog.ask(async (session) => {
    lost = () => session.lost !== null;
    return session.query('select 1');
  });
  await source.sql(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'asks'`);
  await until('it is lost', lost);
  await ask();
  expect(opened).toBe(4);
});
