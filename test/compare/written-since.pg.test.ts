/** Which rows were written behind the reading of the piece that they are in now, and how they are looked at. */
import { describe, expect, test } from 'vitest';
import type { ReadScope } from '../../src/compare/checksum.js';
import { planComparison } from '../../src/compare/comparison.js';
import { fetchEnd, fetchHorizon, notSeen, type Cut, type Horizon } from '../../src/compare/horizon.js';
import { Moments, TargetPosition, type Moment } from '../../src/compare/moments.js';
import type { MovingOutcome } from '../../src/compare/moving.js';
import { orderPieces } from '../../src/compare/pieces.js';
import { TableReader, type ReadTable } from '../../src/compare/reading.js';
import { beginSql, type Pair } from '../../src/compare/sides.js';
import { listTables } from '../../src/compare/tables.js';
import { WrittenSince } from '../../src/compare/written-since.js';
import { silentLog } from '../../src/log.js';
import { readLsn } from '../../src/model/lsn.js';
import { connect, type Session } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';

const hash: ReadScope['hash'] = { kind: 'hashtext' };

function open({ uri }: TestDatabase): Promise<Session> {
  return connect(readConninfo(uri, {}), { side: 'source', applicationName: 'walferry test', log: silentLog });
}

/** The rows of `from` that are found by now. */
async function found(
  session: Session,
  horizons: readonly Horizon[],
  cut: Cut | null = null,
  from = 't',
): Promise<string[]> {
  await session.query(beginSql);
  const condition = notSeen(await fetchEnd(session), cut, horizons);
  const rows = await session.query(`select t.id::text from ${from} where ${condition} order by t.id`);
  await session.query('commit');
  return rows.map((row) => row['id'] ?? '');
}

describe('what a reading has not seen', () => {
  const cut: Cut = { column: 'id', type: 'integer', nullable: false, bounds: ['4'] };

  test('is found, in whatever piece it is, and frozen or not', async () => {
    // Given a transaction that is under way when the first piece is read,
    await using database = await createDatabase('source');
    await database.sql('create table public.t (id int primary key, n int)');
    await database.sql('insert into t select i, 0 from generate_series(1, 6) i');
    await using early = await database.session();
    await using session = await open(database);
    await session.query('set search_path to public');
    await early.sql('begin; update t set n = 1 where id = 1');
    const first = await fetchHorizon(session);
    await database.sql('update t set n = 2 where id in (2, 5)');
    await early.sql('commit');

    // when the second piece is read behind it, and rows are written behind that,
    const second = await fetchHorizon(session);
    await database.sql('update t set n = 3 where id = 6');
    await database.sql('begin; savepoint s; update t set n = 4 where id = 4; release s; commit');
    await database.sql('vacuum freeze t');

    // then found is what its piece has not seen: 5 was seen in its piece, and not in the first.
    expect(await found(session, [first, second], cut)).toEqual(['1', '2', '4', '6']);
    expect(await found(session, [first])).toEqual(['1', '2', '4', '5', '6']);
    expect(await found(session, [second])).toEqual(['4', '6']);
    expect(await found(session, [await fetchHorizon(session)])).toEqual([]);
  });

  test('is found by the number of a subtransaction that was there before', async () => {
    await using database = await createDatabase('source');
    await database.sql(
      'create table public.t (id int primary key, n int); create table public.other (id int)',
    );
    await database.sql('insert into t select i, 0 from generate_series(1, 3) i');
    await using early = await database.session();
    await using session = await open(database);
    await session.query('set search_path to public');
    // Given a subtransaction that has its number from another table, and numbers that were given since,
    await early.sql('begin; insert into other values (1); savepoint s; insert into other values (2)');
    await database.sql('insert into other values (3)');
    const horizon = await fetchHorizon(session);
    // when it writes behind the reading, then its row is found.
    await early.sql('update t set n = 1 where id = 2; release s; commit');
    expect(await found(session, [horizon])).toEqual(['2']);
  });

  test('is not all that is younger than a transaction which somebody has forgotten', async () => {
    await using database = await createDatabase('source');
    await using elsewhere = await createDatabase('source');
    await elsewhere.sql('create table public.other (id int)');
    await using forgotten = await elsewhere.session();
    await forgotten.sql('begin; insert into other values (1)');
    await database.sql('create table public.t (id int primary key)');
    await database.sql('insert into t select generate_series(1, 100)');
    await using session = await open(database);
    await session.query('set search_path to public');
    expect(await found(session, [await fetchHorizon(session)])).toEqual([]);
    await forgotten.sql('rollback');
  });

  test('is found where the numbers of transactions begin anew', async () => {
    await using database = await createDatabase('source');
    await using session = await open(database);
    // Of rows on both sides of where they do, and one that looks young by its number alone,
    const rows = `(values (1, '4294967200'::xid), (2, '4294967295'), (3, '3'), (4, '40'), (5, '2147483700')) as t (id, xmin)`;
    const round = 2n ** 32n;
    // the same are found in the first round as in a later one, and those that ran then in any case.
    for (const epoch of [1n, 7n]) {
      const end = epoch * round + 41n;
      const since = async (next: bigint, ...running: string[]) => {
        const condition = notSeen(end, null, [{ next, running }]);
        const answer = await session.query(`select t.id::text from ${rows} where ${condition} order by t.id`);
        return answer.map((row) => row['id']);
      };
      expect(await since(end)).toEqual([]);
      expect(await since(end - 1n)).toEqual(['4']);
      expect(await since(end - 1n, '4294967200', '77')).toEqual(['1', '4']);
      expect(await since(epoch * round + 3n)).toEqual(['3', '4']);
      expect(await since(epoch * round - 1n)).toEqual(['2', '3', '4']);
      expect(await since(epoch * round - 96n)).toEqual(['1', '2', '3', '4']);
    }
  });

  test.each([
    { type: 'integer', values: ['-5', '0', '1', '7', '8'], bounds: ['0', '7'] },
    {
      type: 'uuid',
      values: ['0', '3', '4', 'a', 'f'].map((digit) => `${digit.repeat(8)}-0000-0000-0000-000000000000`),
    },
    { type: 'date', values: ['-infinity', '2025-12-31', '2026-01-01', '2026-05-01', 'infinity'] },
    {
      type: 'timestamp(3) with time zone',
      values: [
        '-infinity',
        '2026-01-01 00:00:00.001+00',
        '2026-01-01 00:00:00.002+00',
        '2026-05-01',
        'infinity',
      ],
    },
  ])('is found in the pieces that were read: by a column of type $type', async ({ type, values, bounds }) => {
    // Given a table with values at the bounds, and nulls,
    await using database = await createDatabase('source');
    await database.sql(`create table public.t (id int primary key, at ${type})`);
    const rows = [...values, null].map((value, at) => `(${at}, ${value === null ? 'null' : `'${value}'`})`);
    await database.sql(`insert into t values ${rows.join(', ')}`);
    await using session = await open(database);
    await session.query('set search_path to public');
    for (const nullable of [true, false]) {
      const cut: Cut = { column: 'at', type, nullable, bounds: bounds ?? values.slice(1, 4) };
      const pieces = orderPieces(cut, cut.bounds);
      // then a piece that has seen nothing gives all of its rows, and the others none.
      for (const [number, { source: condition }] of pieces.entries()) {
        const next = (piece: number) => (piece === number ? 3n : 2n ** 62n);
        const horizons = pieces.map((_, piece) => ({ next: next(piece), running: [] }));
        const own = await session.query(`select t.id::text from t where ${condition} order by t.id`);
        expect(await found(session, horizons, cut)).toEqual(own.map((row) => row['id']));
      }
    }
  });
});

describe('looking at them', () => {
  const schema = `create table public.t (id int primary key, n int);
    insert into t select i, 0 from generate_series(1, 100) i`;

  /** Both sides are one database: nothing differs, but for what a test says. */
  async function prepare(
    database: TestDatabase,
  ): Promise<{ pair: Pair; table: ReadTable; session: Session }> {
    const [source, target, session] = await Promise.all([open(database), open(database), open(database)]);
    const tables = await listTables(source);
    const [table] = planComparison(tables, tables).tables;
    if (table?.kind !== 'read') throw new Error('the table is not read');
    return { pair: { source, target }, table, session };
  }

  /** As at one moment, behind what a test does before it. */
  class StillMoments extends Moments {
    readonly #before: () => Promise<unknown>;

    constructor(pair: Pair, before: () => Promise<unknown> = () => Promise.resolve()) {
      const key = { stream: 's', systemIdentifier: '1', database: 'd' };
      super(key, new TargetPosition(pair.target, key));
      this.#before = before;
    }

    override async read<T>(
      of: Pair,
      _oid: string,
      read: (session: Session) => Promise<T>,
    ): Promise<Moment<T>> {
      await this.#before();
      const at = readLsn('0/1');
      return { source: await read(of.source), target: await read(of.target), low: at, high: at, applied: at };
    }
  }

  const outcome = (horizon: Horizon, changing: string[] = []): MovingOutcome => ({
    sums: {
      source: new Map([[0, { rows: 1n, high: 1n, low: 1n }]]),
      target: new Map([[0, { rows: 1n, high: 2n, low: 1n }]]),
    },
    differing: { source: new Map(), target: new Map(), keys: [], complete: true },
    changing,
    low: readLsn('0/1'),
    horizon,
  });

  test('keeps nobody from altering the table, who would keep us from looking', async () => {
    await using database = await createDatabase('source');
    await database.sql(schema);
    const { pair, table, session } = await prepare(database);
    const horizon = await fetchHorizon(pair.source);
    await database.sql('update t set n = 1 where id <= 3');
    // When somebody alters the table between the scan and the look,
    const alter = () => database.sql(`set lock_timeout = '10s'; alter table t alter column n set default 0`);
    const reader = new TableReader(hash);
    const since = new WrittenSince(session, new StillMoments(pair, alter), reader, undefined);
    // then neither waits for the other; what was changing all the while is seen to be equal.
    const settled = await since.settle(pair, table, {
      cut: null,
      outcomes: [outcome(horizon, ['["2"]', '["50"]'])],
      onLooked: () => {},
    });
    expect(settled).toMatchObject({ left: 0, differing: { keys: [], complete: true } });
    expect([...(settled?.changing ?? [])]).toEqual([]);
    expect([...(settled?.again ?? [])]).toEqual(['["2"]']);
    await Promise.all([pair.source, pair.target, session].map((one) => one.close()));
  });

  test('ends after so many, and counts those that are left', async () => {
    await using database = await createDatabase('source');
    await database.sql(schema);
    const { pair, table, session } = await prepare(database);
    const horizon = await fetchHorizon(pair.source);
    await database.sql('update t set n = 1 where id <= 30');
    const reader = new TableReader(hash);
    const most = { byIndex: 10, byScan: 1 };
    const since = new WrittenSince(session, new StillMoments(pair), reader, undefined, most);
    // Two tables at a time: each has a cursor of its own.
    const both = [outcome(horizon)];
    const told: number[] = [];
    const seen = { cut: null, outcomes: both, onLooked: (rows: number) => void told.push(rows) };
    const settled = await Promise.all([1, 2].map(() => since.settle(pair, table, seen)));
    expect(settled.map((one) => one?.left)).toEqual([20, 20]);
    expect(told.toSorted((a, b) => a - b)).toEqual([0, 0, 10, 10]);
    // Nothing is left behind on the server.
    expect(await session.query('select name from pg_catalog.pg_cursors')).toEqual([]);
    await Promise.all([pair.source, pair.target, session].map((one) => one.close()));
  });
});
