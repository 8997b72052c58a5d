import { describe, expect, test } from 'vitest';
import { sumsSql } from '../../src/compare/checksum.js';
import { compareData } from '../../src/compare/data.js';
import type { CompareDataOptions } from '../../src/compare/options.js';
import type { DataComparison } from '../../src/compare/comparison.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { quoteLiteral } from '../../src/model/sql.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { until } from '../support/until.js';
import { walferry } from '../support/walferry.js';

async function both(setup: string, properties = ''): Promise<[TestDatabase, TestDatabase]> {
  const source = await createDatabase('source');
  const target = await createDatabase('target', { properties });
  await source.sql(setup);
  await target.sql(setup);
  return [source, target];
}

function compare(
  source: TestDatabase,
  target: TestDatabase,
  options: Partial<CompareDataOptions> = {},
): Promise<DataComparison> {
  return compareData({
    source: readConninfo(source.uri, {}),
    target: readConninfo(target.uri, {}),
    jobs: 1,
    ...options,
  });
}

/** Names of the tables that differ, with how. */
async function differences(source: TestDatabase, target: TestDatabase): Promise<Record<string, string>> {
  const { tables } = await compare(source, target);
  return Object.fromEntries(
    tables.flatMap(({ name, difference }) => (difference === null ? [] : [[name, difference.kind]])),
  );
}

const peopleRows = `(1, 'one', 'x'), (2, 'two', 'y'), (3, null, ''), (3, null, '')`;

describe('one table', () => {
  test('equal rows are equal, in whatever order and place they lie', async () => {
    const [source, target] = await both(
      `create table t (id int, a text, b text); insert into t values ${peopleRows}`,
    );
    await using _ = source;
    await using __ = target;
    // The second update puts the row at the end of the table.
    await target.sql(`update t set a = 'other' where id = 1; update t set a = 'one' where id = 1`);
    const { tables } = await compare(source, target);
    expect(tables).toHaveLength(1);
    expect(tables[0]).toMatchObject({ schema: 'public', name: 't', difference: null, source: { rows: 4n } });
    expect(tables[0]?.source?.checksum).toMatch(/^[0-9a-f]{64}$/);
    expect(tables[0]?.target).toEqual(tables[0]?.source);
  });

  test('every kind of difference is found', async () => {
    const cases: readonly (readonly [what: string, tampering: string, found: string])[] = [
      ['nothing', `update TABLE set a = a`, 'equal'],
      ['a changed cell', `update TABLE set a = 'One' where id = 1`, 'values'],
      ['a missing row', `delete from TABLE where id = 2`, 'rows'],
      ['an extra row', `insert into TABLE values (9, 'nine', '')`, 'rows'],
      [
        'values swapped between two rows',
        `update TABLE set a = case id when 1 then 'two' else 'one' end where id < 3`,
        'values',
      ],
      ['values swapped between two columns', `update TABLE set a = b, b = a where id = 1`, 'values'],
      ['an empty string in place of null', `update TABLE set a = '' where id = 3`, 'values'],
      ['null in place of an empty string', `update TABLE set b = null where id = 3`, 'values'],
      ['the word NULL in place of null', `update TABLE set a = 'NULL' where id = 3`, 'values'],
      ['a pair of equal rows replaced by another', `update TABLE set b = 'x' where id = 3`, 'values'],
      [
        'a duplicate in place of another row',
        `delete from TABLE where id = 2; insert into TABLE select * from TABLE where id = 1`,
        'values',
      ],
      [
        'a duplicated row, another one missing twice',
        `delete from TABLE where id = 3; insert into TABLE values (1, 'one', 'x'), (1, 'one', 'x')`,
        'values',
      ],
      [
        'cells that only look alike together',
        `update TABLE set a = 'one,x', b = null where id = 1`,
        'values',
      ],
      ['a quote', `update TABLE set a = '"one"' where id = 1`, 'values'],
      ['a blank at the end', `update TABLE set a = 'one ' where id = 1`, 'values'],
    ];
    const setup = cases
      .map(
        ([what]) =>
          `create table "${what}" (id int, a text, b text); insert into "${what}" values ${peopleRows};`,
      )
      .join('\n');
    const [source, target] = await both(setup);
    await using _ = source;
    await using __ = target;
    for (const [what, tampering] of cases) await target.sql(tampering.replaceAll('TABLE', `"${what}"`));
    const expected = cases.filter(([, , found]) => found !== 'equal').map(([what, , found]) => [what, found]);
    expect(await differences(source, target)).toEqual(Object.fromEntries(expected));
  });

  test('columns in another order are the same columns', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create table t (a int, gone int, b text); alter table t drop column gone;
      insert into t values (1, 'one')`);
    await target.sql(`create table t (b text, a int); insert into t values ('one', 1)`);
    expect(await differences(source, target)).toEqual({});
    await target.sql(`update t set a = 2`);
    expect(await differences(source, target)).toEqual({ t: 'values' });
  });

  test('the scale of a numeric is data', async () => {
    const [source, target] = await both(`create table t (n numeric); insert into t values (1.0)`);
    await using _ = source;
    await using __ = target;
    await target.sql('update t set n = 1.00');
    expect(await differences(source, target)).toEqual({ t: 'values' });
  });

  test('a composite value with null fields is not null', async () => {
    const setup = `create type pair as (x int, y int); create table t (p pair); insert into t values `;
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${setup} (row(null, null))`);
    await target.sql(`${setup} (null)`);
    expect(await differences(source, target)).toEqual({ t: 'values' });
    await source.sql(`update t set p = row(null, 1)`);
    await target.sql(`update t set p = row(null, 2)`);
    expect(await differences(source, target)).toEqual({ t: 'values' });
    await target.sql(`update t set p = row(null, 1)`);
    expect(await differences(source, target)).toEqual({});
  });

  test('generated columns are not looked at', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create table t (a int, g int generated always as (a + 1) stored);
      insert into t values (1)`);
    await target.sql(`create table t (a int, g int generated always as (a + 2) stored);
      insert into t values (1)`);
    expect(await differences(source, target)).toEqual({});
  });

  test('a table without columns has a number of rows', async () => {
    const [source, target] = await both(`create table t (); insert into t default values`);
    await using _ = source;
    await using __ = target;
    expect(await differences(source, target)).toEqual({});
    await target.sql('insert into t default values');
    expect(await differences(source, target)).toEqual({ t: 'rows' });
  });

  test('names with quotes, blanks and capitals, and columns named like our own words', async () => {
    const setup = `create schema "My ""schema"""; create table "My ""schema"""."Ta'ble "".;" (
        "Col ""umn" int, "line" text, "rows" text, "t" text, "high" text, "önly" text);
      insert into "My ""schema"""."Ta'ble "".;" values (1, 'l', 'r', 't', 'h', 'ö')`;
    const [source, target] = await both(setup);
    await using _ = source;
    await using __ = target;
    expect(await differences(source, target)).toEqual({});
    await target.sql(`update "My ""schema"""."Ta'ble "".;" set "Col ""umn" = 2`);
    expect(await differences(source, target)).toEqual({ [`Ta'ble ".;`]: 'values' });
  });

  test('a table of 1600 columns', async () => {
    const list = Array.from({ length: 1600 }, (_, index) => `c${index} boolean`).join(', ');
    const [source, target] = await both(`create table t (${list}); insert into t default values`);
    await using _ = source;
    await using __ = target;
    expect(await differences(source, target)).toEqual({});
    await target.sql('update t set c1599 = true');
    expect(await differences(source, target)).toEqual({ t: 'values' });
  });
});

/** A value of each type and one that differs from it as little as possible. */
const samples: Readonly<Record<string, readonly [string, string]>> = {
  aclitem: ['postgres=r/postgres', 'postgres=w/postgres'],
  bit: ['0', '1'],
  bool: ['true', 'false'],
  box: ['(2,2),(0,0)', '(2,2),(0,1e-300)'],
  bpchar: ['a', 'a '],
  bytea: ['\\x00ff', '\\x00fe'],
  '"char"': ['a', 'b'],
  cid: ['1', '2'],
  cidr: ['10.0.0.0/8', '10.0.0.0/9'],
  circle: ['<(0,0),1>', '<(0,0),2>'],
  date: ['2026-01-02', '2026-02-01'],
  datemultirange: ['{[2026-01-01,2026-01-05)}', '{[2026-01-01,2026-01-06)}'],
  daterange: ['[2026-01-01,2026-01-05)', '[2026-01-01,infinity)'],
  float4: ['0.1', '0.10000001'],
  float8: ['0.1', '0.10000000000000002'],
  inet: ['::1', '::2'],
  int2: ['1', '-1'],
  int4: ['1', '2'],
  int4multirange: ['{[1,3)}', '{[1,4)}'],
  int4range: ['[1,3)', '[1,)'],
  int8: ['9007199254740992', '9007199254740993'],
  int8multirange: ['{}', '{[1,4)}'],
  int8range: ['empty', '[1,4)'],
  interval: ['1 day', '24 hours'],
  json: ['{"a":1}', '{"a": 1}'],
  jsonb: ['{"a":1}', '{"a":1.0}'],
  jsonpath: ['$.a', '$.b'],
  line: ['{1,2,3}', '{1,2,4}'],
  lseg: ['[(0,0),(1,1)]', '[(0,0),(1,2)]'],
  macaddr: ['08:00:2b:01:02:03', '08:00:2b:01:02:04'],
  macaddr8: ['08:00:2b:01:02:03:04:05', '08:00:2b:01:02:03:04:06'],
  money: ['1.00', '1.01'],
  name: ['a', 'A'],
  numeric: ['123456789012345678901234567890.0', '123456789012345678901234567890.00'],
  nummultirange: ['{[1.0,2.0)}', '{[1.00,2.0)}'],
  numrange: ['[1.0,2.0)', '[1.0,2.0]'],
  oid: ['4294967295', '4294967294'],
  path: ['[(0,0),(1,1)]', '((0,0),(1,1))'],
  pg_lsn: ['0/1', '1/0'],
  pg_snapshot: ['10:20:10,14', '10:20:10,15'],
  point: ['(0,0)', '(-0,0)'],
  polygon: ['((0,0),(1,1),(2,0))', '((0,0),(2,0),(1,1))'],
  refcursor: ['a', 'b'],
  regclass: ['pg_class', 'pg_type'],
  regcollation: ['"C"', '"POSIX"'],
  regconfig: ['simple', 'english'],
  regdictionary: ['simple', 'english_stem'],
  regnamespace: ['pg_catalog', 'public'],
  regoper: ['||/', '|/'],
  regoperator: ['+(int4,int4)', '-(int4,int4)'],
  regproc: ['now', 'pi'],
  regprocedure: ['abs(int4)', 'abs(int8)'],
  regrole: ['postgres', 'pg_monitor'],
  regtype: ['int4', 'int8'],
  text: ['é', 'è'],
  tid: ['(0,1)', '(1,0)'],
  time: ['12:00', '12:00:00.000001'],
  timestamp: ['2026-01-01 00:00', '2026-01-01 00:00:00.000001'],
  timestamptz: ['2026-01-01 00:00+00', '2026-01-01 00:00+01'],
  timetz: ['12:00+00', '13:00+01'],
  tsmultirange: ['{}', '{(,2026-01-01)}'],
  tsquery: ['a & b', 'a | b'],
  tsrange: ['empty', '(,2026-01-01)'],
  tstzmultirange: ['{}', '{(,2026-01-01)}'],
  tstzrange: ['empty', '(,2026-01-01)'],
  tsvector: ['a:1', 'a:1A'],
  txid_snapshot: ['10:20:10,14', '10:20:10,15'],
  uuid: ['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002'],
  varbit: ['0', '00'],
  varchar: ['a', 'a '],
  xid: ['1', '2'],
  xid8: ['1', '2'],
  xml: ['<a/>', '<a></a>'],
};

/** Types that no user's column can hold a chosen value of: their input functions refuse. */
const internal =
  /^(gtsvector|pg_brin_.*|pg_dependencies|pg_mcv_list|pg_ndistinct|pg_node_tree|int2vector|oidvector)$/;

describe('types', () => {
  test('one changed cell is found in every built-in type, alone and in an array', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    const types = await source.sql(
      `select format_type(oid, -2) as type, typname as name from pg_type
        where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm')
          and not (typelem <> 0 and typlen = -1 and typcategory = 'A')`,
    );
    const known = new Map(Object.entries(samples).map(([name, pair]) => [name.replaceAll('"', ''), pair]));
    const used = types.map(({ name }) => name ?? '').filter((name) => !internal.test(name));
    expect(used.filter((name) => !known.has(name))).toEqual([]);

    const setup = used.map((name) => {
      const type = name === 'char' ? '"char"' : name;
      const value = quoteLiteral(known.get(name)?.[0] ?? '');
      return `create table t_${name} (id int primary key, v ${type}, l ${type}[]);
        insert into t_${name} values (1, ${value}, array[${value}]::${type}[]), (2, null, null);`;
    });
    await source.sql(setup.join('\n'));
    await target.sql(setup.join('\n'));
    expect(await differences(source, target)).toEqual({});

    const expected = Object.fromEntries(used.map((name) => [`t_${name}`, 'values']));
    const tamper = (column: string, value: (literal: string, type: string) => string) =>
      target.sql(
        used
          .map((name) => {
            const literal = quoteLiteral(known.get(name)?.[1] ?? '');
            return `update t_${name} set ${column} = ${value(literal, name === 'char' ? '"char"' : name)} where id = 1;`;
          })
          .join('\n'),
      );
    await tamper('v', (literal) => literal);
    expect(await differences(source, target)).toEqual(expected);
    // By its key, with the column that differs.
    const { tables } = await compare(source, target, { depth: 'rows' });
    for (const { name, rows } of tables) {
      const shown = [{ kind: 'different', key: ['1'], columns: ['v'] }];
      expect({ name, rows }).toMatchObject({ name, rows: { different: 1, missing: 0, extra: 0, shown } });
    }
    await target.sql(used.map((name) => `update t_${name} set v = l[1] where id = 1;`).join('\n'));
    expect(await differences(source, target)).toEqual({});
    await tamper('l', (literal, type) => `array[${literal}]::${type}[]`);
    expect(await differences(source, target)).toEqual(expected);
  });

  test('settings of role and database change nothing', async () => {
    const [source, target] = await both(`
      create table public."T" (id int);
      create table t (at timestamptz, i interval, f float8, b bytea, m money, d date, c regclass);
      insert into t values ('2026-01-02 03:04+00', '1 day 2 hours', 0.1 + 0.2, '\\x00ff', 12.34::numeric::money,
        '2026-02-01', 'public."T"')`);
    await using _ = source;
    await using __ = target;
    for (const setting of [
      `timezone to 'Asia/Kathmandu'`,
      `datestyle to 'German, DMY'`,
      `intervalstyle to 'iso_8601'`,
      `extra_float_digits to 0`,
      `bytea_output to 'escape'`,
      `search_path to public`,
      `quote_all_identifiers to on`,
      `lc_monetary to 'POSIX'`,
      `default_transaction_isolation to serializable`,
    ]) {
      await target.sql(`alter database ${target.name} set ${setting}`);
    }
    expect(await differences(source, target)).toEqual({});
  });

  test.each([
    ['LATIN1', `'né à ' || chr(160)`],
    ['SQL_ASCII', `'plain'`],
  ])('a target encoded in %s', async (encoding, text) => {
    const setup = `create table t (id int, a text); insert into t values (1, ${text}), (2, null), (3, '')`;
    const properties = `encoding '${encoding}' locale 'C'`;
    const [source, target] = await both(setup, properties);
    await using _ = source;
    await using __ = target;
    expect(await differences(source, target)).toEqual({});
    await target.sql(`update t set a = '' where id = 2; update t set a = null where id = 3`);
    expect(await differences(source, target)).toEqual({ t: 'values' });
    await target.sql(`update t set a = null where id = 2; update t set a = '' where id = 3`);
    await target.sql(`update t set a = replace(a, 'n', 'N') where id = 1`);
    expect(await differences(source, target)).toEqual({ t: 'values' });
  });
});

describe('what is compared', () => {
  test('ordinary tables, unlogged ones, leaves and children each for themselves; nothing else', async () => {
    const setup = `
      create table plain (id int);
      create unlogged table unlogged (id int);
      create table parted (id int) partition by range (id);
      create table parted_1 partition of parted for values from (0) to (10);
      create table parted_2 partition of parted for values from (10) to (20) partition by list (id);
      create table parted_2_a partition of parted_2 default;
      create table parent (id int);
      create table child () inherits (parent);
      insert into plain values (1); insert into unlogged values (1); insert into parted values (1), (11);
      insert into parent values (1); insert into child values (2);
      create view v as select * from plain;
      create materialized view mv as select * from plain;
      create temporary table temporary (id int);
      create foreign data wrapper fdw; create server s foreign data wrapper fdw;
      create foreign table elsewhere (id int) server s;
      create schema walferry; create table walferry.position (id int);
      create schema pgbench; create table pgbench.t (id int);
      create extension pg_trgm; create table member (id int); alter extension pg_trgm add table member;
    `;
    const [source, target] = await both(setup);
    await using _ = source;
    await using __ = target;
    const { tables, onlyOnTarget } = await compare(source, target);
    expect(tables.map(({ schema, name, source: side }) => `${schema}.${name} ${side?.rows}`)).toEqual([
      'pgbench.t 0',
      'public.child 1',
      'public.parent 1',
      'public.parted_1 1',
      'public.parted_2_a 1',
      'public.plain 1',
      'public.unlogged 1',
    ]);
    expect(onlyOnTarget).toEqual([]);
  });

  test('a table missing on the target is a difference, one that only the target has is told', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql('create table a (id int); create table b (id int, x int)');
    await target.sql('create table c (id int); create table b (id int, y int)');
    const { tables, onlyOnTarget } = await compare(source, target);
    expect(tables).toMatchObject([
      { name: 'a', source: null, target: null, difference: { kind: 'missing' } },
      { name: 'b', difference: { kind: 'columns', missing: ['x'], extra: ['y'] } },
    ]);
    expect(onlyOnTarget).toEqual([{ schema: 'public', name: 'c' }]);
  });

  test('rows in a partition that only the target has are a difference, an empty one is told', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    const setup = `create table t (id int) partition by range (id);
      create table t_1 partition of t for values from (0) to (10); insert into t values (1)`;
    await source.sql(setup);
    await target.sql(`${setup}; create table t_2 partition of t for values from (10) to (20)`);
    expect(await compare(source, target)).toMatchObject({
      tables: [{ name: 't_1', difference: null }],
      onlyOnTarget: [{ schema: 'public', name: 't_2' }],
    });
    await target.sql('insert into t values (11)');
    expect(await differences(source, target)).toEqual({ t_2: 'rows' });
    expect((await compare(source, target)).onlyOnTarget).toEqual([]);
  });

  test('so are rows in a table that inherits there, at any depth, from one that both have', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    const setup = 'create table parent (id int); insert into parent values (1);';
    await source.sql(setup);
    await target.sql(
      `${setup} create table child () inherits (parent); create table grandchild () inherits (child)`,
    );
    expect(await differences(source, target)).toEqual({});
    await target.sql('insert into grandchild values (2)');
    expect(await differences(source, target)).toEqual({ grandchild: 'rows' });
    expect((await compare(source, target)).onlyOnTarget).toEqual([{ schema: 'public', name: 'child' }]);
  });

  test('a partition that is partitioned itself on one side only is compared with its whole tree', async () => {
    await using one = await createDatabase('source');
    await using other = await createDatabase('target');
    const root = 'create table t (id int) partition by range (id);';
    await one.sql(
      `${root} create table t_1 partition of t for values from (0) to (10); insert into t values (1), (7)`,
    );
    await other.sql(`${root} create table t_1 partition of t for values from (0) to (10) partition by range (id);
      create table t_1_a partition of t_1 for values from (0) to (5);
      create table t_1_b partition of t_1 for values from (5) to (10); insert into t values (1), (7)`);
    for (const [source, target] of [
      [one, other],
      [other, one],
    ] as const) {
      expect(await compare(source, target)).toMatchObject({
        tables: [{ name: 't_1', difference: null, source: { rows: 2n }, target: { rows: 2n } }],
        onlyOnTarget: [],
      });
    }
    await other.sql('update t set id = 8 where id = 7');
    expect(await differences(one, other)).toEqual({ t_1: 'values' });
  });

  test('a table that is partitioned on the target only is compared with the whole tree', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql('create table t (id int); insert into t values (1), (11)');
    await target.sql(`create table t (id int) partition by range (id);
      create table t_1 partition of t for values from (0) to (10);
      create table t_2 partition of t for values from (10) to (20); insert into t values (1), (11)`);
    expect(await compare(source, target)).toMatchObject({
      tables: [{ name: 't', difference: null, target: { rows: 2n } }],
      onlyOnTarget: [],
    });
    await target.sql('update t set id = 12 where id = 11');
    expect(await differences(source, target)).toEqual({ t: 'values' });
  });

  test('only the named tables', async () => {
    const [source, target] = await both('create table a (id int); create table b (id int)');
    await using _ = source;
    await using __ = target;
    const { tables } = await compare(source, target, { tables: [{ schema: 'public', name: 'b' }] });
    expect(tables.map(({ name }) => name)).toEqual(['b']);
  });
});

describe('the run', () => {
  test('several jobs give the same result, and progress counts every table once', async () => {
    const setup = Array.from({ length: 20 }, (_, index) => {
      return `create table t${index} (id int); insert into t${index} select generate_series(1, ${index});`;
    }).join('\n');
    const [source, target] = await both(setup);
    await using _ = source;
    await using __ = target;
    await target.sql('delete from t7 where id = 3');
    const seen: number[] = [];
    const one = await compare(source, target);
    const four = await compare(source, target, {
      jobs: 4,
      onProgress: ({ done, total }) => {
        expect(total).toBe(20);
        seen.push(done);
      },
    });
    expect(four).toEqual(one);
    expect(seen).toEqual(Array.from({ length: 21 }, (_, index) => index));
  });

  test('all sessions of a side see the same moment', async () => {
    const [source, target] = await both('create table a (id int); create table b (id int)');
    await using _ = source;
    await using __ = target;
    // The first pair of sessions is held at table a, so that table b is left to the second pair.
    await using blocker = await target.session();
    await blocker.sql('begin; lock table a in access exclusive mode');
    const { tables } = await compare(source, target, {
      jobs: 2,
      onProgress: ({ done }) => {
        // The first session has taken its snapshot, the second one is not connected yet.
        if (done === 0) void source.sql('insert into a values (1); insert into b values (1)');
        if (done === 1) void blocker.sql('commit');
      },
    });
    expect(await source.sql('select count(*) from b')).toEqual([{ count: '1' }]);
    expect(tables.map((table) => [table.name, table.source?.rows])).toEqual([
      ['a', 0n],
      ['b', 0n],
    ]);
  });

  test('a large table is read by parallel workers where the server has them', async () => {
    await using source = await createDatabase('source');
    await source.sql('create table t (a int, b text)');
    for (const [kind, count, by] of [
      ['hashtext', 1, null],
      ['hashtext', 1024, null],
      ['hashtext', 1024, ['a']],
      ['sha256', 1, null],
      ['sha256', 1024, ['a', 'b']],
    ] as const) {
      const hash = kind === 'hashtext' ? { kind } : { kind, encoding: 'UTF8' as const };
      const plan = await source.sql(`set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
        set min_parallel_table_scan_size = 0; explain (verbose) ${sumsSql({ table: { schema: 'public', name: 't' }, columns: ['a', 'b'], tree: false, hash, condition: null }, { count, by })}`);
      const text = plan.map((row) => row['QUERY PLAN']).join('\n');
      expect(text).toContain('Parallel Seq Scan');
      // The text of a row is computed below the hashes, once.
      expect(text).toMatch(/Parallel Seq Scan.*\n\s+Output: .*clock_timestamp\(\)/);
    }
  });

  test('stopping ends the queries on both servers and is told as stopped', async () => {
    const [source, target] = await both(`create table t (id int); insert into t values (1)`);
    await using _ = source;
    await using __ = target;
    await using blocker = await source.session();
    await blocker.sql('begin; lock table t in access exclusive mode');
    const controller = new AbortController();
    const comparison = compare(source, target, { signal: controller.signal });
    const waiting = `select 1 from pg_stat_activity where datname = current_database()
      and application_name = 'walferry compare' and wait_event_type = 'Lock'`;
    await until('the comparison waits for the lock', async () => (await source.sql(waiting)).length > 0);
    controller.abort();
    await expect(comparison).rejects.toMatchObject({ code: 'stopped' });
    const left = `select 1 from pg_stat_activity where application_name = 'walferry compare'
      and datname = current_database()`;
    await until('its sessions are gone', async () => (await source.sql(left)).length === 0);
  });

  test('a table that may not be read is named, with the side and its code', async () => {
    const [source, target] = await both('create table secret (id int)');
    await using _ = source;
    await using __ = target;
    const comparing = compare(source, target, { source: readConninfo(source.neonUri, {}) });
    await expect(comparing).rejects.toMatchObject({
      code: 'source-rights',
      message: expect.stringMatching(/source.*public\.secret/),
    });
  });

  test('rows that a policy would hide are an error, not a difference and not equality', async () => {
    const [source, target] = await both('create table t (id int)');
    await using _ = source;
    await using __ = target;
    await source.sqlAsOwner(`create schema own; create table own.t (id int);
      alter table own.t enable row level security; alter table own.t force row level security;
      insert into own.t select 1 where false`);
    await source.sql('drop table t');
    await target.sql('drop table t; create schema own; create table own.t (id int)');
    const comparing = compare(source, target, { source: readConninfo(source.neonUri, {}) });
    await expect(comparing).rejects.toMatchObject({ code: 'source-rights' });
  });
});

describe('the command', () => {
  const uris = (source: TestDatabase, target: TestDatabase) => ({
    PGCOPYDB_SOURCE_PGURI: source.neonUri,
    PGCOPYDB_TARGET_PGURI: target.neonUri,
  });
  const owned = 'create table t (id int); insert into t values (1), (2)';

  test('equal sides: the table on stdout, exit 0', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sqlAsOwner(owned);
    await target.sqlAsOwner(owned);
    const { code, stdout, stderr } = await walferry(['compare', 'data'], { env: uris(source, target) }).exit;
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('1 tables, 2 rows') });
    expect(stdout).toMatch(/^ +Table Name \| ! \| +Source Checksum \| +Target Checksum\n/);
    expect(stdout).toMatch(new RegExp(`${source.name}\\.public\\.t \\|   \\| ([0-9a-f]{64}) \\| \\1\\n`));
  });

  test('a database compared with itself is equal, and that this proves nothing is said', async () => {
    await using source = await createDatabase('source');
    await source.sqlAsOwner(owned);
    const { code, stderr } = await walferry(['compare', 'data'], { env: uris(source, source) }).exit;
    expect(code).toBe(0);
    expect(stderr).toMatch(/WARN +source and target are one and the same database/);
  });

  test('different sides: exit 21, the tables named, JSON on stdout with --json', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sqlAsOwner(owned);
    await target.sqlAsOwner(`${owned}; delete from t where id = 2; create table extra (id int)`);
    const { code, stdout, stderr } = await walferry(['compare', 'data', '--jobs', '2', '--json'], {
      env: uris(source, target),
    }).exit;
    expect(code).toBe(21);
    expect(stderr).toContain('public.t has 2 rows on the source and 1 on the target');
    expect(stderr).toContain('public.extra exists only on the target');
    expect(JSON.parse(stdout)).toMatchObject([
      {
        schema: 'public',
        name: 't',
        source: { rowcount: 2, checksum: expect.stringMatching(/^[0-9a-f]{64}$/) },
        target: { rowcount: 1 },
        difference: 'rows',
      },
      { schema: 'public', name: 'extra', source: null, difference: 'only-on-target' },
    ]);
  });
});
