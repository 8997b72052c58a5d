/** What the agreement test runs: statements, each a transaction of its own. */

const hostile = [
  String.raw`it''s "quoted", \back\\slash \n \u0041 \x`,
  `line\nbreak\ttab\rreturn\b\f`,
  'unchanged-toast-datum',
  'null',
  ' old-key: id[integer]:1 new-tuple: id[integer]:2',
  "''",
  "'",
  '"},{"name":"id","typeoid":23,"value":99}',
  ']},"identity":[{',
  'x[text]:',
  '(no-tuple-data)',
  'é ü ß € 中文 😀 𝒳 \ufffd \u2028 \u200b \ufeff',
  '\u0001\u0002\u001f\u007f\u0080',
  '  leading and trailing  ',
  '',
  "B'0101'",
  'NaN',
  'true',
  '$1 %s {} {{}} <a&b>',
];

const literal = (text: string): string => `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

export const typesSchema = `
  create extension hstore; create extension citext; create extension ltree;
  create schema "Odd ""schema"", [x]";
  create type mood as enum ('so so', 'it''s "ok"', 'a,b');
  create type "Odd ""schema"", [x]"."we\\ird ""t[]" as enum ('a b', ']');
  create type pair as (a int, b text);
  create domain positive as int check (value > 0);
  create domain truth as boolean;
  create domain raw as bytea;
  create domain exact as numeric;
  create domain bits as bit(3);
  create type floatrange as range (subtype = float8, subtype_diff = float8mi);
  create table numbers (id int primary key, i2 int2, i4 int4, i8 int8, o oid, f4 float4, f8 float8, n numeric,
    n2 numeric(20, 5), m money, p positive, e exact, t truth);
  create table special (id int primary key, f4 float4, f8 float8, n numeric, n2 numeric(10, 2), e exact, a numeric[], b float8[]);
  create table texts (id int primary key, t text, v varchar(300), c char(40), "char" "char", n name, ci citext, "select" text);
  create table times (id int primary key, d date, t time, tz timetz, ts timestamp, tstz timestamptz, i interval);
  create table documents (id int primary key, j json, jb jsonb, x xml, tv tsvector, tq tsquery, jp jsonpath, h hstore, l ltree, lq lquery);
  create table binary_values (id int primary key, b bytea, r raw, b1 bit(5), bv bit varying, b3 bits, u uuid, bo boolean, t truth);
  create table networks (id int primary key, i inet, c cidr, m macaddr, m8 macaddr8);
  create table shapes (id int primary key, p point, l line, ls lseg, b box, pa path, po polygon, c circle);
  create table ranges (id int primary key, r4 int4range, r8 int8range, nr numrange, tr tsrange, tzr tstzrange, dr daterange,
    fr floatrange, m4 int4multirange, mn nummultirange, mt tstzmultirange);
  create table composites (id int primary key, p pair, pa pair[], e mood, ea mood[], d positive, da positive[],
    w "Odd ""schema"", [x]"."we\\ird ""t[]", wa "Odd ""schema"", [x]"."we\\ird ""t[]"[]);
  create table arrays (id int primary key, i int[], ii int[][], t text[], b bytea[], n numeric[], bo boolean[], ts timestamptz[],
    lower int[], bits bit varying[], j jsonb[]);
  create table system_types (id int primary key, l pg_lsn, x xid, x8 xid8, ti tid, rc regclass, rt regtype, rp regproc, ov oidvector, iv int2vector, ac aclitem, sn pg_snapshot);
  create table generated (id int primary key, a int, twice int generated always as (a * 2) stored, b text,
    long text generated always as (b || b) stored, always int generated always as identity);
  create table "Odd ""schema"", [x]"."ta.ble: INSERT:" ("old-key:" int primary key, "a b" text, "]:" text, "q""uote" text, "back\\slash" text,
    "Ünï😀" text, "null" text, "new-tuple:" text);
  create table nothing ();
  create table hollow (); alter table hollow replica identity full;
`;

export const typesScript: readonly string[] = [
  `insert into numbers values (1, -32768, -2147483648, -9223372036854775808, 4294967295, 1.17549435e-38, 5e-324, 12345678901234567890123456789012345678901234567890.123456789012345678901234567890, 12345.67890, 92233720368547758.07, 5, 0.10, true)`,
  `insert into numbers values (2, 32767, 2147483647, 9223372036854775807, 0, 3.4028235e38, 1.7976931348623157e308, '1e-200', -0.00001, -0.01, 1, '1e100', false)`,
  `insert into numbers values (3, 0, 0, 0, 3000000000, '-0', '-0', 0.000, 0, 0, 7, '-0.0', null)`,
  `insert into numbers (id) values (4)`,
  `insert into numbers values (5, null, 1, null, null, 0.1, 0.1::float8 + 0.2, -12345678901234567890.10, null, null, null, '1.50', null)`,
  `update numbers set n = n * 3, f8 = -f8, t = not t`,
  `insert into special values (1, 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', '{NaN,NULL,1.10}', '{NaN,Infinity,-Infinity,NULL}')`,
  `insert into special values (2, 'Infinity', '-Infinity', '-Infinity', 1.10, 'Infinity', null, null)`,
  `insert into special values (3, null, null, null, null, null, null, null)`,
  `update special set f4 = 'Infinity' where id = 1`,
  `update special set id = 10 where id = 2`,
  `delete from special where id = 1`,
  ...hostile.map(
    (text, nth) =>
      `insert into texts values (${nth + 1}, ${literal(text)}, ${literal(text)}, substr(${literal(text)}, 1, 40), substr('x' || ${literal(text.replaceAll(/[^ -~]/g, ''))}, 2, 1)::"char", ${literal(text)}::name, ${literal(text)}, ${literal(text)})`,
  ),
  `insert into texts select 100, string_agg(chr(n), '' order by n), null, null, null, null, null, null from generate_series(1, 1114111) n where n not between 55296 and 57343 and (n < 3000 or n % 997 = 0)`,
  `insert into texts values (101, repeat(E'\\\\"''\\n', 20000), null, null, null, null, null, null)`,
  `update texts set t = "select"`,
  `insert into times values (1, '0044-03-15 BC', '00:00:00', '24:00:00-15:59', '4713-01-01 00:00:00 BC', '0001-01-01 00:00:00+00 BC', '-1 year -2 mons +3 days -04:05:06.789')`,
  `insert into times values (2, 'infinity', '23:59:59.999999', '12:34:56.1+05:30', '-infinity', 'infinity', '178000000 years')`,
  `insert into times values (3, '5874897-12-31', '12:00', '12:00+00', '294276-12-31 23:59:59.999999', '1999-01-08 04:05:06.000001-08', '0')`,
  `insert into documents values (1, '{"a": 1.0,  "b":[1e400, null, "\\u00e9\\"\\\\"] , "a":2}', '{"n": 12345678901234567890.10, "s": "q\\"\\\\\\n", "x": null}', '<a b="c">&lt;ü</a><!-- ] -->', 'fat:1A,2B ''it''''s'':3', 'fat & (rat | ''c a t'')', '$.a[*] ? (@ > 1)', 'a=>NULL, "b c"=>"q\\"''", d=>""', 'Top.Sci.Ast', '*.a*{1,}.!b')`,
  `insert into documents values (2, 'null', 'null', '', '', '', '$', '', '', '*')`,
  `insert into documents values (3, '"text"', '"te''xt"', 'plain', null, null, null, null, null, null)`,
  `insert into binary_values values (1, '\\x00ff5c27220a', '\\x5c78', b'01010', b'', b'111', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', true, true)`,
  `insert into binary_values values (2, '', '', b'00000', b'1', b'000', '00000000-0000-0000-0000-000000000000', false, false)`,
  `insert into binary_values values (3, decode(repeat('deadbeef', 5000), 'hex'), null, null, null, null, null, null, null)`,
  `insert into networks values (1, '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05'), (2, '::ffff:1.2.3.4', '2001:db8::/32', null, null)`,
  `insert into shapes values (1, '(1.5,-2e300)', '{1,-1,0.1}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(0,0),5e-324>'), (2, '(NaN,Infinity)', null, null, null, '((0,0),(1,1))', null, null)`,
  `insert into ranges values (1, '[1,5)', '(,10]', '[1.10,2.200)', '[2020-01-01, 2020-01-02 00:00:01)', '["2020-01-01 00:00+05",)', '[2020-01-01,2020-02-01)', '[0.1,Infinity)', '{[1,3),[5,7)}', '{[1.5,2.50]}', '{["2020-01-01 00:00:00+00",infinity)}')`,
  `insert into ranges values (2, 'empty', 'empty', '(,)', '[,]', null, '(,2020-01-01]', '[NaN,NaN]', '{}', '{}', '{}')`,
  `insert into composites values (1, row(1, 'x,"y''\\'), array[row(1, null)::pair, row(null, '')::pair, null], 'it''s "ok"', '{"it''s \\"ok\\"","a,b",NULL}', 5, '{1,NULL}', ']', array['a b', ']', null]::"Odd ""schema"", [x]"."we\\ird ""t[]"[])`,
  `insert into composites values (2, row(null, null), '{}', 'so so', null, null, '{}', 'a b', '{}')`,
  `insert into composites values (3, null, null, null, null, null, null, null, null)`,
  `insert into arrays values (1, '{1,NULL,3}', '{{1,2},{3,NULL}}', ${literal(String.raw`{a,NULL,"NULL","q\"\\","","it's","{}","1,2"," x "}`)}, '{"\\\\x00ff",NULL,"\\\\x"}', '{1.10,NaN,-Infinity,NULL}', '{t,f,NULL}', '{"2020-01-01 00:00:00+00",infinity}', '[-1:1]={1,2,3}', '{101,NULL}', '{"{\\"a\\": [1]}","null",NULL}')`,
  `insert into arrays values (2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')`,
  `insert into system_types values (1, 'FFFFFFFF/FFFFFFFF', '4294967295', '18446744073709551615', '(4294967295,65535)', 'numbers', 'pair[]', 'pg_catalog.now', '1 2 3', '-1 2', 'postgres=arwdDxt/postgres', '10:20:10,14,15')`,
  `insert into generated (id, a, b) values (1, 5, 'x'), (2, null, repeat('long', 3000))`,
  `update generated set a = a + 1`,
  `update generated set id = id + 10`,
  `delete from generated`,
  `insert into "Odd ""schema"", [x]"."ta.ble: INSERT:" values (1, 'a', 'b', 'c', 'd', 'e', 'f', 'g')`,
  `update "Odd ""schema"", [x]"."ta.ble: INSERT:" set "a b" = null`,
  `update "Odd ""schema"", [x]"."ta.ble: INSERT:" set "old-key:" = 2`,
  `delete from "Odd ""schema"", [x]"."ta.ble: INSERT:"`,
  `insert into nothing default values`,
  `insert into hollow default values; insert into hollow default values`,
  `delete from hollow where ctid = '(0,1)'`,
];

export const identitySchema = `
  create table by_key (a int, b text, c int, primary key (c, a));
  create table by_index (a int not null, b text not null, c int primary key, x text);
  create unique index by_index_b on by_index (b) include (x);
  alter table by_index replica identity using index by_index_b;
  create table by_row (a int, b text, n numeric, g text generated always as (b || '!') stored);
  alter table by_row replica identity full;
  create table by_nothing (a int, b text);
  alter table by_nothing replica identity nothing;
  create table no_key (a int, b text);
  create table deferrable_key (a int primary key deferrable, b text);
  create table odd_key (n numeric, b bytea, bo boolean, bits bit(3), t text, primary key (n, b, bo, bits, t));
  create table toast (id int primary key, body text, n int, raw bytea, doc jsonb);
  alter table toast alter body set storage external, alter raw set storage external, alter doc set storage external;
  create table long_key (id text primary key, n int);
  alter table long_key alter id set storage external;
  create table whole (id int, body text, n int);
  alter table whole alter body set storage external;
  alter table whole replica identity full;
  create table one (id int generated always as identity primary key);
  create table two (id int primary key references one);
  create table parent (id int, k int, primary key (id, k)) partition by list (k);
  create table "part 1" partition of parent for values in (1);
  create table part_2 partition of parent for values in (2);
  create table base (id int primary key, a text);
  create table child (extra int, primary key (id)) inherits (base);
  create unlogged table unlogged (id int primary key);
  create table dropped (id int primary key, gone text, stays text);
  alter table dropped drop gone;
  create materialized view seen as select * from base;
  create unique index on seen (id);
`;

export const identityScript: readonly string[] = [
  `insert into by_key values (1, 'x', 2)`,
  `update by_key set b = 'y'`,
  `update by_key set a = 3`,
  `delete from by_key`,
  `insert into by_index values (1, 'one', 1, 'i')`,
  `update by_index set c = 2`,
  `update by_index set x = 'j'`,
  `update by_index set b = 'two'`,
  `delete from by_index`,
  `insert into by_row values (1, null, 'NaN'), (null, null, null), (2, '', 1.10)`,
  `update by_row set b = 'z' where a = 1`,
  `update by_row set a = 1 where a is null`,
  `update by_row set n = 'Infinity' where a = 2`,
  `delete from by_row`,
  `insert into by_nothing values (1, 'x')`,
  `insert into no_key values (1, 'x')`,
  `insert into deferrable_key values (1, 'x')`,
  `insert into odd_key values (1.10, '\\x00', true, b'101', 'it''s'), (2, '', false, b'000', '')`,
  `update odd_key set bo = not bo`,
  `update odd_key set n = 1.100 where n = 1.1`,
  `delete from odd_key`,
  `insert into toast values (1, repeat('a', 9000), 1, decode(repeat('00ff', 5000), 'hex'), jsonb_build_object('a', repeat('b', 9000))), (2, 'unchanged-toast-datum', 1, null, null)`,
  `update toast set n = 2`,
  `update toast set id = id + 10`,
  `update toast set body = repeat('b', 9000) where id = 11`,
  `update toast set body = null, doc = null where id = 11`,
  `delete from toast`,
  `insert into long_key values (repeat('k', 2500), 1)`,
  `update long_key set n = 2`,
  `update long_key set id = repeat('l', 2500)`,
  `delete from long_key`,
  `insert into whole values (1, repeat('w', 9000), null)`,
  `update whole set id = 2`,
  `update whole set body = repeat('v', 9000)`,
  `delete from whole`,
  `insert into one default values`,
  `insert into two values (1)`,
  `truncate one cascade`,
  `truncate one, two, no_key restart identity`,
  `truncate no_key`,
  `begin; truncate no_key; insert into no_key values (2, 'y'); truncate by_row, no_key restart identity cascade; truncate by_key; commit`,
  `truncate unlogged, no_key`,
  `insert into parent values (1, 1), (2, 2)`,
  `update parent set k = 2 where id = 1`,
  `truncate parent`,
  `insert into base values (1, 'a')`,
  `insert into child values (2, 'b', 3)`,
  `update base set a = 'c'`,
  `refresh materialized view concurrently seen`,
  `delete from base`,
  `truncate only base`,
  `insert into unlogged values (1)`,
  `insert into dropped values (1, 'x')`,
  `update dropped set stays = null`,
  `begin; insert into no_key values (3, 'z'); savepoint s; insert into no_key values (4, 'gone'); rollback to s; insert into no_key values (5, 'q'); commit`,
  `begin; insert into no_key values (6, 'never'); rollback`,
  `begin; insert into no_key values (7, 'p'); prepare transaction 'agreement-prepared'`,
  `commit prepared 'agreement-prepared'`,
  `select pg_logical_emit_message(true, 'p, sz: 3 content:', 'abc')`,
  `select pg_logical_emit_message(false, 'q', '\\x00ff41'::bytea)`,
  `create table later (id int primary key)`,
  `insert into later values (1)`,
  `create table made_and_gone (id int); insert into made_and_gone values (1); drop table made_and_gone`,
];
