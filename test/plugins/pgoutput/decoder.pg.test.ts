import { expect, test } from 'vitest';
import type { Change } from '../../../src/model/change.js';
import { unchanged } from '../../../src/model/row.js';
import { asCells } from '../../support/packed.js';
import { createDatabase } from '../../support/databases.js';
import { createStream, receiveAll } from '../../receive/stream-tools.js';

/** A change without its relation's description. */
function brief(change: Change): unknown {
  switch (change.kind) {
    case 'insert':
      return ['insert', change.relation.name, change.row];
    case 'update':
      return ['update', change.relation.name, change.key, change.row];
    case 'delete':
      return ['delete', change.relation.name, change.key];
    case 'truncate':
      return [
        'truncate',
        change.relations.map((relation) => relation.name),
        change.restartIdentity,
        change.cascade,
      ];
  }
}

test('every replica identity tells what identifies the row', async () => {
  await using source = await createDatabase('source');
  await source.sql(`
    create table by_key (a int, b text, c int, primary key (c, a));
    create table by_index (a int not null, b text not null, c int primary key);
    create unique index by_index_b on by_index (b);
    alter table by_index replica identity using index by_index_b;
    create table by_row (a int, b text);
    alter table by_row replica identity full;
    create table by_nothing (a int, b text);
    create table deferrable_key (a int primary key deferrable, b text)`);
  await using stream = await createStream(source);

  await source.sql(`
    insert into by_key values (1, 'x', 2);
    update by_key set b = 'y';
    update by_key set a = 3;
    delete from by_key;
    insert into by_index values (1, 'one', 1);
    update by_index set c = 2;
    update by_index set b = 'two';
    delete from by_index;
    insert into by_row values (1, null), (2, '');
    update by_row set b = 'z' where a = 1;
    delete from by_row;
    insert into by_nothing values (1, 'x');
    update by_nothing set a = 2;
    delete from by_nothing;
    insert into deferrable_key values (1, 'x');
    update deferrable_key set a = 2`);
  const journal = await receiveAll(source, stream);

  expect(stream.publications).toEqual([stream.slot, `${stream.slot}_inserts`]);
  expect(journal.applied.map(brief)).toEqual([
    ['insert', 'by_key', ['1', 'x', '2']],
    ['update', 'by_key', null, ['1', 'y', '2']],
    // Positions of the key are the table's order of columns, not the index's.
    ['update', 'by_key', ['1', '2'], ['3', 'y', '2']],
    ['delete', 'by_key', ['3', '2']],
    ['insert', 'by_index', ['1', 'one', '1']],
    ['update', 'by_index', null, ['1', 'one', '2']],
    ['update', 'by_index', ['one'], ['1', 'two', '2']],
    ['delete', 'by_index', ['two']],
    ['insert', 'by_row', ['1', null]],
    ['insert', 'by_row', ['2', '']],
    ['update', 'by_row', ['1', null], ['1', 'z']],
    ['delete', 'by_row', ['2', '']],
    ['delete', 'by_row', ['1', 'z']],
    ['insert', 'by_nothing', ['1', 'x']],
    ['insert', 'deferrable_key', ['1', 'x']],
  ]);
});

test('a TOAST value left alone is unchanged; in an identity it is known all the same', async () => {
  await using source = await createDatabase('source');
  await source.sql(`
    create table documents (id int primary key, body text, n int);
    alter table documents alter body set storage external;
    create table long_key (id text primary key, n int);
    alter table long_key alter id set storage external;
    create table whole (id int, body text);
    alter table whole alter body set storage external;
    alter table whole replica identity full`);
  await using stream = await createStream(source);

  await source.sql(`
    insert into documents values (1, repeat('a', 9000), 1);
    update documents set n = 2;
    update documents set id = 3;
    update documents set body = repeat('b', 9000);
    insert into long_key values (repeat('k', 2500), 1);
    update long_key set n = 2;
    insert into whole values (1, repeat('w', 9000));
    update whole set id = 2;
    delete from whole`);
  const { applied } = await receiveAll(source, stream);

  const a = 'a'.repeat(9000);
  const b = 'b'.repeat(9000);
  // As long as an index takes; long enough to be stored out of line.
  const k = 'k'.repeat(2500);
  const w = 'w'.repeat(9000);
  expect(applied.map(brief)).toEqual([
    ['insert', 'documents', ['1', a, '1']],
    ['update', 'documents', null, ['1', unchanged, '2']],
    ['update', 'documents', ['1'], ['3', unchanged, '2']],
    ['update', 'documents', null, ['3', b, '2']],
    ['insert', 'long_key', [k, '1']],
    ['update', 'long_key', [k], [k, '2']],
    ['insert', 'whole', ['1', w]],
    ['update', 'whole', ['1', w], ['2', unchanged]],
    ['delete', 'whole', ['2', w]],
  ]);
});

test('truncate names every table it reached, and its flags', async () => {
  await using source = await createDatabase('source');
  await source.sql(`
    create table one (id int primary key);
    create table two (id int primary key references one);
    create table three (a int)`);
  await using stream = await createStream(source);

  await source.sql(`truncate one cascade`);
  await source.sql(`truncate three, one, two restart identity`);
  const { applied } = await receiveAll(source, stream);

  expect(applied).toHaveLength(2);
  expect(applied.map(brief)).toEqual([
    ['truncate', expect.arrayContaining(['one', 'two']), false, true],
    ['truncate', expect.arrayContaining(['one', 'two', 'three']), true, false],
  ]);
});

test('values of every kind of type are the text that the server prints', async () => {
  await using source = await createDatabase('source');
  await source.sql(`
    create type mood as enum ('so so', 'it''s "ok"');
    create domain positive as int check (value > 0);
    create type pair as (a int, b text);
    create table odd (
      id bigint primary key, c1 numeric, c2 float8, c3 real, c4 bytea, c5 timestamptz, c6 interval, c7 jsonb, c8 text[],
      c9 pair, c10 pair[], c11 mood, c12 positive, c13 int4range, c14 inet, c15 bit varying, c16 xml, c17 tsvector,
      c18 uuid, c19 money, c20 point, c21 char(5), c22 boolean, c23 date, c24 "char", c25 text
    )`);
  await using stream = await createStream(source);

  await source.sql(
    `
    insert into odd values (9223372036854775807, 1.50000000000000000000000000000000000001, 0.1::float8 + 0.2, 'NaN', '\\x00ff',
      '2020-01-01 00:00:00.123456+00', '1 year 2 mons -3 days 04:05:06.7', '{"a": [1, 2.50]}', '{a,NULL,"NULL","q\\"\\\\"}',
      row(1, 'x,"y"'), array[row(1, null)::pair, row(2, '')::pair], 'it''s "ok"', 5, '[1,5)', '10.0.0.1/8', b'0101',
      '<a>ü</a>', 'fat:1A & rat', '00000000-0000-0000-0000-000000000001', 12.34, '(1.5,-2)', 'ab', true, 'infinity', 'x',
      E'tab\\tline\\nü€😀\\\\\\u0001')`.replace(`'fat:1A & rat'`, `'fat:1A rat'`),
  );
  const { applied } = await receiveAll(source, stream);
  const [printed] = await source.sql(
    `set timezone = 'UTC'; set bytea_output = hex; set extra_float_digits = 3; set lc_monetary = 'C'; select odd.* from odd`,
  );

  const [change] = applied;
  if (change?.kind !== 'insert') throw new Error('no insert');
  const columns = change.relation.columns.map((column) => column.name);
  expect(Object.fromEntries(columns.map((name, nth) => [name, change.row[nth]]))).toEqual(printed);
});

test('names may hold quotes, line breaks and upper case; generated and dropped columns are not there', async () => {
  await using source = await createDatabase('source');
  await source.sql(`
    create schema "Ödd ""schema""";
    create table "Ödd ""schema"""."line
break" ("Key ""1""" int primary key, gone text, "g" int generated always as ("Key ""1""" * 2) stored, "tab	le" text,
      "I" int generated always as identity);
    alter table "Ödd ""schema"""."line
break" drop column gone`);
  await using stream = await createStream(source);

  await source.sql(`insert into "Ödd ""schema"""."line
break" ("Key ""1""", "tab	le") values (1, 'x')`);
  const { applied } = await receiveAll(source, stream);

  expect(applied.map(asCells)).toMatchObject([
    {
      kind: 'insert',
      relation: {
        schema: 'Ödd "schema"',
        name: 'line\nbreak',
        identity: 'default',
        columns: [{ name: 'Key "1"' }, { name: 'tab\tle' }, { name: 'I' }],
        key: [0],
      },
      row: ['1', 'x', '1'],
    },
  ]);
});

test('logical messages of ours come in their place, with any bytes', async () => {
  await using source = await createDatabase('source');
  await source.sql(`create table t (id int primary key)`);
  await using stream = await createStream(source);

  await source.sql(`
    begin;
    insert into t values (1);
    select pg_logical_emit_message(true, 'walferry', '\\x00ff0a'::bytea);
    commit;
    select pg_logical_emit_message(false, 'walferry', 'text'), pg_logical_emit_message(true, 'theirs', 'text')`);
  const { messages } = await receiveAll(source, stream);

  const found = messages.filter((message) => message.kind === 'message');
  const begin = messages.find((message) => message.kind === 'begin');
  expect(found).toMatchObject([
    { prefix: 'walferry', content: Buffer.from([0, 255, 10]).toString('base64'), xid: begin?.xid },
    { prefix: 'walferry', content: Buffer.from('text').toString('base64'), xid: null },
  ]);
});

test('a table that changes during the stream is described again', async () => {
  await using source = await createDatabase('source');
  await source.sql(`create table t (id int primary key, a text)`);
  await using stream = await createStream(source);

  await source.sql(`
    insert into t values (1, 'x');
    alter table t add b int default 7;
    insert into t values (2, 'y');
    alter table t rename a to c;
    alter table t replica identity full;
    update t set b = 8 where id = 2`);
  const { applied } = await receiveAll(source, stream);

  expect(
    applied.map((change) => [
      brief(change),
      change.kind !== 'truncate' && change.relation.columns.map((column) => column.name).join(),
    ]),
  ).toEqual([
    [['insert', 't', ['1', 'x']], 'id,a'],
    [['insert', 't', ['2', 'y', '7']], 'id,a,b'],
    [['update', 't', ['2', 'y', '7'], ['2', 'y', '8']], 'id,c,b'],
  ]);
});
