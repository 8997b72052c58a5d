import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { connect, type Session } from '../../src/postgres/connect.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { joinCopy } from '../../src/postgres/copy.js';
import { exchangeCopies } from '../../src/postgres/copy-exchange.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { expectEqual } from '../support/equal.js';
import { until } from '../support/until.js';

type Ways = { readonly tls: boolean; readonly bulk: boolean };

const ways: readonly Ways[] = [
  { tls: false, bulk: true },
  { tls: false, bulk: false },
  { tls: true, bulk: true },
];

async function sessionTo(database: TestDatabase, { tls, bulk }: Ways): Promise<Session> {
  const conninfo = readConninfo(`${database.uri}?sslmode=${tls ? 'require' : 'disable'}`, {});
  return connect(conninfo, { side: database.side, applicationName: 'test', bulk });
}

const rows = `
  create table line (id int, text text);
  insert into line select i, case when i % 1000 = 0 then repeat('ünïcode', 9000) else repeat('x', i % 300) end
    from generate_series(1, 30000) i;`;

const join = {
  copyOut: 'copy public.line to stdout',
  copyIn: 'copy public.line from stdin',
  label: 'public.line',
};

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const thrown: unknown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (thrown instanceof Failure) return thrown;
  throw new Error(`expected a Failure, got ${String(thrown)}`);
}

describe.each(ways)('COPY to COPY, TLS $tls, bulk reads $bulk', (way) => {
  test('rows arrive as they are, small and large, and both sessions are fit for more', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(rows);
    await target.sql('create table line (id int, text text)');
    await using from = await sessionTo(source, way);
    await using into = await sessionTo(target, way);

    const moved = await joinCopy({ ...join, source: from, target: into });

    expect(moved.rows).toBe(30_000);
    await expectEqual(source, target);
    expect(await from.query('select 1 as one')).toEqual([{ one: '1' }]);
    await into.query('truncate public.line');
    expect(await joinCopy({ ...join, source: from, target: into })).toEqual(moved);
    await expectEqual(source, target);
  });

  test('a row that the target refuses is a failure of the target, without the row', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(rows);
    await target.sql('create table line (id int check (id < 20000), text text)');
    await using from = await sessionTo(source, way);
    await using into = await sessionTo(target, way);

    const failure = await failureOf(joinCopy({ ...join, source: from, target: into }));

    expect(failure.code).toBe('target-statement');
    expect(failure.message).toContain('could not write public.line');
    expect(failure.message).toContain('23514');
    expect(await target.sql('select count(*) as n from line')).toEqual([{ n: '0' }]);
  });

  test('an error of the source in the middle of its rows leaves nothing on the target', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(rows);
    await target.sql('create table line (id int, text text)');
    await using from = await sessionTo(source, way);
    await using into = await sessionTo(target, way);
    const copyOut = 'copy (select 1 / (25000 - id), text from public.line) to stdout';

    const failure = await failureOf(joinCopy({ ...join, copyOut, source: from, target: into }));

    expect(failure.code).toBe('source-statement');
    expect(failure.message).toContain('could not read public.line');
    await until('the target has noticed', async () => {
      const open = await target.sql(
        `select 1 as one from pg_stat_activity where datname = current_database() and application_name = 'test' and query like 'copy%'`,
      );
      return open.length === 0;
    });
    expect(await target.sql('select count(*) as n from line')).toEqual([{ n: '0' }]);
  });

  test('a session that is ended by the administrator is a lost connection, on either side', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(rows);
    await target.sql('create table line (id int, text text)');
    for (const side of ['source', 'target'] as const) {
      await using from = await sessionTo(source, way);
      await using into = await sessionTo(target, way);
      const { backendPid } = side === 'source' ? from : into;
      const database = side === 'source' ? source : target;
      const copyOut =
        'copy (select id, text from public.line, pg_sleep(case when id = 20000 then 20 else 0 end)) to stdout';

      const [failure] = await Promise.all([
        failureOf(joinCopy({ ...join, copyOut, source: from, target: into })),
        until('it sleeps', async () => {
          const [row] = await source.sql(
            `select count(*) as n from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`,
          );
          return row?.['n'] === '1';
        }).then(() => database.sql(`select pg_terminate_backend(${backendPid})`)),
      ]);

      expect(failure.code).toBe(`${side}-disconnected`);
    }
  });

  test('a stop ends it at once, though the source is silent', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql('create table line (id int, text text)');
    await target.sql('create table line (id int, text text)');
    await using from = await sessionTo(source, way);
    await using into = await sessionTo(target, way);
    const stop = new AbortController();
    const began = performance.now();
    setTimeout(() => stop.abort(), 300);

    const failure = await failureOf(
      joinCopy({
        ...join,
        copyOut: `copy (select 1, 'x' from pg_sleep(60)) to stdout`,
        source: from,
        target: into,
        signal: stop.signal,
      }),
    );

    expect(failure.code).toBe('stopped');
    expect(performance.now() - began).toBeLessThan(2000);
  });
});

describe('several COPYs in one exchange', () => {
  const tables = Array.from({ length: 20 }, (_, index) => `t${index}`);
  const make = tables.map((name) => `create table ${name} (id int)`).join('; ');

  test('each has its own rows, and rows of other statements are told', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(
      `${make}; ${tables.map((name, index) => `insert into ${name} select generate_series(1, ${index})`).join('; ')}`,
    );
    await target.sql(make);
    await using from = await sessionTo(source, { tls: false, bulk: true });
    await using into = await sessionTo(target, { tls: false, bulk: false });
    const told: unknown[] = [];

    const moved = await exchangeCopies({
      source: from,
      sourceSql: `begin; select 'here', null; ${tables.map((name) => `copy public.${name} to stdout`).join('; ')}; commit`,
      target: into,
      targetSql: `begin; select 'there'; ${tables.map((name) => `copy public.${name} from stdin`).join('; ')}; commit`,
      label: 'tables',
      onRow: (side, values) => told.push([side, ...values]),
    });

    expect(moved.map((one) => one.rows)).toEqual(tables.map((_, index) => index));
    expect(told.toSorted((a, b) => String(a).localeCompare(String(b)))).toEqual([
      ['source', 'here', null],
      ['target', 'there'],
    ]);
    await expectEqual(source, target);
  });

  test('the error of one undoes all of the transaction', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${make}; insert into t3 values (1); insert into t4 values (1)`);
    await target.sql(`${make}; alter table t4 add check (id <> 1)`);
    await using from = await sessionTo(source, { tls: false, bulk: true });
    await using into = await sessionTo(target, { tls: false, bulk: false });

    const failure = await failureOf(
      exchangeCopies({
        source: from,
        sourceSql: tables.map((name) => `copy public.${name} to stdout`).join('; '),
        target: into,
        targetSql: `begin; ${tables.map((name) => `copy public.${name} from stdin`).join('; ')}; commit`,
        label: 'tables',
      }),
    );

    expect(failure.code).toBe('target-statement');
    expect(await target.sql('select count(*) as n from t3')).toEqual([{ n: '0' }]);
  });
});
