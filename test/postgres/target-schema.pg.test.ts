import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { lsnFromBigInt } from '../../src/model/lsn.js';
import { connect, type Session } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { recordGeneration } from '../../src/postgres/generation.js';
import { createPosition, deletePosition, fetchPosition } from '../../src/postgres/position-row.js';
import { ensureTargetSchema } from '../../src/postgres/target-schema.js';
import { fetchDoneTasks, recordDoneTask } from '../../src/postgres/task-table.js';
import { WireSession } from '../../src/postgres/wire-session.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';

const options = { side: 'target', applicationName: 'walferry test' } as const;

const session = (database: TestDatabase): Promise<Session> =>
  connect(readConninfo(database.neonUri, {}), options);

describe('the schema on the target', () => {
  test('is made once, by many at once, and any number of times', async () => {
    await using database = await createDatabase('target');
    const sessions = await Promise.all(Array.from({ length: 4 }, () => session(database)));
    await Promise.all(sessions.map((one) => ensureTargetSchema(one)));
    await ensureTargetSchema(sessions[0] as Session);
    await Promise.all(sessions.map((one) => one.close()));
    expect(await database.sql('select version from walferry.version')).toEqual([{ version: '2' }]);
  });

  test('of another version is refused', async () => {
    await using database = await createDatabase('target');
    await using one = await session(database);
    await ensureTargetSchema(one);
    await database.sql('update walferry.version set version = 9');
    await expect(ensureTargetSchema(one)).rejects.toThrow(
      /has version 9, this walferry works with version 2/,
    );
  });

  test('of version 1 is brought up to this one, with what it holds', async () => {
    await using database = await createDatabase('target');
    await using one = await session(database);
    await ensureTargetSchema(one);
    const key = { stream: 'a', systemIdentifier: '7', database: 'b' };
    await recordDoneTask(one, key, { name: 'kept', bytes: 1, rows: 2 });
    await database.sql(`
      alter table walferry.task drop column generation; drop table walferry.generation;
      update walferry.version set version = 1`);

    await ensureTargetSchema(one);
    const number = await recordGeneration(one, key, { snapshot: 'x', seen: '1:2:', lsn: '0/1' });
    await recordDoneTask(one, key, { name: 'new', bytes: 3, rows: 4, generation: number });

    expect(await database.sql('select version from walferry.version')).toEqual([{ version: '2' }]);
    expect([...(await fetchDoneTasks(one, key)).values()]).toEqual([
      { name: 'kept', bytes: 1, rows: 2 },
      { name: 'new', bytes: 3, rows: 4, generation: 1 },
    ]);
  });

  test('that may not be made says so, and leaves the session usable', async () => {
    await using database = await createDatabase('target');
    await database.sql(`alter database ${database.name} owner to postgres`);
    await using one = await session(database);
    const error: unknown = await ensureTargetSchema(one).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Failure);
    expect((error as Failure).code).toBe('target-rights');
    expect(await one.query('select 1 as one')).toEqual([{ one: '1' }]);
  });
});

test('a position is made once, read, and forgotten, per stream', async () => {
  await using database = await createDatabase('target');
  await using one = await session(database);
  await ensureTargetSchema(one);
  const key = { stream: 'a', systemIdentifier: '7', database: 'b' };
  const other = { ...key, systemIdentifier: '8' };
  const first = lsnFromBigInt(0x1_0000_00ffn);
  expect(await fetchPosition(one, key)).toBeNull();
  expect(await createPosition(one, key, first)).toBe(first);
  expect(await createPosition(one, key, lsnFromBigInt(5n))).toBe(first);
  expect(await fetchPosition(one, other)).toBeNull();
  await createPosition(one, other, lsnFromBigInt(6n));
  await deletePosition(one, key);
  expect([await fetchPosition(one, key), await fetchPosition(one, other)]).toEqual([null, 6n]);
});

describe('a session whose protocol we write', () => {
  test('tells what failed, refuses what was sent behind it, and goes on after settling', async () => {
    await using database = await createDatabase('target');
    const wire = await WireSession.open(readConninfo(database.neonUri, {}), options);
    const send = (...statements: string[]) => {
      for (const sql of statements) wire.send({ sql, parameters: [] });
      return wire.sync();
    };
    await send('create table public.t (id int primary key)');

    const replies = await Promise.all([
      send('begin', 'insert into public.t values (1)', 'commit'),
      send('begin', 'insert into public.t values (2)', 'insert into public.t values (1)', 'commit'),
      send('begin', 'insert into public.t values (3)', 'commit'),
    ]);

    expect(replies.map(({ tag, executed, error }) => [tag, executed, error?.code])).toEqual([
      ['COMMIT', 3, undefined],
      ['INSERT 0 1', 2, '23505'],
      ['', 0, '25P02'],
    ]);
    expect(wire.failed?.constraint).toBe('t_pkey');
    await wire.settle();
    expect(wire.failed).toBeNull();
    expect((await send('begin', 'insert into public.t values (3)', 'commit')).tag).toBe('COMMIT');
    expect(await wire.query('select id from public.t order by id')).toEqual([['1'], ['3']]);
    wire.close();
  });

  test('carries values of any size both ways, also while the socket is full', async () => {
    await using database = await createDatabase('target');
    const wire = await WireSession.open(readConninfo(database.neonUri, {}), options);
    const large = 'ü'.repeat(3_000_000);
    const answers = Array.from({ length: 4 }, () =>
      wire.query('select $1, cardinality($2), ($2)[2]', [large, [large, null]]),
    );
    expect(wire.congested).toBe(true);
    await wire.drained();
    expect(wire.congested).toBe(false);
    for (const [row] of await Promise.all(answers)) expect(row).toEqual([large, '2', null]);
    wire.close();
  });

  test('rejects everything outstanding when the connection is lost', async () => {
    await using database = await createDatabase('target');
    const wire = await WireSession.open(readConninfo(database.neonUri, {}), options);
    const waiting = Promise.allSettled([wire.query('select pg_sleep(60)'), wire.query('select 1')]);
    await database.sql(`select pg_terminate_backend(${wire.backend.pid})`);
    const lost = { status: 'rejected', reason: { code: 'target-disconnected' } };
    expect(await waiting).toMatchObject([lost, lost]);
    expect(() => wire.send({ sql: 'select 1', parameters: [] })).toThrow(/connection to the target was lost/);
    wire.close();
  });
});
