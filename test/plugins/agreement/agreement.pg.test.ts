import { expect, test } from 'vitest';
import { createDatabase } from '../../support/databases.js';
import type { MemoryJournal } from '../../receive/stream-tools.js';
import { createStreams, readAll, readStream, plugins, transactionsOf } from './streams.js';
import { identityScript, identitySchema, typesSchema, typesScript } from './script.js';

/** TRUNCATE through wal2json has no flags: the one thing that is not the same. */
function withoutFlags(transactions: unknown[]): unknown {
  return JSON.parse(
    JSON.stringify(transactions, (key, value: unknown) => {
      if (key === 'restart' || key === 'cascade') return null;
      return typeof value === 'bigint' ? String(value) : value;
    }),
  );
}

test.each([
  ['every type, and every text that could be mistaken', typesSchema, typesScript],
  ['every identity, key change, TOAST value and TRUNCATE', identitySchema, identityScript],
])('the three plugins give the same changes: %s', async (_what, schema, script) => {
  await using source = await createDatabase('source');
  await source.sql(schema);
  await using made = await createStreams(source);
  for (const statement of script) {
    await source.sql(statement).catch((error: unknown) => {
      throw new Error(`the script is wrong: ${statement.slice(0, 300)}`, { cause: error });
    });
  }

  const { pgoutput, wal2json, test_decoding: testDecoding } = await readAll(source, made.streams);
  if (pgoutput === undefined || wal2json === undefined || testDecoding === undefined)
    throw new Error('no journal');

  const expected = transactionsOf(pgoutput);
  expect(expected.length).toBeGreaterThan(10);
  expect(transactionsOf(testDecoding)).toEqual(expected);
  expect(withoutFlags(transactionsOf(wal2json))).toEqual(withoutFlags(expected));
});

const messages = ({ messages: all }: MemoryJournal) =>
  all.flatMap((message) =>
    message.kind === 'message'
      ? [[message.xid !== null, message.prefix, Buffer.from(message.content, 'base64').toString('latin1')]]
      : [],
  );

test('logical messages of ours are bytes, and wal2json cuts them at a NUL; those of others are left out', async () => {
  await using source = await createDatabase('source');
  await using made = await createStreams(source);
  const emit = (transactional: boolean, prefix: string, content: string) =>
    source.sql(`select pg_logical_emit_message(${transactional}, '${prefix}', ${content})`);
  await emit(true, 'walferry', `'a"\\\nb€'`);
  for (const theirs of [
    'p, sz: 3 content:ü',
    '"prefix":"walferry"',
    'walferry, sz: 0 content:',
    'walferr',
    '',
  ]) {
    await emit(true, theirs, `'abc'`);
    await emit(false, theirs, `'\\x00ff41'::bytea`);
  }
  await emit(true, 'walferry', `repeat('x', 2000)`);
  await emit(false, 'walferry', `'\\xff0041'::bytea`);
  await emit(true, 'walferry', `''`);

  const journals = await readAll(source, made.streams);

  const utf8 = (text: string) => Buffer.from(text).toString('latin1');
  const expected = (binary: string) => [
    [true, 'walferry', utf8('a"\\\nb€')],
    [false, 'walferry', binary],
    [true, 'walferry', ''],
  ];
  expect(messages(journals['pgoutput']!)).toEqual(expected('\xff\0A'));
  expect(messages(journals['test_decoding']!)).toEqual(expected('\xff\0A'));
  expect(messages(journals['wal2json']!)).toEqual(expected('\xff'));
});

test('tables that change while they are followed, and tables that are not followed', async () => {
  await using source = await createDatabase('source');
  await source.sql(`
    create table grows (id int primary key, a text);
    create table renamed (id int primary key, a text);
    create table becomes_full (id int primary key, a text not null, b int);
    create table becomes_index (id int primary key, a text not null unique, b int);
    create table goes (id int primary key, a text);
    create table type_changes (id int primary key, a int);
    create table shrinks (id int primary key, a text, b text);
    alter table shrinks alter b set storage external`);
  await using made = await createStreams(source);
  const script = [
    `insert into grows values (1, 'before')`,
    `alter table grows add column b int default 7, add column twice int generated always as (id * 2) stored`,
    `insert into grows values (2, 'after', 8)`,
    `update grows set a = 'changed'`,
    `alter table grows drop column a`,
    `begin; alter table grows add column c text; insert into grows values (3, 9, default, 'same transaction'); commit`,
    `delete from grows where id < 3`,
    `alter table renamed rename to other_name`,
    `insert into other_name values (1, 'x')`,
    `update other_name set a = 'y'`,
    `insert into becomes_full values (1, 'a', 1), (2, 'b', null)`,
    `update becomes_full set b = b + 1`,
    `alter table becomes_full replica identity full`,
    `update becomes_full set b = b + 1`,
    `delete from becomes_full where id = 1`,
    `insert into becomes_index values (1, 'a', 1), (2, 'b', 2)`,
    `update becomes_index set id = id + 10`,
    `alter table becomes_index replica identity using index becomes_index_a_key`,
    `update becomes_index set a = 'c' where id = 11`,
    `delete from becomes_index`,
    `insert into goes values (1, 'x')`,
    `update goes set a = 'y'`,
    `drop table goes`,
    `insert into type_changes values (1, 1)`,
    `alter table type_changes alter a type text`,
    `insert into type_changes values (2, 'x''y')`,
    `update type_changes set a = 'z' where id = 1`,
    `insert into shrinks values (1, 'x', repeat('b', 9000))`,
    `update shrinks set a = 'y'`,
    `alter table shrinks drop column a`,
    `insert into shrinks values (2, 'z')`,
    `update shrinks set id = 3 where id = 1`,
    `create table made_later (id int primary key); insert into made_later values (1)`,
    `create table comes_and_goes (a int); insert into comes_and_goes values (1); drop table comes_and_goes`,
    `insert into made_later values (2); update made_later set id = 3 where id = 2`,
  ];
  for (const statement of script) await source.sql(statement);

  const journals = await readAll(source, made.streams);

  // How the table was made when it was printed last: what follows is the same rows by name.
  const byName = (journal: MemoryJournal) =>
    journal.applied.map((change) => {
      if (change.kind === 'truncate') return change;
      const { relation } = change;
      const named = (positions: readonly number[], cells: readonly unknown[] | null) =>
        cells === null
          ? null
          : Object.fromEntries(cells.map((cell, nth) => [relation.columns[positions[nth]!]!.name, cell]));
      return [
        change.kind,
        relation.name,
        relation.identity,
        change.kind === 'insert' ? null : named(relation.key, change.key),
        change.kind === 'delete' ? null : named([...relation.columns.keys()], change.row),
      ];
    });
  const expected = byName(journals['pgoutput']!);
  expect(expected).toHaveLength(32);
  expect(byName(journals['test_decoding']!)).toEqual(expected);
  expect(byName(journals['wal2json']!)).toEqual(expected);
});

test.each([
  [
    'test_decoding',
    `update no_key set b = 'y'`,
    /an update in public\.no_key, which has no replica identity/,
  ],
  ['test_decoding', `delete from no_key`, /a delete in public\.no_key, which has no replica identity/],
  ['wal2json', `update no_key set b = 'y'`, /no tuple identifier for UPDATE in table "public"\."no_key"/],
  ['wal2json', `delete from no_key`, /no tuple identifier for DELETE in table "public"\."no_key"/],
  [
    'wal2json',
    `insert into numbers values (1, 'NaN', null, 1.5)`,
    /public\.numbers holds NULL and NaN .* columns a, b, and both are printed as null/,
  ],
  [
    'wal2json',
    `update numbers set b = 'Infinity' where id = 9`,
    /public\.numbers holds NULL and NaN .* columns a, b, and both are printed as null/,
  ],
  ...(['wal2json', 'test_decoding'] as const).map(
    (name) =>
      [
        name,
        `alter table numbers rename to between_names; delete from between_names; alter table between_names rename to last_name`,
        /a change in public\.between_names, .* it may be public\.numbers, which was renamed or dropped/,
      ] as const,
  ),
] as const)('%s refuses what it cannot tell: %s', async (name, statement, message) => {
  await using source = await createDatabase('source');
  await source.sql(`
    create table no_key (a int, b text);
    create table numbers (id int primary key, a numeric, b float8, c real)`);
  await source.sql(`insert into no_key values (1, 'x'); insert into numbers values (9, null, null, 1)`);
  await using made = await createStreams(source, [name]);
  // The publication of another plugin's stream would make the application's own statement fail.
  await source.sql(statement);

  const { failure, journal } = await readStream(source, made.streams.get(name)!, plugins[name]);

  expect(failure?.code).toBe('plugin-limit');
  expect(failure?.message).toMatch(message);
  expect(failure?.remedy).toMatch(/--plugin pgoutput/);
  expect(journal.transactions).toEqual([]);
});
