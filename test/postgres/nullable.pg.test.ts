/** From 18 on pg_attribute.attnotnull is also set by a NOT NULL that is NOT VALID, behind which rows may be NULL. */
import { expect, test } from 'vitest';
import { fetchTargetTables } from '../../src/apply/target-table.js';
import { listTables } from '../../src/compare/tables.js';
import { silentLog } from '../../src/log.js';
import { connect } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { fetchSplits } from '../../src/postgres/table-splits.js';
import { WireSession } from '../../src/postgres/wire-session.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { useMajors } from '../support/majors.js';

const majors = useMajors();

const rows = `
  create table t (id int, note text);
  insert into t select case when i % 50 > 0 then i end, repeat('x', 500) from generate_series(1, 2000) i;
  create unique index t_id on t (id)`;

/** What each that asks the catalog makes of the key `id` of table `t`. */
async function askAll(database: TestDatabase): Promise<Record<string, unknown>> {
  const conninfo = readConninfo(database.uri, {});
  await using session = await connect(conninfo, { side: 'source', applicationName: 'test' });
  const [listed] = await listTables(session);
  if (listed === undefined) throw new Error('there is no table');
  const split = { largerThanBytes: 100_000, maxParts: 4, byCtid: false };
  const splits = await fetchSplits(session, [{ ...listed, oid: Number(listed.oid) }], split);
  let copied = 0;
  for (const condition of splits[listed.oid]?.conditions ?? []) {
    const [row] = await session.query(`select count(*) from public.t where ${condition}`);
    copied += Number(row?.['count']);
  }
  const wire = await WireSession.open(conninfo, {
    side: 'target',
    applicationName: 'test',
    log: silentLog,
  });
  try {
    const [table] = await fetchTargetTables(wire, [{ schema: 'public', name: 't' }]);
    return {
      copied,
      order: listed.orders[0]?.nullable,
      key: listed.key,
      notNull: table?.columns.get('id')?.notNull,
    };
  } finally {
    wire.close();
  }
}

const notValid = 'alter table t add constraint filled not null id not valid';
const withNulls = { copied: 2000, order: true, key: null, notNull: false };
const withoutNulls = { copied: 1960, order: false, key: ['id'], notNull: true };

const keys: readonly (readonly [key: string, sql: string, expected: Record<string, unknown>])[] = [
  ['without NOT NULL', '', withNulls],
  ['NOT NULL', 'delete from t where id is null; alter table t alter id set not null', withoutNulls],
  ['NOT NULL that is NOT VALID', notValid, withNulls],
  [
    'NOT NULL that was validated since',
    `${notValid}; delete from t where id is null; alter table t validate constraint filled`,
    withoutNulls,
  ],
];

test('the rows behind a NOT NULL that is NOT VALID are copied, compared and found', async (context) => {
  const server = await majors.server(context, 18, 'source');
  for (const [key, sql, expected] of keys) {
    await using database = await createDatabase('source', { server });
    await database.sql(`${rows}; ${sql}`);
    await database.sql('vacuum analyze t');

    expect([key, await askAll(database)]).toEqual([key, expected]);
  }
});

test('and on a server that knows none', async () => {
  await using database = await createDatabase('source');
  await database.sql(`${rows}; delete from t where id is null; alter table t alter id set not null`);
  await database.sql('vacuum analyze t');

  expect(await askAll(database)).toEqual(withoutNulls);
});
