import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { formatLsn, zeroLsn, type Lsn } from '../../src/model/lsn.js';
import type { StreamMessage } from '../../src/model/message.js';
import { unchanged } from '../../src/model/row.js';
import type { TestDatabase } from '../support/databases.js';
import { until } from '../support/until.js';
import { applied, applying, failure, key, positionOf, preparedTarget, start } from './target.js';
import {
  TestJournal,
  at,
  connected,
  endPosition,
  insert,
  keepalive,
  relation,
  remove,
  transaction,
  truncate,
  update,
} from './support.js';

/** Waits until a query finds as many rows. */
async function seen(database: TestDatabase, query: string, rows = 1): Promise<void> {
  await until(`${rows} rows come from ${query}`, async () => (await database.sql(query)).length === rows);
}

/** The applier's transaction is open, and its first insert was executed. */
const insertedInto = (table: string) =>
  `select from pg_stat_activity where datname = current_database() and wait_event = 'ClientRead'
    and application_name = 'walferry apply' and query like '%insert into "public"."${table}"%'`;

/** A session of this name waits for a lock. */
const waitingFor = (name: string) => `select from pg_stat_activity where datname = current_database()
  and application_name = '${name}' and wait_event_type = 'Lock'`;
const waiting = waitingFor('walferry apply');

const appliers = `select from pg_stat_activity where datname = current_database()
  and application_name = 'walferry apply'`;

const t = relation('t', 'id*, v');
const tTable = 'create table t (id int primary key, v text)';

describe('changes of every kind', () => {
  test('arrive, in one group and position with them', async () => {
    await using target = await preparedTarget(tTable);

    const result = await applied(target, [
      ...transaction(200, [insert(t, '1', 'a'), insert(t, '2', null), insert(t, '3', 'c')]),
      ...transaction(300, [update(t, ['1', 'it\'s "\\']), update(t, ['2', 'b'])]),
      ...transaction(400, [remove(t, '3'), update(t, ['20', 'b'], ['2']), insert(t, '2', 'new')]),
    ]);

    expect(result).toEqual({ reason: 'end', applied: at(400) });
    expect(await positionOf(target)).toBe(formatLsn(at(400)));
    expect(await target.sql('select * from t order by id')).toEqual([
      { id: '1', v: 'it\'s "\\' },
      { id: '2', v: 'new' },
      { id: '20', v: 'b' },
    ]);
  });

  test('do nothing twice: the same stream again is skipped', async () => {
    await using target = await preparedTarget(tTable);
    const stream = transaction(200, [insert(t, '1', 'a')]);
    await applied(target, stream);

    const again = await applied(target, [...stream, ...transaction(300, [insert(t, '2', 'b')])]);

    expect(again.applied).toBe(at(300));
    expect(await target.sql('select id from t order by id')).toEqual([{ id: '1' }, { id: '2' }]);
  });

  test('leave alone a TOAST value that was not sent, also when nothing else is left to set', async () => {
    await using target = await preparedTarget(`${tTable}; insert into t values (1, 'big'), (2, 'big')`);
    await applied(
      target,
      transaction(200, [update(t, ['1', unchanged]), update(t, ['20', unchanged], ['2'])]),
    );
    expect(await target.sql('select * from t order by id')).toEqual([
      { id: '1', v: 'big' },
      { id: '20', v: 'big' },
    ]);
  });

  test('give the same row its values in order', async () => {
    await using target = await preparedTarget(tTable);
    await applied(
      target,
      transaction(200, [
        insert(t, '1', 'a'),
        update(t, ['1', 'b']),
        update(t, ['1', 'c']),
        remove(t, '1'),
        insert(t, '1', 'd'),
        update(t, ['1', 'e']),
      ]),
    );
    expect(await target.sql('select * from t')).toEqual([{ id: '1', v: 'e' }]);
  });

  test('reach tables whose names and columns need quotes', async () => {
    const odd = relation('We "ird.T a', 'select*, a"b');
    await using target = await preparedTarget(
      'create schema "We ""ird"; create table "We ""ird"."T a" ("select" int primary key, "a""b" text)',
    );
    await applied(target, [
      ...transaction(200, [insert(odd, '1', 'x'), insert(odd, '2', 'x')]),
      ...transaction(300, [update(odd, ['1', 'y']), remove(odd, '2')]),
    ]);
    expect(await target.sql('select * from "We ""ird"."T a"')).toEqual([{ select: '1', 'a"b': 'y' }]);
  });

  test('make rows without any column, and with more columns than the source has', async () => {
    const bare = relation('bare', '');
    const wide = relation('wide', 'id*');
    await using target = await preparedTarget(
      `create table bare (); create table wide (id int primary key, more text default 'kept')`,
    );
    await applied(
      target,
      transaction(200, [insert(bare), insert(bare), insert(wide, '1'), insert(wide, '2')]),
    );
    expect(await target.sql('select count(*) from bare')).toEqual([{ count: '2' }]);
    expect(await target.sql('select * from wide')).toEqual([
      { id: '1', more: 'kept' },
      { id: '2', more: 'kept' },
    ]);
  });

  test('fill identity columns as the source did, and leave generated ones to the target', async () => {
    const r = relation('r', 'id*, n, seq, twice');
    await using target = await preparedTarget(`
      create table r (id int generated by default as identity primary key, n int,
        seq int generated always as identity, twice int generated always as (n * 2) stored)`);
    await applied(target, [
      ...transaction(200, [insert(r, '7', '1', '70', '999'), insert(r, '8', '2', '80', '999')]),
      ...transaction(300, [update(r, ['7', '5', '70', '999']), update(r, ['8', '6', '80', '999'])]),
    ]);
    expect(await target.sql('select * from r order by id')).toEqual([
      { id: '7', n: '5', seq: '70', twice: '10' },
      { id: '8', n: '6', seq: '80', twice: '12' },
    ]);
  });

  test('are not lost in a GENERATED ALWAYS identity that did change', async () => {
    const r = relation('r', 'id*, seq');
    await using target = await preparedTarget(`
      create table r (id int primary key, seq int generated always as identity);
      insert into r overriding system value values (1, 10)`);
    const error = await failure(applied(target, transaction(200, [update(r, ['1', '11'])])));
    expect(error.code).toBe('row-missing');
    expect(await positionOf(target)).toBe(formatLsn(start));
  });

  test('truncate all tables of the message at once, and no others', async () => {
    const parent = relation('parent', 'id*');
    const child = relation('child', 'id*, parent');
    await using target = await preparedTarget(`
      create table parent (id int generated by default as identity primary key);
      create table child (id int primary key, parent int references parent);
      create table heir () inherits (parent);
      insert into parent select from generate_series(1, 3); insert into child values (1, 1);
      insert into heir (id) values (9)`);
    await applied(target, transaction(200, [truncate([parent, child], true), insert(child, '5', null)]));
    expect(await target.sql('select id from parent')).toEqual([{ id: '9' }]);
    expect(await target.sql('select id from child')).toEqual([{ id: '5' }]);
    expect(await target.sqlAsOwner('insert into parent default values returning id')).toEqual([{ id: '1' }]);
  });

  test('truncate a partitioned table with its leaves, whose foreign key objects otherwise', async () => {
    await using target = await preparedTarget(`
      create table parent (id int primary key);
      create table child (id int, parent int references parent) partition by list (id);
      create table child_1 partition of child for values in (1);
      create table child_2 partition of child for values in (2);
      insert into parent values (1), (2); insert into child values (1, 1), (2, 2)`);
    const [parent, first, second] = [
      relation('parent', 'id*'),
      relation('child_1', 'id, parent'),
      relation('child_2', 'id, parent'),
    ];
    // Not where a leaf is left: its rows would go.
    const error = await failure(applied(target, transaction(200, [truncate([parent, first])])));
    expect(error.message).toContain('cannot truncate a table referenced in a foreign key constraint');
    await applied(target, transaction(200, [truncate([parent, first, second]), insert(parent, '3')]));
    expect(await target.sql('select id from parent')).toEqual([{ id: '3' }]);
    expect(await target.sql('select from child')).toEqual([]);
  });

  test('reach the leaves of a partitioned table', async () => {
    const p = relation('p', 'id*, v');
    await using target = await preparedTarget(`
      create table p (id int primary key, v text) partition by range (id);
      create table p1 partition of p for values from (0) to (10);
      create table p2 partition of p for values from (10) to (20)`);
    await applied(
      target,
      transaction(200, [
        insert(p, '1', 'a'),
        insert(p, '11', 'b'),
        update(p, ['1', 'c']),
        update(p, ['12', 'd'], ['11']),
        insert(p, '2', 'gone'),
        remove(p, '2'),
      ]),
    );
    expect(await target.sql('select * from p order by id')).toEqual([
      { id: '1', v: 'c' },
      { id: '12', v: 'd' },
    ]);
    await applied(target, transaction(300, [truncate([p])]));
    expect(await target.sql('select * from p')).toEqual([]);
  });
});

describe('rows without a key', () => {
  const f = relation('f', 'a, b, c', 'full');

  test.each([
    ['plain', 'create table f (a int, b numeric, c json)'],
    ['with an index on a column', 'create table f (a int, b numeric, c json); create index on f (b)'],
    [
      'partitioned',
      `create table f (a int, b numeric, c json) partition by list (a);
       create table f1 partition of f for values in (1); create table f2 partition of f default`,
    ],
  ])('are found one by one, among equal ones too: %s', async (_, table) => {
    await using target = await preparedTarget(table);
    await applied(target, [
      ...transaction(200, [
        insert(f, '1', '1.0', '{"x" :1}'),
        insert(f, '1', '1.0', '{"x" :1}'),
        insert(f, '1', '1.00', '{"x" :1}'),
        insert(f, '2', null, null),
        insert(f, '2', null, null),
        insert(f, '2', null, '{}'),
      ]),
      ...transaction(300, [
        remove(f, '1', '1.0', '{"x" :1}'),
        update(f, ['1', '5', unchanged], ['1', '1.00', '{"x" :1}']),
        update(f, ['3', '7', 'null'], ['2', null, null]),
      ]),
    ]);
    expect(await target.sql('select a, b, c from f order by a, b, c::text')).toEqual([
      { a: '1', b: '1.0', c: '{"x" :1}' },
      { a: '1', b: '5', c: '{"x" :1}' },
      { a: '2', b: null, c: '{}' },
      { a: '2', b: null, c: null },
      { a: '3', b: '7', c: 'null' },
    ]);
  });

  test('are found by a key that only the target has, in sets', async () => {
    await using target = await preparedTarget('create table f (a int primary key, b numeric, c json)');
    await applied(target, [
      ...transaction(200, [insert(f, '1', '1', null), insert(f, '2', '2', null), insert(f, '3', '3', '3')]),
      ...transaction(300, [
        update(f, ['1', '10', 'null'], ['1', '1', null]),
        update(f, ['2', '20', 'null'], ['2', '2', null]),
        update(f, ['4', '30', 'null'], ['3', '3', '3']),
        remove(f, '1', '10', 'null'),
      ]),
    ]);
    expect(await target.sql('select * from f order by a')).toEqual([
      { a: '2', b: '20', c: 'null' },
      { a: '4', b: '30', c: 'null' },
    ]);
  });

  test('are found by their identity where the target lacks its index', async () => {
    await using target = await preparedTarget('create table t (id int, v text)');
    await applied(target, [
      ...transaction(200, [insert(t, '1', 'a'), insert(t, '2', 'b')]),
      ...transaction(300, [update(t, ['1', 'c']), remove(t, '2')]),
    ]);
    expect(await target.sql('select * from t')).toEqual([{ id: '1', v: 'c' }]);

    await target.sqlAsOwner(`insert into t values (1, 'twice')`);
    const error = await failure(applied(target, transaction(400, [update(t, ['1', 'd'])])));
    expect(error.code).toBe('row-missing');
    expect(error.message).toContain(`where id = '1'`);
    expect(error.message).toContain('2 rows');
  });

  test('a missing one stops the stream', async () => {
    await using target = await preparedTarget('create table f (a int, b numeric, c json)');
    const error = await failure(applied(target, transaction(200, [remove(f, '1', '1', null)])));
    expect(error.code).toBe('row-missing');
    expect(error.message).toContain('delete of public.f (which has no key)');
  });
});

describe('values', () => {
  const columns: [type: string, ...values: (string | null)[]][] = [
    ['numeric', 'NaN', '1.000', '-0.0000000000000000000000001', null],
    ['float8', '-0', 'Infinity', '1e-307', '0.1'],
    ['text', '', '{"a,b", NULL}', 'NULL', String.raw`back\slash \n "quoted" 'single' ünïcödé 🐘`],
    ['int[]', '{1,NULL,3}', '[2:3]={7,8}', '{}', '{{1,2},{3,4}}'],
    ['text[]', '{"a b","c\\"d",NULL,"NULL"}', '{}', null, '{x}'],
    ['bytea', String.raw`\x00ff`, String.raw`\x`, null, String.raw`\x5c`],
    ['json', '{"b" : 1,  "a":2}', 'null', '"x"', null],
    ['jsonb', '{"a": 2, "b": 1}', 'null', '[]', null],
    ['xml', '<a>1</a>', 'text only', null, '<b/>'],
    ['money', '$1,234.56', '-$0.01', null, '$0.00'],
    ['char(5)', 'ab   ', '     ', 'abcde', null],
    ['"char"', 'x', '', null, 'y'],
    ['varchar(3)', 'abc', '', null, ' x '],
    ['bit(4)', '1010', '0000', null, '1111'],
    ['varbit', '1', '', null, '10101'],
    ['int4range', '[1,5)', 'empty', '(,)', null],
    ['int4multirange', '{[1,5),[7,9)}', '{}', null, '{(,3)}'],
    ['timestamptz', '2024-02-29 12:34:56.789012+00', 'infinity', '0044-03-15 00:00:00+00 BC', null],
    ['interval', '1 year 2 mons -3 days +04:05:06.789', '00:00:00', null, '-1 days'],
    ['date', '2024-02-29', '-infinity', null, '0001-01-01 BC'],
    ['uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', null, null, null],
    ['inet', '10.0.0.1/8', '::1', null, '10.0.0.1'],
    ['point', '(1,2)', '(-0.5,1e+20)', null, '(0,0)'],
    ['box', '(2,2),(1,1)', null, null, '(0,0),(0,0)'],
    ['tsvector', `'a':1A 'b':2`, '', null, `'x'`],
    ['bool', 't', 'f', null, 't'],
    ['name', 'a_name', '', null, 'x'],
    ['regclass', 'pg_class', '-', null, 'pg_type'],
    ['extra.mood', 'so so', 'sad', null, 'sad'],
    ['extra.pair', '(1,"a, b")', '(,)', null, '(2,)'],
    ['extra.pair[]', '{"(1,\\"a, b\\")",NULL}', '{}', null, '{}'],
    ['extra.positive', '1', '2', null, '3'],
    ['extra.citext', 'MiXed', '', null, 'x'],
    ['extra.odd', '<one>', '<two>', null, '<three>'],
  ];
  const types = `
    create schema extra; create extension citext schema extra;
    create type extra.mood as enum ('sad', 'so so');
    create type extra.pair as (n int, label text);
    create domain extra.positive as int check (value > 0);
    create type extra.odd as enum ('<one>', '<two>', '<three>');
    create function extra.misread(text) returns extra.odd language sql as $$ select '<three>'::extra.odd $$;
    create cast (text as extra.odd) with function extra.misread(text) as assignment;`;
  const columnNames = columns.map((_, n) => `c${n}`);
  const table = `${types} create table v (id int primary key, ${columns.map(([type], n) => `c${n} ${type}`).join(', ')})`;
  const rows = [1, 2, 3, 4].map((n) => [String(n), ...columns.map((column) => column[n] ?? null)]);
  // As the type's own output function prints it, which a cast to text does not always do.
  const printed = (name: string) => `case when num_nulls(${name}) = 0 then concat(${name}) end as ${name}`;
  const select = `select id::text, ${columnNames.map(printed).join(', ')} from v order by id`;
  const asObjects = (list: readonly (string | null)[][]) =>
    list.map((row) => Object.fromEntries(['id', ...columnNames].map((name, n) => [name, row[n] ?? null])));

  const expected = asObjects(rows);

  test.each(['default', 'full'] as const)(
    'of every type arrive as they are, identity %s',
    async (identity) => {
      const v = relation('v', ['id*', ...columnNames].join(','), identity);
      const withoutKey = table.replace('primary key', '');
      await using target = await preparedTarget('select 1');
      await target.sql(identity === 'full' ? withoutKey : table);
      await target.sql(
        `grant usage on schema extra to public; alter table v owner to walferry_neon; set timezone = 'UTC'; set lc_monetary = 'C'`,
      );
      const zeros = (id: string) => [id, ...columns.map(() => null)];

      await applied(
        target,
        transaction(
          200,
          rows.map((row) => insert(v, ...row)),
        ),
      );
      expect(await target.sql(select)).toEqual(expected);

      const old = (row: readonly (string | null)[]) => (identity === 'full' ? row : null);
      await applied(target, [
        ...transaction(
          300,
          rows.map((row) => update(v, zeros(row[0] as string), old(row))),
        ),
        ...transaction(
          400,
          rows.map((row) => update(v, row, old(zeros(row[0] as string)))),
        ),
      ]);
      expect(await target.sql(select)).toEqual(expected);

      await applied(
        target,
        transaction(
          500,
          rows.map((row) => remove(v, ...(identity === 'full' ? row : [row[0] as string]))),
        ),
      );
      expect(await target.sql(select)).toEqual([]);
    },
  );

  test('too long for the column are refused, not cut', async () => {
    const r = relation('r', 'id*, v');
    await using target = await preparedTarget('create table r (id int primary key, v varchar(3))');
    const error = await failure(applied(target, transaction(200, [insert(r, '1', 'abcd')])));
    expect(error.code).toBe('target-statement');
    expect(await positionOf(target)).toBe(formatLsn(start));
  });

  test.each([
    ['citext', 'create extension citext schema extra', 'extra.citext', 'MiXed', 'other'],
    ['an enum', `create type extra.mood as enum ('a', 'b', 'c')`, 'extra.mood', 'a', 'c'],
    ['an array', '', 'int[]', '{1,2}', '{3,4}'],
    ['a domain', 'create domain extra.num as numeric check (value > 0)', 'extra.num', '1.50', '2'],
    ['a domain over an array', 'create domain extra.list as int[]', 'extra.list', '{1,2}', '{2}'],
    ['a composite', 'create type extra.pair as (a int, b text)', 'extra.pair', '(1,x)', '(2,y)'],
    ['char(n)', '', 'char(4)', 'a   ', 'b   '],
    ['a range', '', 'int4range', '[1,3)', '[5,7)'],
    ['bytea', '', 'bytea', String.raw`\x00`, String.raw`\x01`],
  ])('of %s serve as a key', async (_, before, type, one, two) => {
    await using target = await preparedTarget('create schema extra');
    await target.sql(
      `${before}; create table t (id ${type} primary key, v text); alter table t owner to walferry_neon; grant usage on schema extra to public`,
    );
    await applied(target, [
      ...transaction(200, [insert(t, one, 'a'), insert(t, two, 'b')]),
      ...transaction(300, [update(t, [one, 'c']), update(t, [two, 'd'])]),
      ...transaction(400, [remove(t, two)]),
    ]);
    expect(await target.sql('select v from t')).toEqual([{ v: 'c' }]);
  });
});

describe('the end position', () => {
  const stream = [
    ...transaction(200, [insert(t, '1', 'a')]),
    ...transaction(300, [insert(t, '2', 'b')]),
    ...transaction(400, [insert(t, '3', 'c')]),
  ];
  const known = (unknown: boolean) =>
    [200, 300, 400].flatMap((end, n) => transaction(end, [insert(t, String(n + 1), 'x')], { unknown }));

  // The commit record of the second transaction goes from 290 to 300.
  test.each([
    ['before the first commit', 189, 0],
    ['at the start of a commit record', 290, 1],
    ['inside of a commit record', 295, 1],
    ['exactly at a commit', 300, 2],
    ['between two commits', 350, 2],
    ['exactly at the last one', 400, 3],
  ])('%s: %i', async (_, end, rows) => {
    for (const unknown of [false, true]) {
      await using target = await preparedTarget(tTable);
      const journal = new TestJournal(known(unknown));
      const result = await applying(target, journal, { endpos: () => at(end) });
      expect(result.reason).toBe('endpos');
      expect(result.applied).toBe([start, at(200), at(300), at(400)][rows]);
      expect(await target.sql('select count(*) from t')).toEqual([{ count: String(rows) }]);
      expect(await positionOf(target)).toBe(formatLsn(result.applied));
    }
  });

  test('is reached by a keepalive when the source is idle, and the position moves with it', async () => {
    await using target = await preparedTarget(tTable);
    const journal = new TestJournal([...stream, keepalive(450), keepalive(510)]);
    const result = await applying(target, journal, { endpos: () => at(500) });
    expect(result).toEqual({ reason: 'endpos', applied: at(510) });
  });

  test('is reached by the receiver saying so, and the position stays at a record', async () => {
    await using target = await preparedTarget(tTable);
    const journal = new TestJournal([...stream, endPosition(500)]);
    const result = await applying(target, journal, { endpos: () => at(500) });
    expect(result).toEqual({ reason: 'endpos', applied: at(400) });
  });

  test.each([
    ['that is being applied', false, false],
    ['that is being applied, with an end that nobody knows yet', true, false],
    ['that may be applied already', true, true],
  ])('set in the middle of a transaction %s takes nothing of it', async (_, unknown, again) => {
    await using target = await preparedTarget(tTable);
    if (again) await applied(target, stream);
    let endpos = zeroLsn;
    const set: StreamMessage = {
      kind: 'endpos',
      get lsn() {
        endpos = at(400);
        return at(400);
      },
    };
    const rows = [insert(t, '5', 'e'), update(t, ['1', 'e'])];
    const journal = new TestJournal([...stream, ...transaction(500, rows, { cut: true, unknown }), set]);
    const result = await applying(target, journal, { endpos: () => endpos });
    expect(result).toEqual({ reason: 'endpos', applied: at(400) });
    expect(await target.sql('select id from t where id = 5')).toEqual([]);

    // Where the stream goes on it comes again, whole, and is applied.
    journal.feed(connected(400), ...transaction(500, rows, { unknown }), endPosition(500));
    const next = await applying(target, journal, { endpos: () => at(500) });
    expect(next).toEqual({ reason: 'endpos', applied: at(500) });
    expect(await target.sql('select id from t where id = 5')).toEqual([{ id: '5' }]);
  });

  test('set while running is seen, also when nothing comes any more', async () => {
    await using target = await preparedTarget(tTable);
    let endpos = zeroLsn;
    const result = await applying(target, new TestJournal(stream), {
      endpos: () => endpos,
      onApplied: (lsn) => {
        if (lsn === at(400)) endpos = at(400);
      },
    });
    expect(result).toEqual({ reason: 'endpos', applied: at(400) });
  });

  test('moves the position soon behind much that is not the stream’s own, and behind little when there is time', async () => {
    await using target = await preparedTarget(tTable);
    const journal = new TestJournal(stream);
    const stop = new AbortController();
    const moves: Lsn[] = [];
    const running = applying(target, journal, { signal: stop.signal, onApplied: (lsn) => moves.push(lsn) });
    await until('the stream is applied', () => moves.includes(at(400)));
    const little = at(400 + 1024 * 1024);
    const much = at(400 + 20 * 1024 * 1024);
    journal.feed(keepalive(Number(little)));
    await sleep(500);
    expect(moves).not.toContain(little);
    journal.feed(keepalive(Number(much)));
    await until('the position is there', () => moves.includes(much), { timeoutMs: 5000 });
    expect(await positionOf(target)).toBe(formatLsn(much));
    stop.abort();
    expect((await failure(running)).code).toBe('stopped');
  });

  test('that was raised after a stop lets the next run go on', async () => {
    await using target = await preparedTarget(tTable);
    await applying(target, new TestJournal(stream), { endpos: () => at(295) });
    const result = await applying(target, new TestJournal(stream), { endpos: () => at(400) });
    expect(result.applied).toBe(at(400));
    expect(await target.sql('select count(*) from t')).toEqual([{ count: '3' }]);
  });
});

describe('unfinished transactions', () => {
  test('that the source sends again are applied once', async () => {
    await using target = await preparedTarget(tTable);
    const changes = [insert(t, '2', 'b'), insert(t, '3', 'c')];
    await applied(target, [
      ...transaction(200, [insert(t, '1', 'a')]),
      ...transaction(300, changes, { cut: true }),
      connected(200),
      ...transaction(300, changes.slice(0, 1), { cut: true }),
      connected(200),
      ...transaction(300, changes),
      ...transaction(400, [remove(t, '2')]),
    ]);
    expect(await target.sql('select id from t order by id')).toEqual([{ id: '1' }, { id: '3' }]);
    expect(await positionOf(target)).toBe(formatLsn(at(400)));
  });

  test('at the end of the source are not applied', async () => {
    await using target = await preparedTarget(tTable);
    const result = await applied(target, [
      ...transaction(200, [insert(t, '1', 'a')]),
      ...transaction(300, [insert(t, '2', 'b')], { cut: true }),
    ]);
    expect(result).toEqual({ reason: 'end', applied: at(200) });
    expect(await target.sql('select id from t')).toEqual([{ id: '1' }]);
  });

  test('are rolled back by a stop, whole ones are kept', async () => {
    await using target = await preparedTarget(tTable);
    const stop = new AbortController();
    const journal = new TestJournal([
      ...transaction(200, [insert(t, '1', 'a')]),
      ...transaction(300, [insert(t, '2', 'b')], { cut: true }),
    ]);
    const running = failure(applying(target, journal, { signal: stop.signal }));
    await seen(target, insertedInto('t'));
    const asked = Date.now();
    stop.abort();

    const error = await running;
    expect(error.code).toBe('stopped');
    expect(Date.now() - asked).toBeLessThan(2000);
    const resumed = await applied(target, [
      ...transaction(200, [insert(t, '1', 'a')]),
      ...transaction(300, [insert(t, '2', 'b')]),
    ]);
    expect(resumed.applied).toBe(at(300));
    expect(await target.sql('select id from t order by id')).toEqual([{ id: '1' }, { id: '2' }]);
  });

  test('a stop while idle is immediate', async () => {
    await using target = await preparedTarget(tTable);
    const stop = new AbortController();
    const journal = new TestJournal(transaction(200, [insert(t, '1', 'a')]));
    const error = await failure(
      applying(target, journal, { signal: stop.signal, onApplied: () => stop.abort() }),
    );
    expect(error.code).toBe('stopped');
    expect(await positionOf(target)).toBe(formatLsn(at(200)));
  });
});

describe('a change that cannot be applied', () => {
  test('to a row that is missing stops right before its transaction, and names it', async () => {
    await using target = await preparedTarget(tTable);
    const stream = [
      ...transaction(200, [insert(t, '1', 'a')]),
      ...transaction(300, [insert(t, '2', 'secret'), update(t, ['1', 'b']), update(t, ['77', 'secret'])], {
        xid: 4711,
      }),
      ...transaction(400, [insert(t, '3', 'c')]),
    ];
    const error = await failure(applied(target, stream));
    expect(error.code).toBe('row-missing');
    expect(error.message).toBe(
      `target: update of public.t where id = '77' of transaction 4711 (commit ${formatLsn(at(290))}) found no row`,
    );
    expect(await positionOf(target)).toBe(formatLsn(at(200)));
    expect(await target.sql('select * from t')).toEqual([{ id: '1', v: 'a' }]);

    // Put right, it goes on.
    await target.sqlAsOwner(`insert into t values (77, '')`);
    expect((await applied(target, stream)).applied).toBe(at(400));
  });

  test('is named in a transaction of several tables too, each used for the first time', async () => {
    await using target = await preparedTarget(
      `${tTable}; create table w (id int primary key); create table x (id int primary key)`,
    );
    const w = relation('w', 'id*');
    const x = relation('x', 'id*');
    await applied(target, transaction(200, [insert(t, '1', 'a'), insert(t, '2', 'a')]));
    const missing = update(t, ['77', 'b']);
    const scripts = [
      [missing, update(t, ['1', 'b']), insert(w, '1')],
      [update(t, ['1', 'b']), insert(w, '1'), missing, update(t, ['2', 'b']), insert(x, '1')],
      [update(t, ['1', 'b']), missing, update(t, ['2', 'b']), truncate([w])],
    ];
    for (const changes of scripts) {
      const error = await failure(applied(target, transaction(300, changes, { xid: 9 })));
      expect([error.code, error.message]).toEqual([
        'row-missing',
        `target: update of public.t where id = '77' of transaction 9 (commit ${formatLsn(at(290))}) found no row`,
      ]);
    }
    expect(await target.sql('select id, v from t order by id')).toEqual([
      { id: '1', v: 'a' },
      { id: '2', v: 'a' },
    ]);
  });

  test('because the table or a column is missing', async () => {
    await using target = await preparedTarget('create table t (id int primary key)');
    const stream = transaction(200, [insert(t, '1', 'a')], { xid: 5 });
    const noColumn = await failure(applied(target, stream));
    expect([noColumn.code, noColumn.message]).toEqual([
      'relation-missing',
      `target: the table public.t has no column "v" (needed by transaction 5 (commit ${formatLsn(at(190))}))`,
    ]);
    const other = relation('other', 'id*');
    const noTable = await failure(applied(target, transaction(200, [insert(other, '1')])));
    expect(noTable.message).toContain('the table public.other does not exist');
    expect(await positionOf(target)).toBe(formatLsn(start));
  });

  test('because of a constraint of the target, also one checked at COMMIT', async () => {
    await using target = await preparedTarget(`
      ${tTable}; create table u (id int primary key, t int references t deferrable initially immediate)`);
    const u = relation('u', 'id*, t');
    // Deferred as on the source: the row that is referred to comes later in the transaction.
    await applied(target, transaction(200, [insert(u, '1', '1'), insert(t, '1', 'a')]));

    const atCommit = await failure(applied(target, transaction(300, [insert(u, '2', '99')], { xid: 8 })));
    expect(atCommit.code).toBe('target-statement');
    expect(atCommit.message).toContain('could not commit transaction 8');
    expect(atCommit.message).toContain('u_t_fkey');
    expect(atCommit.message).not.toContain('99');

    const twice = await failure(applied(target, transaction(300, [insert(t, '1', 'b')])));
    expect(twice.message).toContain('insert of public.t of transaction 300');
    expect(twice.message).toContain('t_pkey');
    expect(twice.remedy).not.toContain('replica identity');
    // The same under no replica identity: the row may be gone on the source, and its delete has not come.
    const unidentified = relation('t', 'id, v', 'nothing');
    const gone = await failure(applied(target, transaction(300, [insert(unidentified, '1', 'b')])));
    expect(gone.message).toContain('t_pkey');
    expect(gone.remedy).toContain('has no replica identity');
    expect(await positionOf(target)).toBe(formatLsn(at(200)));
  });

  test('because a trigger of the target swallows it', async () => {
    await using target = await preparedTarget(`
      ${tTable}; create function nothing() returns trigger language plpgsql as 'begin return null; end';
      create trigger swallow before insert on t for each row execute function nothing()`);
    const error = await failure(applied(target, transaction(200, [insert(t, '1', 'a')])));
    expect(error.message).toContain('made 0 rows instead of one: a trigger');
  });

  test('in a set but can one by one is applied one by one, and sets go on behind it', async () => {
    await using target = await preparedTarget('create table t (id int primary key, v text)');
    // What a set cannot do for a reason that only the target has: no two rows of one statement.
    await target.sqlAsOwner(`
      create function one_by_one() returns trigger language plpgsql as $$
        begin if (select count(*) from added) > 1 then raise 'one by one'; end if; return null; end $$;
      create trigger only_one after insert on t referencing new table as added
        for each statement execute function one_by_one()`);
    const result = await applied(target, [
      ...transaction(200, [insert(t, '1', 'a'), insert(t, '2', 'b')]),
      ...transaction(300, [insert(t, '3', 'c')]),
      ...transaction(400, [remove(t, '1'), remove(t, '2')]),
    ]);
    expect(result.applied).toBe(at(400));
    expect(await target.sql('select id from t')).toEqual([{ id: '3' }]);
  });

  test('values that swap places under a second unique constraint arrive', async () => {
    const r = relation('r', 'id*, u');
    await using target = await preparedTarget(
      'create table r (id int primary key, u int unique deferrable initially immediate, e int unique)',
    );
    await applied(target, [
      ...transaction(200, [insert(r, '1', '1'), insert(r, '2', '2')]),
      ...transaction(300, [update(r, ['1', '2']), update(r, ['2', '1'])]),
      // By a third value: each step is legal alone, and only in this order.
      ...transaction(400, [update(r, ['1', '9']), update(r, ['2', '2']), update(r, ['1', '1'])]),
      // Keys that swap.
      ...transaction(500, [
        update(r, ['3', '1'], ['1']),
        update(r, ['1', '2'], ['2']),
        update(r, ['2', '1'], ['3']),
      ]),
    ]);
    expect(await target.sql('select id, u from r order by id')).toEqual([
      { id: '1', u: '2' },
      { id: '2', u: '1' },
    ]);
  });
});

describe('the guard', () => {
  test('a second applier of the same stream waits for the first, and then stops', async () => {
    await using target = await preparedTarget('create table log (n int)');
    const log = relation('log', 'n', 'nothing');
    const first = new TestJournal(transaction(200, [insert(log, '1')]));
    const second = new TestJournal(transaction(200, [insert(log, '1')]));
    const stop = new AbortController();
    let isApplied = false;
    const onApplied = () => {
      isApplied = true;
    };
    const applier = failure(applying(target, first, { signal: stop.signal, onApplied }));
    await until('the first has applied', () => isApplied);
    const loser = await failure(applying(target, second, { lockForMs: 300 }));
    expect(loser.code).toBe('position-moved');
    expect(loser.message).toMatch(
      /another session \(process \d+ of the server\) applies the stream "walferry"/,
    );

    // One that waits goes on when the first has ended.
    const patient = new TestJournal(
      [...transaction(200, [insert(log, '1')]), ...transaction(300, [insert(log, '2')])],
      { closed: true },
    );
    const going = applying(target, patient);
    await seen(target, appliers, 2);
    stop.abort();
    expect((await applier).code).toBe('stopped');
    expect((await going).applied).toBe(at(300));
    expect(await target.sql('select n from log order by n')).toEqual([{ n: '1' }, { n: '2' }]);
  });

  test('a group that waited for somebody who applied it does nothing', async () => {
    await using target = await preparedTarget('create table log (n int)');
    const log = relation('log', 'n', 'nothing');
    const other = await target.session();
    await other.sql(
      `begin; insert into log values (1); update walferry.position set lsn = '${formatLsn(at(200))}'`,
    );
    const error = failure(applying(target, new TestJournal(transaction(200, [insert(log, '1')]))));
    await seen(target, waiting, 1);
    await other.sql('commit');
    expect((await error).code).toBe('position-moved');
    expect(await target.sql('select n from log')).toEqual([{ n: '1' }]);
  });

  test('a position moved by somebody else in between stops the stream', async () => {
    await using target = await preparedTarget(tTable);
    const journal = new TestJournal(transaction(200, [insert(t, '1', 'a')]));
    const error = await failure(
      applying(target, journal, {
        onApplied: () => {
          void target
            .sql(`update walferry.position set lsn = '0/999'`)
            .then(() => journal.feed(...transaction(300, [insert(t, '2', 'b')])));
        },
      }),
    );
    expect(error.code).toBe('position-moved');
    expect(await target.sql('select id from t')).toEqual([{ id: '1' }]);
  });

  test('groups behind a failed one do nothing', async () => {
    await using target = await preparedTarget(tTable);
    const stream = [
      ...transaction(200, [insert(t, '1', 'a'), insert(t, '1', 'twice')]),
      ...Array.from({ length: 50 }, (_, n) =>
        transaction(300 + n * 20, [insert(t, String(n + 2), 'b')]),
      ).flat(),
    ];
    // One transaction a batch, so that many groups are on their way.
    const error = await failure(applying(target, new TestJournal(stream, { closed: true, batch: 3 })));
    expect(error.code).toBe('target-statement');
    expect(await target.sql('select id from t')).toEqual([]);
    expect(await positionOf(target)).toBe(formatLsn(start));
  });

  test('a stream without a position is refused', async () => {
    await using target = await preparedTarget(tTable);
    const error = await failure(applied(target, [], { key: { ...key, stream: 'other' } }));
    expect(error.code).toBe('target-setup');
  });
});

describe('a lost connection to the target', () => {
  const kill = `select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'walferry apply' and datname = current_database()`;

  test('is mended, at every stage, without losing or repeating anything', async () => {
    await using target = await preparedTarget('create table log (n int)');
    const log = relation('log', 'n', 'nothing');
    const count = 400;
    const stream = Array.from({ length: count }, (_, n) =>
      transaction(
        200 + n * 20,
        Array.from({ length: 5 }, () => insert(log, String(n))),
      ),
    ).flat();
    const journal = new TestJournal([], { batch: 7 });
    const running = applying(target, journal, {
      endpos: () => at(200 + (count - 1) * 20),
      longestPauseMs: 100,
    });
    // What goes wrong meanwhile is told below.
    running.catch(() => {});
    for (let from = 0; from < stream.length; from += 100) {
      // Every other time the new connection has got as far as reading.
      const before = journal.opened;
      journal.feed(...stream.slice(from, from + 100));
      await seen(target, kill);
      if (from % 200 === 0) await until('it reads again', async () => journal.opened > before);
    }

    const result = await running;

    expect(result.applied).toBe(at(200 + (count - 1) * 20));
    expect(await target.sql('select count(*), count(distinct n) as n from log')).toEqual([
      { count: String(count * 5), n: String(count) },
    ]);
    expect(journal.opened).toBeGreaterThan(10);
  });

  test('in the middle of a transaction repeats that transaction alone', async () => {
    await using target = await preparedTarget(tTable);
    const journal = new TestJournal([
      ...transaction(200, [insert(t, '1', 'a')]),
      ...transaction(300, [insert(t, '2', 'b')], { cut: true }),
    ]);
    const running = applying(target, journal, { endpos: () => at(300) });
    await seen(target, insertedInto('t'));
    await target.sql(kill);
    journal.feed(...transaction(300, []).slice(1));
    expect(await running).toEqual({ reason: 'endpos', applied: at(300) });
    expect(await target.sql('select id from t order by id')).toEqual([{ id: '1' }, { id: '2' }]);
  });

  test('during COMMIT is settled by the position row', async () => {
    await using target = await preparedTarget(`
      ${tTable};
      create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.5); return null; end';
      create constraint trigger slow after insert on t initially deferred for each row execute function slow()`);
    const journal = new TestJournal(transaction(200, [insert(t, '1', 'a')]));
    const running = applying(target, journal, { endpos: () => at(200) });
    await seen(
      target,
      `select from pg_stat_activity where datname = current_database() and query = 'commit' and wait_event = 'PgSleep'`,
    );
    await target.sql(kill);
    expect((await running).applied).toBe(at(200));
    expect(await target.sql('select id from t')).toEqual([{ id: '1' }]);
  });

  test('that does not come back ends the run, resumable', async () => {
    await using target = await preparedTarget(tTable);
    const journal = new TestJournal();
    const running = failure(applying(target, journal, { retryForMs: 300 }));
    await seen(target, kill);
    // A server that hangs up on every statement.
    // What is still asked of it when the test ends is given up.
    const again = setInterval(() => void target.sql(kill).catch(() => {}), 5);
    const error = await running;
    clearInterval(again);
    expect(error.code).toMatch(/^target-(?:disconnected|unreachable)$/);
    expect(error.policy.retry).toBe(true);
  });

  test('a deadlock is tried again', async () => {
    await using target = await preparedTarget(`${tTable}; insert into t values (1, 'a'), (2, 'b')`);
    await target.sql(`alter database ${target.name} set deadlock_timeout = '50ms'`);
    const other = await target.session();
    await other.sql(`set deadlock_timeout = '1min'; begin; update t set v = 'x' where id = 2`);
    const whole = transaction(200, [update(t, ['1', 'c']), insert(t, '3', ''), update(t, ['2', 'd'])]);
    const journal = new TestJournal(whole.slice(0, 3));
    const running = applying(target, journal, { endpos: () => at(200) });
    await seen(target, insertedInto('t'));
    // The applier is the one that closes the circle: it looks for one once, when it has waited for a moment.
    const others = other.sql(`update t set v = 'x' where id = 1; commit`);
    others.catch(() => {});
    await seen(target, waitingFor('test'));
    journal.feed(...whole.slice(3));
    await others;
    expect((await running).applied).toBe(at(200));
    expect(await target.sql('select * from t order by id')).toEqual([
      { id: '1', v: 'c' },
      { id: '2', v: 'd' },
      { id: '3', v: '' },
    ]);
  });
});
