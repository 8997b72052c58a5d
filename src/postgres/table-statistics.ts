/**
 * The planner's statistics of tables, as one server has gathered them and another takes them: pg_stats of any version,
 * and the functions that PostgreSQL 18 has for putting them back. Between the two they are JSON that nobody here reads.
 * https://www.postgresql.org/docs/18/functions-admin.html#FUNCTIONS-ADMIN-STATSMOD
 */
import { columnList } from './binary-copy.js';
import { arrayLiteral } from '../model/sql.js';
import type { Session } from './connect.js';

/** Servers that take statistics. */
export const takesStatisticsFrom = 180_000;

// pg_stats shows those of ranges since.
const rangesSince = 170_000;

/** What a server knows of a table, and how good that is. */
export type TableStatistics = {
  readonly oid: number;
  /** reltuples: -1 when never analyzed. */
  readonly estimatedRows: number;
  /** Rows changed since the last ANALYZE; null where the server does not know of one. */
  readonly modified: number | null;
  /** Whether there are statistics objects, which only ANALYZE fills. */
  readonly extended: boolean;
  /** Whether it has children: statistics of them all together are gathered by ANALYZE. */
  readonly parent: boolean;
  /** Columns, and expressions of indexes, of which there are none, or not all of them can be read. */
  readonly lacking: number;
  /** Whether values are sorted by the database's own collation. */
  readonly collated: boolean;
  /** As CopyTarget.columns. */
  readonly columns: string | null;
  /** For {@link restoreStatistics}. */
  readonly json: string;
};

const texts = ['most_common_vals', 'histogram_bounds', 'most_common_elems'];
const reals = ['most_common_freqs', 'most_common_elem_freqs', 'elem_count_histogram'];
const rangeTexts = ['range_length_histogram', 'range_bounds_histogram'];

/** Columns of the table and expressions of its indexes, with the relation that they are of. */
const attributes = `
  select x.relname, a.* from (
      select c.oid, c.relname, null::int2vector as keys
      union all
      select i.indexrelid, xc.relname, i.indkey from pg_catalog.pg_index i
      join pg_catalog.pg_class xc on xc.oid = i.indexrelid where i.indrelid = c.oid and i.indisvalid) x
    join pg_catalog.pg_attribute a on a.attrelid = x.oid and a.attnum > 0 and not a.attisdropped
      and (x.keys is null or x.keys[a.attnum - 1] = 0)`;

const fields = [...['null_frac', 'avg_width', 'n_distinct', ...texts, ...reals, 'correlation']];

// Names of the relations that pg_stats is asked for: a condition that is no constant would not reach into the view, and
// every table would be looked for among all.
const namesQuery = `
  select n.nspname as schema, c.relname as name from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.oid = any ($1::oid[]) or c.oid in (
    select i.indexrelid from pg_catalog.pg_index i where i.indrelid = any ($1::oid[]) and i.indexprs is not null)`;

function fetchQuery(serverVersion: number): string {
  const withRanges = serverVersion >= rangesSince;
  const all = withRanges ? [...fields, ...rangeTexts, 'range_empty_frac'] : fields;
  const json = all.map((name) => `'${name}', s.${name}::text`).join(', ');
  // Statistics of ranges that cannot be read count as lacking; so does what a virtual column cannot have.
  const isRange = `exists (select from pg_catalog.pg_type t left join pg_catalog.pg_type b on b.oid = t.typbasetype
        where t.oid = a.atttypid and coalesce(b.typtype, t.typtype) in ('r', 'm'))`;
  return `
    with known as materialized (
      select * from pg_catalog.pg_stats s
      where s.schemaname = any ($2::name[]) and s.tablename = any ($3::name[]) and not s.inherited)
    select c.oid, c.reltuples as estimated_rows, a.lacking, a.collated, a.json,
      case when pg_catalog.pg_stat_get_last_analyze_time(c.oid) is not null
          or pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid) is not null
        then pg_catalog.pg_stat_get_mod_since_analyze(c.oid) end as modified,
      exists (select from pg_catalog.pg_statistic_ext e where e.stxrelid = c.oid) as extended,
      exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid) as parent,
      (select ${columnList} from pg_catalog.pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace,
    lateral (
      select count(*) filter (where s.attname is null${withRanges ? '' : ` or ${isRange}`}) as lacking,
        coalesce(pg_catalog.bool_or(a.attcollation = 100), false) as collated,
        coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('schema', n.nspname, 'table', c.relname,
          'relation', a.relname, 'column', a.attname, ${json})) filter (where s.attname is not null), '[]') as json
      from (${attributes}) a
      left join known s on s.schemaname = n.nspname and s.tablename = a.relname and s.attname = a.attname
      where coalesce(a.attstattarget, -1) <> 0 and a.attgenerated <> 'v') a
    where c.oid = any ($1::oid[])`;
}

/** The statistics of these tables as they are now, by OID. */
export async function fetchStatistics(
  session: Session,
  oids: readonly number[],
): Promise<Map<number, TableStatistics>> {
  const list = `{${oids.join(',')}}`;
  const names = await session.query(namesQuery, [list]);
  const rows = await session.query(fetchQuery(session.serverVersion), [
    list,
    arrayLiteral(new Set(names.map((row) => row['schema'] ?? ''))),
    arrayLiteral(new Set(names.map((row) => row['name'] ?? ''))),
  ]);
  return new Map(
    rows.map((row) => [
      Number(row['oid']),
      {
        oid: Number(row['oid']),
        estimatedRows: Number(row['estimated_rows']),
        modified: row['modified'] === null ? null : Number(row['modified']),
        extended: row['extended'] === 't',
        parent: row['parent'] === 't',
        lacking: Number(row['lacking']),
        collated: row['collated'] === 't',
        columns: row['columns'] ?? null,
        json: row['json'] ?? '[]',
      },
    ]),
  );
}

/** A table that statistics are put back to. */
export type StatisticsTarget = {
  readonly schema: string;
  readonly name: string;
  /** How many rows it holds. */
  readonly rows: number;
  /** Whether all of its pages are known to be visible to everybody. */
  readonly frozen: boolean;
  readonly statistics: TableStatistics;
};

const pairs = (names: readonly string[], type: string) =>
  names.map((name) => `'${name}', s.${name}::${type}`);

const columnArguments = [
  ...pairs(['null_frac', 'n_distinct', 'correlation', 'range_empty_frac'], 'real'),
  ...pairs(['avg_width'], 'integer'),
  ...pairs([...texts, ...rangeTexts], 'text'),
  ...pairs(reals, 'real[]'),
];

const recordColumns = [
  ...['schema', '"table"', 'relation', '"column"'],
  ...[...fields, ...rangeTexts, 'range_empty_frac'],
].map((name) => `${name} text`);

// An argument that is null counts as not given.
const restoreColumnsQuery = `
  select s.schema, s."table" as name, pg_catalog.bool_and(pg_catalog.pg_restore_attribute_stats(
      'schemaname', s.schema, 'relname', s.relation, 'attname', s."column", 'inherited', false, 'version', $2::integer,
      ${columnArguments.join(', ')})) as taken
  from pg_catalog.json_to_recordset($1::json) as s(${recordColumns.join(', ')})
  group by 1, 2`;

// An index that was built has counted the rows already. The planner scales by the number of blocks at the time of planning.
const restoreRowsQuery = `
  select pg_catalog.pg_restore_relation_stats('schemaname', n.nspname::text, 'relname', c.relname::text,
    'version', $2::integer, 'relpages', p.pages, 'reltuples', t.rows::real,
    'relallvisible', case when t.frozen then p.pages else 0 end)
  from pg_catalog.json_to_recordset($1::json) as t(schema text, name text, rows bigint, frozen boolean)
  join pg_catalog.pg_namespace n on n.nspname = t.schema
  join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = t.name and c.reltuples <> t.rows::real,
  lateral (select (pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::integer)::integer
    as pages) p`;

/**
 * Puts statistics back, in a transaction of its own. Gives the tables (by OID of the source) of which every value was
 * taken; of the others some may be there. Throws what the server refuses: the right to maintain a table, for one.
 */
export async function restoreStatistics(
  target: Session,
  tables: readonly StatisticsTarget[],
  sourceVersion: number,
): Promise<Set<number>> {
  const version = String(sourceVersion);
  await target.query('begin');
  try {
    // What cannot be read is a warning, which would quote values.
    await target.query('set local client_min_messages to error');
    const json = `[${tables.flatMap(({ statistics }) => statistics.json.slice(1, -1).trim() || []).join(',')}]`;
    const answers = await target.query(restoreColumnsQuery, [json, version]);
    const refused = new Set(
      answers.filter((row) => row['taken'] !== 't').map((row) => `${row['schema']}.${row['name']}`),
    );
    const taken = tables.filter(({ schema, name }) => !refused.has(`${schema}.${name}`));
    const rows = taken.map(({ schema, name, rows, frozen }) => ({ schema, name, rows, frozen }));
    await target.query(restoreRowsQuery, [JSON.stringify(rows), version]);
    await target.query('commit');
    return new Set(taken.map(({ statistics }) => statistics.oid));
  } catch (error) {
    await target.query('rollback').catch(() => {});
    throw error;
  }
}

// The provider's columns changed their names in 15 and 17.
const collationQuery = `
  select coalesce(f.facts ->> 'datlocprovider', 'c') as provider,
    coalesce(f.facts ->> 'datlocale', f.facts ->> 'daticulocale', d.datcollate) as locale
  from pg_catalog.pg_database d, lateral (select pg_catalog.to_jsonb(d) as facts) f
  where d.datname = pg_catalog.current_database()`;

/** How the database's own collation sorts: equal for two databases that sort alike. */
export async function fetchSortOrder(session: Session): Promise<string> {
  const [row] = await session.query(collationQuery);
  return sortOrder(row?.['provider'] ?? 'c', row?.['locale'] ?? '');
}

/** `bytes` for every locale that sorts by the bytes of UTF-8, whatever provides it. */
export function sortOrder(provider: string, locale: string): string {
  if (provider === 'b') return 'bytes';
  // As systems spell them: en_US.UTF-8, en_US.utf8.
  const name = locale.toLowerCase().replaceAll('-', '');
  if (provider === 'c' && /^(?:c|posix)(?:\.utf8)?$/.test(name)) return 'bytes';
  return `${provider} ${name}`;
}
