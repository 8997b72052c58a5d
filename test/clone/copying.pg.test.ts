import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { expectEqual } from '../support/equal.js';
import { until } from '../support/until.js';
import { cloneFor } from './clone-for.js';

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const thrown: unknown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (thrown instanceof Failure) return thrown;
  throw new Error(`expected a Failure, got ${String(thrown)}`);
}

/** The tasks that the target says it holds, of rows. */
async function copyTasks(target: TestDatabase): Promise<Record<string, number>> {
  const rows = await target.sql(
    `select name, rows from walferry.task where name like 'copy "%' order by name collate "C"`,
  );
  return Object.fromEntries(rows.map((row) => [row['name'] ?? '', Number(row['rows'])]));
}

const split = { largerThanBytes: 100_000, maxParts: null, byCtid: true };

describe('large tables in parts', () => {
  test('by key: negative, gaps, skew, NULLs, the ends of the type; each row once', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`
      create table k (id bigint unique, text text);
      insert into k select case when i % 4 = 0 then null when i % 4 = 1 then -i when i % 4 = 2 then i else 1000000000 + i end,
        'row ' || i from generate_series(1, 8000) i;
      insert into k values (9223372036854775807, 'last'), (-9223372036854775808, 'first'), (-1, 'minus one twice is refused')
        on conflict do nothing;
      cluster k using k_id_key; analyze k;`);
    await using run = await cloneFor(source, target);

    const summary = await run.clone({ split });

    await expectEqual(source, target);
    const tasks = await copyTasks(target);
    const parts = Object.keys(tasks).length;
    expect(parts).toBeGreaterThan(3);
    expect(summary.tables.map((table) => [table.name, table.parts, table.rows])).toEqual([
      ['k', parts, 8002],
    ]);
    // Quantiles: no part of the keys has more than twice its share, whatever the gaps; the NULLs are the last part.
    const counts = Object.values(tasks);
    const [nulls] = await source.sql('select count(*) as n from k where id is null');
    expect(counts).toContain(Number(nulls?.['n']));
    const keyed = counts.filter((count) => count !== Number(nulls?.['n']));
    expect(Math.max(...keyed)).toBeLessThan((2 * 6002) / keyed.length);
  });

  test('by CTID: a heap with dead rows and rows that came after the snapshot', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`
      create table h (id int, text text) with (autovacuum_enabled = false);
      insert into h select i % 3, repeat('x', i % 100) from generate_series(1, 6000) i;
      delete from h where id = 2;`);
    await using run = await cloneFor(source, target);
    const expected = await source.sql('select count(*) as n, sum(length(text)) as s from h');
    await source.sql(`
      update h set text = 'changed' where id = 1; insert into h select 7, 'new' from generate_series(1, 6000)`);

    await run.clone({ split });

    expect(await target.sql('select count(*) as n, sum(length(text)) as s from h')).toEqual(expected);
    expect(Object.keys(await copyTasks(target)).length).toBeGreaterThan(2);
  });

  test('the size that counts is that of heap and TOAST together', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`
      create table w (id int primary key, doc text); alter table w alter doc set storage external;
      insert into w select i, repeat(md5(i::text), 600) from generate_series(1, 400) i; analyze w`);
    await using run = await cloneFor(source, target);

    const summary = await run.clone({ split: { ...split, largerThanBytes: 2_000_000, maxParts: 3 } });

    await expectEqual(source, target);
    expect(summary.tables.map(({ parts }) => parts)).toEqual([3]);
    expect(Object.values(await copyTasks(target)).every((rows) => rows > 100)).toBe(true);
  });

  test('killed between parts and resumed: no part twice, none missing, the others untouched', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create table h (id int, text text);
      insert into h select i, repeat('x', i % 100) from generate_series(1, 6000) i`);
    await using run = await cloneFor(source, target);
    await run.cloneAndDie('clone.table-committed:2', { split, jobs: { table: 1, index: 1, restore: 1 } });
    const before = await target.sql(
      `select name, done_at, rows from walferry.task where name like 'copy "%' order by 1`,
    );
    expect(before).toHaveLength(2);

    await run.clone({ split, resume: true });

    await expectEqual(source, target);
    const after = await target.sql(
      `select name, done_at, rows from walferry.task where name like 'copy "%' order by 1`,
    );
    expect(after).toEqual(expect.arrayContaining(before));
  });

  test('a table that is truncated after the snapshot fails in every part', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create table h (id int, text text);
      insert into h select i, repeat('x', i % 100) from generate_series(1, 6000) i`);
    await using run = await cloneFor(source, target);
    await run.cloneAndDie('clone.pre-data:1', { split });
    await source.sql('truncate h');

    const failure = await failureOf(run.clone({ split, resume: true }));

    expect(failure.code).toBe('table-rewritten');
    expect(await target.sql('select count(*) as n from h')).toEqual([{ n: '0' }]);
  });

  test('rows of somebody else are not mixed with ours', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create table h (id int, text text);
      insert into h select i, repeat('x', i % 100) from generate_series(1, 6000) i`);
    await using run = await cloneFor(source, target);
    await run.cloneAndDie('clone.pre-data:1', { split });
    await target.sql(`insert into h values (-1, 'stranger')`);

    const failure = await failureOf(run.clone({ split, resume: true }));

    expect(failure.code).toBe('target-not-empty');
    expect(await target.sql('select count(*) as n from h')).toEqual([{ n: '1' }]);
  });

  test('estimated sizes are near the true ones', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create table h (id int primary key, text text);
      insert into h select i, repeat('x', i % 100) from generate_series(1, 6000) i; analyze h`);
    await using run = await cloneFor(source, target);

    const summary = await run.clone({ split, estimateTableSizes: true });

    await expectEqual(source, target);
    expect(summary.tables[0]?.parts).toBeGreaterThan(2);
  });
});

describe('binary format', () => {
  const everyType = `
    create domain age as int check (value >= 0);
    create type mood as enum ('sad', 'ok'); create type pair as (a int, b text);
    create type span as range (subtype = int);
    create table safe (
      i2 smallint, i4 int, i8 bigint, o bool, r real, d double precision, n numeric, n2 numeric(12, 3), t text, v varchar(9),
      c char(5), y bytea, da date, ti time, tz timetz, ts timestamp, tt timestamptz, iv interval, u uuid, j json, jb jsonb,
      ip inet, ci cidr, ma macaddr, b bit(3), vb varbit, p point, ar int[], tx text[], ag age, mo mood, rg int4range,
      mr int8multirange, pl pg_lsn, mn money, pa pair, nm name);
    insert into safe select 1, -1, 9223372036854775807, true, 'nan', '-infinity', 'nan', 1.100, E'tab\\tnew\\n\\\\', 'é', 'x',
      '\\x00ff', '-infinity', '24:00', '12:00:01.5+05:30', 'infinity', '2026-03-29 01:30+00', '1 mon -1 day 00:00:00.000001',
      '11111111-2222-3333-4444-555555555555', '{"a": 1,  "b":2}', '{"a": 1.10}', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03',
      b'101', b'1', '(1.5,2)', '{{1,2},{3,null}}', '{"a,b",NULL,"\\""}', 5, 'ok', '[1,5)', '{[1,2),[5,)}', '16/B374D848',
      '12.34', row(1, 'x,"y')::pair, 'n' from generate_series(1, 1000);
    insert into safe default values;
    create table unsafe (c regclass, x xml, s tsvector, m mood[], q tsquery);
    insert into unsafe values ('safe', '<a>é</a>', 'b a:1', '{sad,ok}', 'a & !b');
    create table nothing (); insert into nothing default values; insert into nothing default values;`;

  test('chosen by itself where every type is safe; the others go as text; equal to the last digit', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(everyType);
    await using run = await cloneFor(source, target);

    const formats = new Map<string, unknown>();
    const notice = (line: string, fields: Readonly<Record<string, unknown>> = {}) => {
      if (line.startsWith('copied ')) formats.set(line, fields['format']);
    };

    const { tables } = await run.clone({ log: { ...run.options.log, notice } });

    await expectEqual(source, target);
    expect(tables.find(({ name }) => name === 'nothing')?.rows).toBe(2);
    expect(Object.fromEntries(formats)).toEqual({
      'copied public.safe': 'binary',
      'copied public.unsafe': 'text',
      'copied public.nothing': 'text',
    });
  });

  test('asked for, types of extensions too, and what cannot be is text and said', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(everyType);
    await using run = await cloneFor(source, target);
    const notices: string[] = [];

    await run.clone({
      useCopyBinary: true,
      log: { ...run.options.log, notice: (line) => notices.push(line) },
    });

    await expectEqual(source, target);
    expect(notices.filter((line) => line.includes('is copied as text'))).toEqual([
      expect.stringContaining('public.unsafe'),
    ]);
  });
});

describe('small tables', () => {
  const many = Array.from(
    { length: 60 },
    (_, index) => `create table t${index} (id int primary key, text text);
      create index on t${index} (text); insert into t${index} select i, 'n' || i from generate_series(1, ${index}) i`,
  ).join(';');

  test('go together, with their indexes, constraints and statistics', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(many);
    await using run = await cloneFor(source, target);

    const summary = await run.clone();

    await expectEqual(source, target);
    expect(summary.tables.map(({ rows }) => rows)).toEqual(Array.from({ length: 60 }, (_, index) => index));
    const [counts] = await target.sql(`
      select count(*) filter (where contype = 'p') as keys,
        (select count(*) from pg_indexes where schemaname = 'public') as indexes,
        (select count(*) from pg_class where relname ~ '^t[0-9]+$' and reltuples >= 0) as analyzed
      from pg_constraint where conrelid::regclass::text ~ '^t[0-9]+$'`);
    expect(counts).toEqual({ keys: '60', indexes: '120', analyzed: '60' });
  });

  test('one that cannot be copied keeps none of the others back, and is named', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${many}; create table bad (x int check (current_database() = '${source.name}'));
      insert into bad values (1)`);
    await using run = await cloneFor(source, target);

    const failure = await failureOf(run.clone());

    expect(failure.code).toBe('target-statement');
    expect(failure.message).toContain('public.bad');
    const tasks = await copyTasks(target);
    expect(Object.keys(tasks)).toHaveLength(60);
    expect(await target.sql('select count(*) as n from t59')).toEqual([{ n: '59' }]);
  });

  test('an index that cannot be built is named, and the others are there', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${many};
      create function here(int) returns int immutable language plpgsql as
        'begin if current_database() <> ''${source.name}'' then raise exception ''not here''; end if; return 1; end';
      create table bad (x int); insert into bad values (1); create index bad_here on bad (here(x))`);
    await using run = await cloneFor(source, target);

    const failure = await failureOf(run.clone());

    expect(failure.message).toContain('bad_here');
    const [counts] = await target.sql(`select count(*) as n from pg_indexes where schemaname = 'public'`);
    expect(counts).toEqual({ n: '120' });
  });
});

describe('connections', () => {
  // A CHECK constraint that sleeps makes the copy of `slow` last.
  const slow = `
    create function nap() returns bool language plpgsql volatile as
      'begin perform pg_catalog.pg_sleep(0.02); return true; end';
    create table slow (id int check (nap())); alter table slow disable trigger all;`;
  const tables = Array.from(
    { length: 6 },
    (_, index) => `create table t${index} (id int, text text); create index on t${index} (text);
      insert into t${index} select i, repeat('x', 100) from generate_series(1, 4000) i`,
  ).join(';');

  async function withSlow(source: TestDatabase): Promise<void> {
    await source.sql(`${tables}; ${slow} insert into slow select i from generate_series(1, 100) i`);
  }

  test.each(['source', 'target'] as const)(
    'a COPY whose connection to the %s is lost is done again, and the rest goes on',
    async (side) => {
      await using source = await createDatabase('source');
      await using target = await createDatabase('target');
      await withSlow(source);
      await using run = await cloneFor(source, target);
      const copying = `select pid from pg_stat_activity where datname = current_database()
        and application_name = 'walferry copy' and state <> 'idle' and query like '%slow%'`;

      const [summary] = await Promise.all([
        run.clone(),
        until('slow is copied', async () => {
          const running = await target.sql(`${copying} and query like '%stdin%'`);
          return running.length > 0;
        }).then(async () => {
          const database = side === 'source' ? source : target;
          await database.sql(`select pg_terminate_backend(pid) from (${copying}
            ${side === 'source' ? "union select pid from pg_stat_activity where datname = current_database() and query like 'copy%slow%'" : ''}) as p`);
        }),
      ]);

      expect(run.said.filter((line) => line.includes('again'))).not.toEqual([]);
      expect(summary.tables.find(({ name }) => name === 'slow')?.rows).toBe(100);
      expect(await target.sql('select count(*) as n, count(distinct id) as d from slow')).toEqual([
        { n: '100', d: '100' },
      ]);
    },
  );

  test('never more than table jobs + 2 on the source, table jobs + index jobs + 2 on the target', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await withSlow(source);
    await using run = await cloneFor(source, target);
    const most = { source: 0, target: 0 };
    let going = true;
    const count = `select count(*) as n from pg_stat_activity where datname = current_database()
      and (application_name like 'walferry%' or application_name in ('pg_dump', 'pg_restore'))`;
    const watching = (async () => {
      while (going) {
        const [[s], [t]] = await Promise.all([source.sql(count), target.sql(count)]);
        most.source = Math.max(most.source, Number(s?.['n']));
        most.target = Math.max(most.target, Number(t?.['n']));
        await sleep(5);
      }
    })();

    await run.clone({ jobs: { table: 3, index: 2, restore: 2 } }).finally(() => (going = false));
    await watching;

    await expectEqual(source, target);
    // The test's own session holds the snapshot: with it, one more on the source.
    expect(most.source + 1).toBeLessThanOrEqual(3 + 2);
    expect(most.target).toBeLessThanOrEqual(3 + 2 + 2);
    expect(most.source).toBeGreaterThanOrEqual(3);
    expect(most.target).toBeGreaterThanOrEqual(4);
  });

  test('a target that gives only three connections: slower, said once for each kind of work, and complete', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await withSlow(source);
    await using run = await cloneFor(source, target, { as: 'owner' });
    await source.sql('grant select on all tables in schema public to public');
    // Superusers, as which the test itself is connected, are not counted.
    await target.sql(`alter database ${target.name} connection limit 3`);

    await run.clone({ jobs: { table: 4, index: 4, restore: 1 } });

    await expectEqual(source, target);
    const fewer = run.said.filter((line) => line.includes('going on with fewer'));
    expect(fewer).toHaveLength(2);
  });
});
