import { expect, test } from 'vitest';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { CatalogSession } from '../../src/receive/catalog-session.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { until } from '../support/until.js';

/** One that counts how often it connects. */
function asking(source: TestDatabase, keepMs?: number) {
  let opened = 0;
  const open = () => {
    opened += 1;
    return connect(readConninfo(source.neonUri, {}), { side: 'source', applicationName: 'asks' });
  };
  const catalog = new CatalogSession(open, keepMs);
  return {
    catalog,
    ask: () => catalog.ask((session) => session.query('select 1 as one')),
    opened: () => opened,
  };
}

const sessions = `from pg_stat_activity where application_name = 'asks' and datname = current_database()`;

test('many questions go over one session, which is made anew when it is lost', async () => {
  await using source = await createDatabase('source');
  const { catalog, ask, opened } = asking(source);
  await using _closed = catalog;
  for (let time = 0; time < 20; time += 1) expect(await ask()).toEqual([{ one: '1' }]);
  expect(opened()).toBe(1);

  // A question that fails ends it: nobody knows what state it is in.
  await expect(catalog.ask((session) => session.query('select 1/0'))).rejects.toMatchObject({
    code: 'source-statement',
  });
  await ask();
  expect(opened()).toBe(2);

  // One that the server has ended is noticed.
  let lost = () => false;
  await catalog.ask(async (session) => {
    lost = () => session.lost !== null;
    return session.query('select 1');
  });
  await source.sql(`select pg_terminate_backend(pid) ${sessions}`);
  await until('it is lost', lost);
  await ask();
  expect(opened()).toBe(3);
});

test('left alone it is closed; asked again, there is another', async () => {
  await using source = await createDatabase('source');
  const { catalog, ask, opened } = asking(source, 50);
  await using _closed = catalog;
  await ask();
  await until('it is closed', async () => (await source.sql(`select ${sessions}`)).length === 0);
  await ask();
  expect(opened()).toBe(2);
});
