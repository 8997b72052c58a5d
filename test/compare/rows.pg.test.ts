/** `compare data --rows`: which rows differ, by their keys; and large tables, in pieces. */
import { describe, expect, test } from 'vitest';
import type { RowDifferences } from '../../src/compare/comparison.js';
import { compareData } from '../../src/compare/data.js';
import type { CompareDataOptions } from '../../src/compare/options.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { walferry } from '../support/walferry.js';

async function both(setup: string): Promise<[TestDatabase, TestDatabase]> {
  const source = await createDatabase('source');
  const target = await createDatabase('target');
  await source.sql(setup);
  await target.sql(setup);
  return [source, target];
}

/** By table: what is said of its rows. */
async function differingRows(
  source: TestDatabase,
  target: TestDatabase,
  options: Partial<CompareDataOptions> = {},
): Promise<Record<string, RowDifferences | undefined>> {
  const { tables } = await compareData({
    source: readConninfo(source.uri, {}),
    target: readConninfo(target.uri, {}),
    jobs: 2,
    depth: 'rows',
    ...options,
  });
  return Object.fromEntries(
    tables.flatMap(({ name, difference, rows }) => (difference === null ? [] : [[name, rows]])),
  );
}

const none = { missing: 0, extra: 0, different: 0, complete: true };

describe('one row among many', () => {
  const rows = `create table t (id int primary key, a text, b numeric, g int generated always as (id + 1) stored);
    insert into t select i, 'text ' || i, i / 100.0 from generate_series(1, 5000) i;`;
  const cases: readonly (readonly [string, string, Partial<RowDifferences>])[] = [
    [
      'one cell',
      `update t set a = 'other' where id = 4711`,
      { different: 1, shown: [{ kind: 'different', key: ['4711'], columns: ['a'] }] },
    ],
    [
      'a missing row',
      `delete from t where id = 17`,
      { missing: 1, shown: [{ kind: 'missing', key: ['17'], columns: [] }] },
    ],
    [
      'an extra row',
      `insert into t values (-1)`,
      { extra: 1, shown: [{ kind: 'extra', key: ['-1'], columns: [] }] },
    ],
    [
      'values swapped between two rows',
      `update t set a = 'text ' || (300 - id), b = (300 - id) / 100.0 where id in (100, 200)`,
      {
        different: 2,
        shown: [
          { kind: 'different', key: ['100'], columns: ['a', 'b'] },
          { kind: 'different', key: ['200'], columns: ['a', 'b'] },
        ],
      },
    ],
    [
      'another key',
      `update t set id = 6000 where id = 5`,
      {
        missing: 1,
        extra: 1,
        shown: [
          { kind: 'missing', key: ['5'], columns: [] },
          { kind: 'extra', key: ['6000'], columns: [] },
        ],
      },
    ],
  ];

  test('is named by its key, with the columns that differ', async () => {
    const [source, target] = await both(rows);
    await using _ = source;
    await using __ = target;
    expect(await differingRows(source, target)).toEqual({});
    for (const [what, tampering, found] of cases) {
      await target.sql(`begin; ${tampering}; commit`);
      expect({ what, rows: (await differingRows(source, target))['t'] }).toEqual({
        what,
        rows: { key: ['id'], ...none, ...found },
      });
      await target.sql(
        `truncate t; insert into t select i, 'text ' || i, i / 100.0 from generate_series(1, 5000) i`,
      );
    }
  });

  test('is found in a table that is read in pieces, wherever the rows lie', async () => {
    const [source, target] = await both(rows);
    await using _ = source;
    await using __ = target;
    await target.sql(`create table u as select * from t order by md5(id::text);
      truncate t; insert into t (id, a, b) select id, a, b from u; drop table u`);
    await target.sql('vacuum analyze t');
    await source.sql('vacuum analyze t');
    const pieces: number[] = [];
    const sessions: Promise<string | null | undefined>[] = [];
    const options: Partial<CompareDataOptions> = {
      pieceBytes: 64 * 1024,
      onProgress: ({ bytesDone }) => {
        pieces.push(bytesDone);
        const counting = source.sql(`select count(*) from pg_stat_activity
          where application_name = 'walferry compare' and datname = current_database()`);
        sessions.push(counting.then(([row]) => row?.['count']));
      },
    };
    expect(await differingRows(source, target, options)).toEqual({});
    // The load is bounded by the jobs.
    const most = Math.max(...(await Promise.all(sessions)).map(Number));
    expect(most).toBeLessThanOrEqual(2);
    expect(pieces.length).toBeGreaterThan(4);
    expect(pieces).toEqual(pieces.toSorted((a, b) => a - b));
    for (const [what, tampering, found] of cases.slice(0, 3)) {
      await target.sql(tampering);
      expect({ what, rows: (await differingRows(source, target, options))['t'] }).toMatchObject({
        what,
        rows: { shown: expect.arrayContaining([...(found.shown ?? [])]) },
      });
    }
    expect((await differingRows(source, target, options))['t']).toMatchObject({
      missing: 1,
      extra: 1,
      different: 1,
    });
  });
});

describe('keys', () => {
  test('of every shape name their rows', async () => {
    const tables: Readonly<Record<string, readonly [keys: string, row: string, key: string[]]>> = {
      big: ['k bigint primary key', '9007199254740993', ['9007199254740993']],
      texts: [`k text collate "en-x-icu" primary key`, `'Ärger "quoted" \\ '' x'`, [`Ärger "quoted" \\ ' x`]],
      uuids: [
        'k uuid primary key',
        `'00000000-0000-0000-0000-0000000000ff'`,
        ['00000000-0000-0000-0000-0000000000ff'],
      ],
      times: [
        'k timestamptz primary key',
        `'2026-01-02 03:04:05.678901+02'`,
        ['2026-01-02 01:04:05.678901+00'],
      ],
      moods: ['k mood primary key', `'sad'`, ['sad']],
      domains: ['k short primary key', `'ab'`, ['ab']],
      bytes: ['k bytea primary key', `'\\x00ff'`, ['\\x00ff']],
      ranges: ['k int4range primary key', `'[1,5)'`, ['[1,5)']],
      pairs: ['k int, l text, primary key (l, k)', `7, 'seven'`, ['seven', '7']],
      named: ['"k K" int, unique ("k K"), check ("k K" is not null)', '3', []],
      uniques: ['k int not null unique', '3', ['3']],
      ci: ['k citext primary key', `'Bob'`, ['Bob']],
      numbers: ['k numeric primary key', '1.50', ['1.50']],
      chars: ['k char(5) primary key', `'ab'`, ['ab   ']],
    };
    const setup = Object.entries(tables).map(
      ([name, [keys, row]]) =>
        `create table ${name} (${keys}, v int); insert into ${name} values (${row}, 1);`,
    );
    const [source, target] = await both(
      `create extension citext; create type mood as enum ('sad', 'glad'); create domain short as varchar(3);
        ${setup.join('\n')}`,
    );
    await using _ = source;
    await using __ = target;
    await target.sql(
      Object.keys(tables)
        .map((name) => `update ${name} set v = 2;`)
        .join('\n'),
    );
    const found = await differingRows(source, target);
    for (const [name, [, , key]] of Object.entries(tables)) {
      const expected =
        key.length === 0
          ? { ...none, key: null, missing: 1, extra: 1, shown: [] }
          : { ...none, different: 1, shown: [{ kind: 'different', key, columns: ['v'] }] };
      expect({ name, rows: found[name] }).toMatchObject({ name, rows: expected });
    }
  });

  test('rows of a table without one are counted, duplicates one by one', async () => {
    const [source, target] = await both(
      `create table t (a int, b text); insert into t select i % 3, 'x' from generate_series(1, 9) i`,
    );
    await using _ = source;
    await using __ = target;
    await target.sql(`delete from t where ctid = (select min(ctid) from t where a = 1);
      insert into t values (2, 'x'), (2, 'x'), (5, null)`);
    expect(await differingRows(source, target)).toEqual({
      t: { ...none, key: null, missing: 1, extra: 3, shown: [] },
    });
  });

  test('a key that the target does not keep unique is told by its rows', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create table t (id int primary key, a text); insert into t values (1, 'a'), (2, 'b')`);
    await target.sql(`create table t (id int, a text); insert into t values (1, 'a'), (1, 'a'), (2, 'c')`);
    expect(await differingRows(source, target)).toEqual({
      t: {
        ...none,
        key: ['id'],
        extra: 1,
        different: 1,
        shown: [
          { kind: 'extra', key: ['1'], columns: [] },
          { kind: 'different', key: ['2'], columns: ['a'] },
        ],
      },
    });
  });
});

test('of very many differing rows some are named, in order, and all are counted', async () => {
  const [source, target] = await both(
    `create table t (id int primary key, a int); insert into t select i, i from generate_series(1, 30000) i; analyze t`,
  );
  await using _ = source;
  await using __ = target;
  await target.sql('update t set a = -1 where id % 2 = 0');
  const rows = (await differingRows(source, target))['t'];
  expect(rows).toMatchObject({ different: 15_000, missing: 0, extra: 0, complete: true });
  expect(rows?.shown.map(({ key }) => key[0])).toEqual(
    Array.from({ length: 20 }, (_, at) => String(2 + 2 * at)),
  );
});

test('where too many differ to be looked at, what is named is true and the numbers say that there are more', async () => {
  const [source, target] = await both(
    `create table t (id int primary key, a int); insert into t select i, i from generate_series(1, 120000) i; analyze t`,
  );
  await using _ = source;
  await using __ = target;
  await target.sql('update t set a = -1');
  const rows = (await differingRows(source, target))['t'];
  expect(rows?.complete).toBe(false);
  expect(rows).toMatchObject({ different: 1000, missing: 0, extra: 0 });
  expect(rows?.shown).toHaveLength(20);
  for (const row of rows?.shown ?? []) expect(row).toMatchObject({ kind: 'different', columns: ['a'] });
});

test('a row moved to another partition is no difference to a flat table, a changed one is', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(`create table t (id int primary key, a text) partition by range (id);
    create table t_1 partition of t for values from (0) to (10);
    create table t_2 partition of t for values from (10) to (20); insert into t values (1, 'a'), (11, 'b')`);
  await target.sql(`create table t (id int primary key, a text); insert into t values (1, 'a'), (11, 'c')`);
  expect(await differingRows(source, target)).toMatchObject({
    t: { ...none, different: 1, shown: [{ key: ['11'], columns: ['a'] }] },
  });
});

test('on the command line: the rows under the table, in JSON beside it, exit 21', async () => {
  const [source, target] = await both(
    `create table t (id int primary key, a text); insert into t values (1, 'x')`,
  );
  await using _ = source;
  await using __ = target;
  await target.sql(`update t set a = 'secret value'`);
  const sides = ['--source', source.uri, '--target', target.uri, '--rows'];
  await using text = walferry(['compare', 'data', ...sides]);
  const exit = await text.exit;
  expect(exit).toMatchObject({ code: 21, stderr: expect.stringContaining('1 with other values') });
  expect(exit.stdout).toContain('    different: id = 1 (a)\n');
  expect(exit.stdout + exit.stderr).not.toContain('secret value');
  await using json = walferry(['compare', 'data', ...sides, '--json']);
  expect(JSON.parse((await json.exit).stdout)).toMatchObject([
    { name: 't', rows: { key: ['id'], shown: [{ kind: 'different', key: ['1'], columns: ['a'] }] } },
  ]);
});
