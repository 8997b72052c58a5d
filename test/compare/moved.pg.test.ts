/** Which rows were written behind the reading of the piece that they are in now. */
import { expect, test } from 'vitest';
import { writtenBehind, type SeenPart } from '../../src/compare/moved.js';
import { createDatabase, type TestSession } from '../support/databases.js';

const horizonSql = 'select txid_snapshot_xmin(txid_current_snapshot())::text as xid';
const endSql = 'select txid_snapshot_xmax(txid_current_snapshot())::text as xid';

async function ask(session: Pick<TestSession, 'sql'>, sql: string): Promise<bigint> {
  const [row] = await session.sql(sql);
  return BigInt(row?.['xid'] ?? '');
}

async function found(
  session: Pick<TestSession, 'sql'>,
  from: string,
  end: bigint,
  parts: readonly SeenPart[],
): Promise<string[]> {
  const rows = await session.sql(
    `select t.id::text from ${from} where ${writtenBehind(end, parts)} order by t.id`,
  );
  return rows.map((row) => row['id'] ?? '');
}

test('what a snapshot has not seen is found, in whatever part it is, and frozen or not', async () => {
  // Given rows of before, and a transaction that is under way when the first part is read,
  await using database = await createDatabase('source');
  await database.sql(
    'create table t (id int primary key, n int); insert into t select i, 0 from generate_series(1, 6) i',
  );
  await using early = await database.session();
  await using reader = await database.session();
  await early.sql('begin; update t set n = 1 where id = 1');
  const first = { condition: 't.id <= 3', horizon: await ask(reader, horizonSql) };
  await database.sql('update t set n = 2 where id in (2, 5)');
  await early.sql('commit');

  // when the second part is read behind it, and rows are written behind that,
  const second = { condition: 't.id > 3', horizon: await ask(reader, horizonSql) };
  await database.sql('update t set n = 3 where id = 6');
  await database.sql('begin; savepoint s; update t set n = 4 where id = 4; release s; commit');
  await database.sql('vacuum freeze t');

  // then found is what its part has not seen: 5 was seen in its part, and not in the first.
  const end = await ask(reader, endSql);
  expect(await found(reader, 't', end, [first, second])).toEqual(['1', '2', '4', '6']);
  expect(await found(reader, 't', end, [{ ...first, condition: null }])).toEqual(['1', '2', '4', '5', '6']);
  expect(await found(reader, 't', end, [{ ...second, condition: null }])).toEqual(['4', '6']);
  expect(await found(reader, 't', end, [{ condition: null, horizon: end }])).toEqual([]);
});

test('numbers of transactions begin anew', async () => {
  // Given rows of transactions on both sides of where they do, and one of an age that looks young by its number alone,
  await using database = await createDatabase('source');
  const rows = `(values (1, '4294967200'::xid), (2, '4294967295'), (3, '3'), (4, '40'), (5, '2147483700')) as t (id, xmin)`;
  const round = 2n ** 32n;
  // then the same rows are found in the first round as in a later one.
  for (const epoch of [1n, 7n]) {
    const end = epoch * round + 41n;
    const since = (horizon: bigint) => [{ condition: null, horizon }];
    expect(await found(database, rows, end, since(end - 1n))).toEqual(['4']);
    expect(await found(database, rows, end, since(epoch * round + 3n))).toEqual(['3', '4']);
    expect(await found(database, rows, end, since(epoch * round - 1n))).toEqual(['2', '3', '4']);
    expect(await found(database, rows, end, since(epoch * round - 96n))).toEqual(['1', '2', '3', '4']);
  }
});
