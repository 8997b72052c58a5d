/**
 * What the `list` commands show of a source: a query for each kind of object, whatever their number. Names are as the
 * server quotes them (quote_ident), because that is what scripts paste into SQL; `schemaName` and `tableName` are as
 * they are, to choose by.
 */
import { quoteQualified } from '../model/sql.js';
import type { Session, TextRow } from './connect.js';
import { notOfExtension, userSchema } from './schema-scope.js';

/** Which objects are asked for; null: of every schema, of every table. */
export type ListScope = { readonly schema: string | null; readonly table: string | null };

const everything: ListScope = { schema: null, table: null };

export type ListedName = {
  readonly oid: number;
  /** Quoted where SQL needs it. */
  readonly schema: string;
  readonly name: string;
  /** As the catalog has them. */
  readonly rawSchema: string;
  readonly rawName: string;
};

export type ListedTable = ListedName & {
  /** reltuples: -1 when never analysed. */
  readonly estimatedRows: number;
  readonly bytes: number;
  readonly hasPrimaryKey: boolean;
  /** `schema name owner`, as pg_restore --list prints it. */
  readonly restoreName: string;
};

/** As pg_restore --list prints names: line breaks would end the line. Speaks of SQL expressions. */
function restoreName(...parts: readonly string[]): string {
  const plain = parts.map((part) => `pg_catalog.regexp_replace(${part}, '[\\n\\r]', ' ', 'g')`);
  return plain.join(` || ' ' || `);
}

const inScope = `($1::text is null or n.nspname = $1) and ($2::text is null or c.relname = $2)`;

const nameColumns = (relation: string, schema: string) => `
    ${relation}.oid, pg_catalog.quote_ident(${schema}.nspname) as schema,
    pg_catalog.quote_ident(${relation}.relname) as name,
    ${schema}.nspname as raw_schema, ${relation}.relname as raw_name`;

const tablesQuery = `
  select ${nameColumns('c', 'n')},
    c.reltuples::bigint as estimated_rows,
    case when $3::boolean then c.relpages * pg_catalog.current_setting('block_size')::bigint
      else coalesce(pg_catalog.pg_table_size(c.oid), 0) end as bytes,
    exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary) as primary_key,
    ${restoreName('n.nspname', 'c.relname', 'r.rolname')} as restore_name
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_roles r on r.oid = c.relowner
  where c.relkind = 'r' and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension} and ${inScope}
  order by bytes desc, n.nspname, c.relname`;

/** Every table whose rows a clone copies, the largest first, as it copies them; sizes may be the statistics'. */
export async function listTables(
  session: Session,
  scope: ListScope = everything,
  estimateSizes = false,
): Promise<ListedTable[]> {
  const rows = await session.query(tablesQuery, [scope.schema, scope.table, String(estimateSizes)]);
  return rows.map((row) => ({
    ...readName(row),
    estimatedRows: Number(row['estimated_rows']),
    bytes: Number(row['bytes']),
    hasPrimaryKey: row['primary_key'] === 't',
    restoreName: row['restore_name'] ?? '',
  }));
}

export type ListedColumn = {
  readonly attnum: number;
  readonly typeOid: number;
  readonly name: string;
  readonly primary: boolean;
  /** Part of what identifies a row for logical replication. */
  readonly identity: boolean;
  readonly generated: boolean;
};

const columnsQuery = `
  select a.attrelid as table_oid, a.attnum, a.atttypid as type_oid, pg_catalog.quote_ident(a.attname) as name,
    a.attnum = any (p.indkey[0 : p.indnkeyatts - 1]) as is_primary,
    case c.relreplident
      when 'f' then true
      when 'i' then a.attnum = any (r.indkey[0 : r.indnkeyatts - 1])
      when 'd' then a.attnum = any (p.indkey[0 : p.indnkeyatts - 1])
    end as is_identity,
    a.attgenerated <> '' as generated
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join pg_catalog.pg_index p on p.indrelid = c.oid and p.indisprimary
  left join pg_catalog.pg_index r on r.indrelid = c.oid and r.indisreplident
  where c.relkind = 'r' and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension}
    and a.attnum > 0 and not a.attisdropped
  order by a.attrelid, a.attnum`;

/** The columns of every table, by the table's OID. */
export async function listColumns(session: Session): Promise<Map<number, ListedColumn[]>> {
  const byTable = new Map<number, ListedColumn[]>();
  for (const row of await session.query(columnsQuery)) {
    const table = Number(row['table_oid']);
    const column = {
      attnum: Number(row['attnum']),
      typeOid: Number(row['type_oid']),
      name: row['name'] ?? '',
      primary: row['is_primary'] === 't',
      identity: row['is_identity'] === 't',
      generated: row['generated'] === 't',
    };
    const others = byTable.get(table);
    if (others === undefined) byTable.set(table, [column]);
    else others.push(column);
  }
  return byTable;
}

export type ListedSequence = ListedName & {
  /** OIDs of the table that owns it, and of the table and the default that use it; 0 where there is none. */
  readonly ownedBy: number;
  readonly attrelid: number;
  readonly attroid: number;
  readonly restoreName: string;
};

// A sequence that several defaults use is shown with the first of them.
const sequencesQuery = `
  select ${nameColumns('c', 'n')},
    coalesce(o.refobjid, 0) as owned_by, coalesce(u.adrelid, 0) as attrelid, coalesce(u.oid, 0) as attroid,
    ${restoreName('n.nspname', 'c.relname', 'r.rolname')} as restore_name
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_roles r on r.oid = c.relowner
  left join pg_catalog.pg_depend o on o.classid = 'pg_catalog.pg_class'::regclass and o.objid = c.oid
    and o.refclassid = 'pg_catalog.pg_class'::regclass and o.refobjsubid > 0 and o.deptype in ('a', 'i')
  left join lateral (
    select d.oid, d.adrelid
    from pg_catalog.pg_depend e
    join pg_catalog.pg_attrdef d on d.oid = e.objid
    where e.refclassid = 'pg_catalog.pg_class'::regclass and e.refobjid = c.oid
      and e.classid = 'pg_catalog.pg_attrdef'::regclass
    order by d.oid limit 1) u on true
  where c.relkind = 'S' and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension} and ${inScope}
  order by n.nspname, c.relname`;

/** Every sequence; `scope.table` is then a sequence's name. */
export async function listSequences(
  session: Session,
  scope: ListScope = everything,
): Promise<ListedSequence[]> {
  const rows = await session.query(sequencesQuery, [scope.schema, scope.table]);
  return rows.map((row) => ({
    ...readName(row),
    ownedBy: Number(row['owned_by']),
    attrelid: Number(row['attrelid']),
    attroid: Number(row['attroid']),
    restoreName: row['restore_name'] ?? '',
  }));
}

export type SequenceValue = { readonly lastValue: string; readonly isCalled: boolean };

// One statement reads this many sequences.
const sequencesAtOnce = 500;

/** Where these sequences stand, in their order. */
export async function listSequenceValues(
  session: Session,
  sequences: readonly ListedName[],
): Promise<SequenceValue[]> {
  const values: SequenceValue[] = [];
  for (let from = 0; from < sequences.length; from += sequencesAtOnce) {
    const some = sequences.slice(from, from + sequencesAtOnce);
    const selects = some.map(
      ({ rawSchema, rawName }, position) =>
        `select ${position} as position, last_value, is_called from ${quoteQualified(rawSchema, rawName)}`,
    );
    const query = `${selects.join(' union all ')} order by position`;
    for (const row of await session.query(query, [], 'could not read the sequences')) {
      values.push({ lastValue: row['last_value'] ?? '', isCalled: row['is_called'] === 't' });
    }
  }
  return values;
}

export type ListedIndex = ListedName & {
  readonly table: { readonly oid: number; readonly schema: string; readonly name: string };
  readonly primary: boolean;
  readonly unique: boolean;
  /** Names of its columns, joined by commas; an expression is an empty name. */
  readonly columns: string;
  readonly definition: string;
  readonly restoreName: string;
  readonly constraint: {
    readonly oid: number;
    readonly name: string;
    readonly definition: string;
    /** EXCLUDE builds its own index: there is no CREATE INDEX for it. */
    readonly exclusion: boolean;
    readonly restoreName: string;
  } | null;
};

const indexesQuery = `
  select ${nameColumns('x', 'xn')},
    c.oid as table_oid, pg_catalog.quote_ident(n.nspname) as table_schema,
    pg_catalog.quote_ident(c.relname) as table_name,
    i.indisprimary as is_primary, i.indisunique as is_unique, pg_catalog.pg_get_indexdef(i.indexrelid) as definition,
    (select pg_catalog.string_agg(coalesce(pg_catalog.quote_ident(a.attname), ''), ',' order by k.position)
      from pg_catalog.unnest(i.indkey::int2[]) with ordinality as k(attnum, position)
      left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum and k.attnum <> 0
    ) as columns,
    ${restoreName('xn.nspname', 'x.relname', 'r.rolname')} as restore_name,
    k.oid as constraint_oid, pg_catalog.quote_ident(k.conname) as constraint_name,
    pg_catalog.pg_get_constraintdef(k.oid) as constraint_definition, k.contype = 'x' as exclusion,
    ${restoreName('n.nspname', 'c.relname', 'k.conname', 'r.rolname')} as constraint_restore_name
  from pg_catalog.pg_index i
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  join pg_catalog.pg_namespace xn on xn.oid = x.relnamespace
  join pg_catalog.pg_class c on c.oid = i.indrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_roles r on r.oid = c.relowner
  left join pg_catalog.pg_constraint k on k.conindid = i.indexrelid and k.conrelid = i.indrelid
    and k.contype in ('p', 'u', 'x')
  where c.relkind in ('r', 'm') and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension} and ${inScope}
  order by n.nspname, c.relname, xn.nspname, x.relname`;

/** Every index of a table or a materialized view, valid or not. */
export async function listIndexes(session: Session, scope: ListScope = everything): Promise<ListedIndex[]> {
  const rows = await session.query(indexesQuery, [scope.schema, scope.table]);
  return rows.map((row) => ({
    ...readName(row),
    table: {
      oid: Number(row['table_oid']),
      schema: row['table_schema'] ?? '',
      name: row['table_name'] ?? '',
    },
    primary: row['is_primary'] === 't',
    unique: row['is_unique'] === 't',
    columns: row['columns'] ?? '',
    definition: row['definition'] ?? '',
    restoreName: row['restore_name'] ?? '',
    constraint: readConstraint(row),
  }));
}

function readConstraint(row: TextRow): ListedIndex['constraint'] {
  const oid = row['constraint_oid'] ?? null;
  if (oid === null) return null;
  return {
    oid: Number(oid),
    name: row['constraint_name'] ?? '',
    definition: row['constraint_definition'] ?? '',
    exclusion: row['exclusion'] === 't',
    restoreName: row['constraint_restore_name'] ?? '',
  };
}

/** SQL: why a clone of all databases leaves out `pg_database d`; null where our role can connect to it. */
export const leftOutBecause = `
  case when d.datconnlimit = -2 then 'a DROP DATABASE of it was interrupted'
    when not d.datallowconn then 'it allows no connections'
    when not pg_catalog.has_database_privilege(d.oid, 'connect')
      then 'our role on the source may not connect to it' end`;

export type ListedDatabase = {
  readonly oid: number;
  readonly name: string;
  /** Null where our role may not connect: the server does not tell the size then. */
  readonly bytes: number | null;
};

const databasesQuery = `
  select d.oid, pg_catalog.quote_ident(d.datname) as name,
    case when pg_catalog.has_database_privilege(d.oid, 'connect')
        or pg_catalog.pg_has_role('pg_read_all_stats', 'usage')
      then pg_catalog.pg_database_size(d.oid) end as bytes
  from pg_catalog.pg_database d
  where d.datname not in ('template0', 'template1')
  order by bytes desc nulls last, d.datname`;

/** Every database of the server but the two templates, the largest first. */
export async function listDatabases(session: Session): Promise<ListedDatabase[]> {
  const rows = await session.query(databasesQuery);
  return rows.map((row) => ({
    oid: Number(row['oid']),
    name: row['name'] ?? '',
    bytes: row['bytes'] === null || row['bytes'] === undefined ? null : Number(row['bytes']),
  }));
}

export type ListedExtension = {
  readonly oid: number;
  readonly name: string;
  readonly schema: string;
  readonly rawName: string;
  /** The version that is installed, and what CREATE EXTENSION would install now (null: its files are gone). */
  readonly version: string;
  readonly defaultVersion: string | null;
  /** Tables whose rows belong to the user (pg_extension_config_dump). */
  readonly config: readonly { readonly schema: string; readonly name: string }[];
};

const extensionsQuery = `
  select e.oid, pg_catalog.quote_ident(e.extname) as name, pg_catalog.quote_ident(n.nspname) as schema,
    e.extname as raw_name, e.extversion as version, v.default_version,
    (select pg_catalog.json_agg(pg_catalog.json_build_object(
        'schema', pg_catalog.quote_ident(cn.nspname), 'name', pg_catalog.quote_ident(c.relname)) order by k.position)
      from pg_catalog.unnest(e.extconfig) with ordinality as k(oid, position)
      join pg_catalog.pg_class c on c.oid = k.oid
      join pg_catalog.pg_namespace cn on cn.oid = c.relnamespace)::text as config
  from pg_catalog.pg_extension e
  join pg_catalog.pg_namespace n on n.oid = e.extnamespace
  left join pg_catalog.pg_available_extensions v on v.name = e.extname
  order by e.extname`;

/** Every installed extension. */
export async function listExtensions(session: Session): Promise<ListedExtension[]> {
  const rows = await session.query(extensionsQuery);
  return rows.map((row) => ({
    oid: Number(row['oid']),
    name: row['name'] ?? '',
    schema: row['schema'] ?? '',
    rawName: row['raw_name'] ?? '',
    version: row['version'] ?? '',
    defaultVersion: row['default_version'] ?? null,
    config: JSON.parse(row['config'] ?? '[]') as ListedExtension['config'],
  }));
}

export type AvailableExtension = {
  readonly name: string;
  readonly defaultVersion: string;
  readonly versions: readonly string[];
};

const availableQuery = `
  select e.name, e.default_version,
    (select pg_catalog.json_agg(v.version order by v.version)
      from pg_catalog.pg_available_extension_versions v where v.name = e.name)::text as versions
  from pg_catalog.pg_available_extensions e
  order by e.name`;

/** Every extension whose files the server has. */
export async function listAvailableExtensions(session: Session): Promise<AvailableExtension[]> {
  const rows = await session.query(availableQuery);
  return rows.map((row) => ({
    name: row['name'] ?? '',
    defaultVersion: row['default_version'] ?? '',
    versions: JSON.parse(row['versions'] ?? '[]') as string[],
  }));
}

export type ListedCollation = {
  readonly oid: number;
  readonly name: string;
  /** What uses it, in Postgres's words. */
  readonly object: string;
};

// The database's own collation is known by its names alone, and pg_collation may hold several of that name.
const collationsQuery = `
  with used as (
    select c.oid, pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, i.indexrelid, 0) as object
    from pg_catalog.pg_index i
    join pg_catalog.pg_class x on x.oid = i.indexrelid
    join pg_catalog.pg_namespace n on n.oid = x.relnamespace
    cross join pg_catalog.unnest(i.indcollation::oid[]) as c(oid)
    where ${userSchema}
    union
    select a.attcollation, pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, c.oid, a.attnum)
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid
    join pg_catalog.pg_class c on c.oid = a.attrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where a.attnum > 0 and not a.attisdropped and a.attcollation <> t.typcollation
      and c.relkind in ('r', 'p', 'f', 'm') and ${userSchema}
    union
    select pg_catalog.min(k.oid::bigint)::oid, 'database ' || pg_catalog.quote_ident(d.datname)
    from pg_catalog.pg_database d
    join pg_catalog.pg_collation k on k.collname = d.datcollate and k.collencoding in (-1, d.encoding)
    where d.datname = pg_catalog.current_database()
    group by d.datname
  )
  select k.oid, pg_catalog.quote_ident(k.collname) as name, u.object
  from used u
  join pg_catalog.pg_collation k on k.oid = u.oid
  where k.collname <> 'default'
  order by k.collname, u.object`;

/** The collations in use: by indexes, by columns that do not take their type's, by the database itself. */
export async function listCollations(session: Session): Promise<ListedCollation[]> {
  const rows = await session.query(collationsQuery);
  return rows.map((row) => ({
    oid: Number(row['oid']),
    name: row['name'] ?? '',
    object: row['object'] ?? '',
  }));
}

function readName(row: TextRow): ListedName {
  return {
    oid: Number(row['oid']),
    schema: row['schema'] ?? '',
    name: row['name'] ?? '',
    rawSchema: row['raw_schema'] ?? '',
    rawName: row['raw_name'] ?? '',
  };
}
