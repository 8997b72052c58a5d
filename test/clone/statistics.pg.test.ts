/** Statistics that a target from 18 on takes from the source, in place of gathering them. */
import { expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { until } from '../support/until.js';
import { useMajors } from '../support/majors.js';
import { cloneFor } from './clone-for.js';

const majors = useMajors();

/** What every version shows. */
const statistics = `
  select tablename as "table", attname as "column", null_frac::text, avg_width::text, n_distinct::text,
    most_common_vals::text, most_common_freqs::text, histogram_bounds::text, correlation::text,
    most_common_elems::text, most_common_elem_freqs::text, elem_count_histogram::text
  from pg_stats where schemaname = 'public' order by 1, 2`;

async function statisticsOf(database: TestDatabase, table: string): Promise<unknown[]> {
  const rows = await database.sql(statistics);
  return rows.filter((row) => row['table']?.startsWith(table));
}

/** The rows that the planner expects of a query. */
async function estimate(database: TestDatabase, query: string): Promise<number> {
  const [row] = await database.sql(`explain (format json) ${query}`);
  const [plan] = JSON.parse(row?.['QUERY PLAN'] ?? '[]') as { Plan: { 'Plan Rows': number } }[];
  return plan?.Plan['Plan Rows'] ?? -1;
}

// `kept` is carried over. Of the others each has one reason to be analyzed.
const schema = `
  create table kept (id int primary key, skewed int, t text collate "C", tags text[], n numeric, doc json, at timestamptz);
  create index kept_lower on kept (lower(t)) include (id);
  alter table kept alter skewed set statistics 20;
  create table kept_small (id int, t text);
  create table never (id int primary key, skewed int);
  create table changed (id int primary key, skewed int);
  create table with_objects (a int, b int); create statistics a_b (dependencies) on a, b from with_objects;
  create table spans (id int primary key, span int4range);
  create table late (id int primary key, t text);
  create table empty_one (id int primary key);
  alter table never set (autovacuum_enabled = false); alter table changed set (autovacuum_enabled = false);
  create table parent (id int primary key); create table child () inherits (parent);
  insert into kept select i, case when i % 10 < 7 then 1 else i % 50 end, md5((i % 300)::text), array['a' || i % 4, 'b"'],
    case when i % 3 = 0 then null when i % 3 = 1 then 'NaN' else i * 1.5 end, '{}', '2020-01-01'::timestamptz + i * interval '1 h'
    from generate_series(1, 20000) i;
  insert into kept_small select i % 5, 'x' || i from generate_series(1, 300) i;
  insert into never select i, i % 3 from generate_series(1, 500) i;
  insert into changed select i, i % 3 from generate_series(1, 500) i;
  insert into with_objects select i % 5, i % 5 from generate_series(1, 500) i;
  insert into spans select i, int4range(i, i + 5) from generate_series(1, 500) i;
  insert into late select i, 'T' || i from generate_series(1, 500) i;
  insert into parent select generate_series(1, 100); insert into child select generate_series(101, 200)`;

const analyze = 'analyze kept, kept_small, changed, with_objects, spans, late, empty_one, parent, child';
const change = 'create index late_lower on late (lower(t)); update changed set skewed = 7';

// Servers count some time after a transaction: what comes before an ANALYZE must be counted before it.
const inserted = `select from pg_stat_user_tables where relname = 'child' and n_tup_ins = 100`;
const changed = `
  select from pg_stat_user_tables c, pg_stat_user_tables k
  where c.relname = 'changed' and c.n_mod_since_analyze > 0 and k.relname = 'child' and k.last_analyze is not null`;

const queries = [
  'select from kept where skewed = 1',
  'select from kept where skewed = 42',
  `select from kept where at < '2020-03-01'`,
  `select from kept where tags @> '{a1}'`,
  `select from kept where lower(t) < 'a'`,
  'select from kept where n is null',
  'select from kept join kept_small on kept_small.id = kept.skewed',
  'select distinct id from kept_small',
];

// What ANALYZE has gathered there is told by its time.
const gathered = `
  select relname as name from pg_stat_user_tables where schemaname = 'public' and last_analyze is not null order by 1`;

test.for([
  [15, 'superuser'],
  [14, 'owner'],
] as const)('from %s to 18 as %s: the target plans as the source does', async ([from, as], context) => {
  const server = await majors.server(context, from, 'source');
  await using source = await createDatabase('source', { server });
  await using target = await createDatabase('target', { server: await majors.server(context, 18, 'target') });
  const sql = as === 'owner' ? source.sqlAsOwner : source.sql;
  await sql(schema);
  await until('the rows are counted', async () => (await sql(inserted)).length > 0);
  await sql(analyze);
  await sql(change);
  await until('the changes are counted', async () => (await sql(changed)).length > 0);
  await using run = await cloneFor(source, target, { as });

  await run.clone();

  expect((await target.sql(gathered)).map(({ name }) => name)).toEqual([
    'changed',
    'empty_one',
    'late',
    'never',
    'parent',
    'spans',
    'with_objects',
  ]);
  expect(await statisticsOf(target, 'kept')).toEqual(await statisticsOf(source, 'kept'));
  expect(await statisticsOf(target, 'kept')).toHaveLength(10);
  for (const query of queries)
    expect(await estimate(target, query), query).toBe(await estimate(source, query));
  // The rows are those that were copied, and the pages those that are there.
  const [holds] = await target.sql(
    `select string_agg(relname || ' ' || reltuples, ', ' order by relname) as rows,
       bool_and(relpages = pg_relation_size(oid) / 8192) as pages
     from pg_class where relname in ('kept', 'kept_small', 'child')`,
  );
  expect(holds).toEqual({ rows: 'child 100, kept 20000, kept_small 300', pages: 't' });
  expect(run.said).toEqual([]);
});

test('none are taken with --skip-vacuum', async (context) => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target', { server: await majors.server(context, 18, 'target') });
  await source.sql('create table t as select generate_series(1, 100) as id; analyze t');
  await using run = await cloneFor(source, target);

  await run.clone({ skipVacuum: true });

  expect(await target.sql(`select from pg_stats where schemaname = 'public'`)).toEqual([]);
});
