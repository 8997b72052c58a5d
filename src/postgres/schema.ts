/**
 * What the source holds, read from its catalogs in a handful of queries whatever the number of tables: one query
 * per kind of object, never one per object. Every query runs in the caller's transaction, so that with an imported
 * snapshot the catalog's rows are the snapshot's. Functions such as pg_get_indexdef read the catalog as it is now
 * and give null for what was dropped since.
 */
import type { PublishedPart } from '../model/published-part.js';
import type { ReplicaIdentity } from '../model/relation.js';
import type { Session, TextRow } from './connect.js';
import type { BinaryTable } from './binary-copy.js';
import { notOfExtension, userSchema } from './schema-scope.js';
import type { TableSplit } from './table-splits.js';

/** A table whose rows are copied and published, or the partitioned parent of such tables. */
export type TableFacts = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: 'table' | 'partitioned';
  readonly persistence: 'permanent' | 'unlogged';
  /** Whether it is a partition of another table. */
  readonly partition: boolean;
  /** Heap, TOAST and maps, without indexes. 0 for a partitioned parent, which holds no rows of its own. */
  readonly bytes: number;
  /** reltuples: -1 when never analysed. */
  readonly estimatedRows: number;
  readonly replicaIdentity: ReplicaIdentity;
  /**
   * Whether updates and deletes can be published: FULL, or a valid identity index, or a primary key that is valid
   * and immediate (a deferrable one identifies nothing).
   */
  readonly identifiable: boolean;
  /** Whether our role may read it. */
  readonly readable: boolean;
  /** Whether row security would hide rows from our role. */
  readonly filtered: boolean;
  /** Whether our role owns it, which adding it to a publication asks for. */
  readonly owned: boolean;
};

export type ColumnFacts = {
  readonly name: string;
  readonly generated: boolean;
  readonly identity: 'none' | 'always' | 'by default';
};

/** An index on a table or a partitioned parent. */
export type IndexFacts = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly tableOid: number;
  readonly accessMethod: string;
  /** On the source's disk; absent in what an earlier version has written. */
  readonly bytes?: number | undefined;
  /** pg_get_indexdef; null when the index was dropped after the snapshot. */
  readonly definition: string | null;
  readonly valid: boolean;
  /** Null for the database's default. */
  readonly tablespace: string | null;
  /** Its storage parameters, as they stand inside of WITH (…); null where it has none. */
  readonly storage?: string | null;
  readonly clustered: boolean;
  readonly replicaIdentity: boolean;
  /** Statistics targets of the index's own (expression) columns. */
  readonly statistics: readonly { readonly column: number; readonly target: number }[];
  /** It is dropped with these extensions (DEPENDS ON EXTENSION); absent in what an earlier version has written. */
  readonly extensions?: readonly string[];
  readonly constraint: {
    readonly oid: number;
    readonly name: string;
    readonly type: 'primary' | 'unique' | 'exclusion';
    readonly definition: string | null;
    readonly deferrable: boolean;
    readonly deferred: boolean;
  } | null;
};

/** A foreign key as it was declared (those that partitions inherit are not listed). */
export type ForeignKeyFacts = {
  readonly oid: number;
  readonly name: string;
  readonly schema: string;
  readonly table: string;
  readonly tableKind: 'table' | 'partitioned';
  readonly definition: string | null;
  readonly validated: boolean;
};

export type IdentityColumn = { readonly schema: string; readonly table: string; readonly column: string };

/** Everything that the clone decides by. Plain data: it is kept in the work directory for finalize and resume. */
export type SourceSchema = {
  readonly serverVersion: number;
  readonly encoding: string;
  readonly tables: readonly TableFacts[];
  /** By table OID, in the order of the columns. */
  readonly columns: Readonly<Record<string, readonly ColumnFacts[]>>;
  readonly indexes: readonly IndexFacts[];
  readonly foreignKeys: readonly ForeignKeyFacts[];
  /** OIDs of the `_RETURN` rules of views. */
  readonly viewRules: readonly number[];
  /** OIDs of triggers that a partition has from its parent. */
  readonly inheritedTriggers: readonly number[];
  readonly publications: readonly { readonly oid: number; readonly name: string }[];
  readonly subscriptions: readonly string[];
  /** User mappings whose options our role may not read: `role on server`. */
  readonly hiddenMappings?: readonly string[];
  readonly largeObjects: boolean;
  /** Tables that can be copied in binary format, by OID; see binary-copy.ts. */
  readonly binary?: Readonly<Record<string, BinaryTable>>;
  /** Tables that are copied in parts, by OID; see table-splits.ts. */
  readonly splits?: Readonly<Record<string, TableSplit>>;
  /** Tables that are copied in part, as the publication that is followed says; see published-parts.ts. */
  readonly parts?: readonly PublishedPart[];
};

export { notOfExtension, userSchema };

const exactSize = 'pg_catalog.pg_table_size(c.oid)';

// As the last VACUUM or ANALYZE left it; a table that neither has seen is asked for its files after all.
const estimatedSize = `case when c.relpages <= 0 then ${exactSize}
      else (c.relpages + coalesce((select t.relpages from pg_catalog.pg_class t where t.oid = c.reltoastrelid), 0))
        * pg_catalog.current_setting('block_size')::bigint end`;

const tablesQuery = (size: string) => `
  select c.oid, n.nspname as schema, c.relname as name, c.relkind as kind, c.relpersistence as persistence,
    c.relispartition as partition,
    case c.relkind when 'r' then coalesce(${size}, 0) else 0 end as bytes,
    c.reltuples as estimated_rows,
    c.relreplident as replica_identity,
    case c.relreplident
      when 'f' then true
      when 'n' then false
      when 'i' then exists (select from pg_catalog.pg_index i
        where i.indrelid = c.oid and i.indisreplident and i.indisvalid)
      else exists (select from pg_catalog.pg_index i
        where i.indrelid = c.oid and i.indisprimary and i.indisvalid and i.indimmediate)
    end as identifiable,
    pg_catalog.has_table_privilege(c.oid, 'select')
      and pg_catalog.has_schema_privilege(n.oid, 'usage') as readable,
    pg_catalog.row_security_active(c.oid) as filtered,
    pg_catalog.pg_has_role(c.relowner, 'usage') as owned
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension}
  order by c.oid`;

/** Every table that is copied, and the partitioned parents, by OID. */
export async function fetchTables(session: Session, { estimateSizes = false } = {}): Promise<TableFacts[]> {
  const rows = await session.query(tablesQuery(estimateSizes ? estimatedSize : exactSize));
  return rows.map((row) => ({
    oid: Number(row['oid']),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    kind: row['kind'] === 'p' ? 'partitioned' : 'table',
    persistence: row['persistence'] === 'u' ? 'unlogged' : 'permanent',
    partition: flag(row, 'partition'),
    bytes: Number(row['bytes']),
    estimatedRows: Number(row['estimated_rows']),
    replicaIdentity: readReplicaIdentity(text(row, 'replica_identity')),
    identifiable: flag(row, 'identifiable'),
    readable: flag(row, 'readable'),
    filtered: flag(row, 'filtered'),
    owned: flag(row, 'owned'),
  }));
}

function readReplicaIdentity(letter: string): ReplicaIdentity {
  if (letter === 'f') return 'full';
  if (letter === 'n') return 'nothing';
  return letter === 'i' ? 'index' : 'default';
}

const columnsQuery = `
  select a.attrelid as table_oid, a.attname as name, a.attgenerated as generated, a.attidentity as identity
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension}
    and a.attnum > 0 and not a.attisdropped
  order by a.attrelid, a.attnum`;

async function fetchColumns(session: Session): Promise<Record<string, ColumnFacts[]>> {
  const byTable: Record<string, ColumnFacts[]> = {};
  for (const row of await session.query(columnsQuery)) {
    (byTable[text(row, 'table_oid')] ??= []).push({
      name: text(row, 'name'),
      generated: row['generated'] !== '',
      identity: row['identity'] === 'a' ? 'always' : row['identity'] === 'd' ? 'by default' : 'none',
    });
  }
  return byTable;
}

// It orders the work, and is shown nowhere. To ask for the files has the server open every index, half of what all of this
// query takes; what ANALYZE left tells as much. 0 for those of partitioned parents, which have no file.
const indexSize = `case when x.relkind <> 'i' then 0
      when c.reltuples < 0 then coalesce(pg_catalog.pg_relation_size(x.oid), 0)
      else x.relpages * pg_catalog.current_setting('block_size')::bigint end`;

// An index that is not ready or not live is the rest of a CONCURRENTLY that failed: neither is it valid.
const indexesQuery = `
  select i.indexrelid as oid, n.nspname as schema, x.relname as name, i.indrelid as table_oid, am.amname as method,
    ${indexSize} as bytes,
    pg_catalog.pg_get_indexdef(i.indexrelid) as definition,
    i.indisvalid and i.indisready and i.indislive as valid,
    (select pg_catalog.string_agg(pg_catalog.quote_ident(o.option_name) || '=' || pg_catalog.quote_literal(o.option_value), ', ')
      from pg_catalog.pg_options_to_table(x.reloptions) o) as storage,
    ts.spcname as tablespace, i.indisclustered as clustered, i.indisreplident as replica_identity,
    k.oid as constraint_oid, k.conname as constraint_name, k.contype as constraint_type,
    pg_catalog.pg_get_constraintdef(k.oid) as constraint_definition,
    k.condeferrable as deferrable, k.condeferred as deferred,
    (select pg_catalog.string_agg(a.attnum || ' ' || a.attstattarget, ',' order by a.attnum)
      from pg_catalog.pg_attribute a where a.attrelid = i.indexrelid and a.attstattarget >= 0) as statistics,
    (select pg_catalog.json_agg(e.extname order by e.extname)::text
      from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid = d.refobjid
      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = i.indexrelid
        and d.refclassid = 'pg_catalog.pg_extension'::regclass and d.deptype = 'x') as extensions
  from pg_catalog.pg_index i
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  join pg_catalog.pg_am am on am.oid = x.relam
  join pg_catalog.pg_class c on c.oid = i.indrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join pg_catalog.pg_tablespace ts on ts.oid = x.reltablespace
  left join pg_catalog.pg_constraint k on k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')
    and k.conrelid = i.indrelid
  where c.relkind in ('r', 'p') and c.relpersistence <> 't' and ${userSchema} and ${notOfExtension}
  order by i.indexrelid`;

async function fetchIndexes(session: Session): Promise<IndexFacts[]> {
  const rows = await session.query(indexesQuery);
  return rows.map((row) => ({
    oid: Number(row['oid']),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    tableOid: Number(row['table_oid']),
    accessMethod: text(row, 'method'),
    bytes: Number(row['bytes']),
    definition: row['definition'] ?? null,
    valid: flag(row, 'valid'),
    tablespace: row['tablespace'] ?? null,
    storage: row['storage'] ?? null,
    clustered: flag(row, 'clustered'),
    replicaIdentity: flag(row, 'replica_identity'),
    statistics: readStatistics(row['statistics'] ?? null),
    extensions: JSON.parse(row['extensions'] ?? '[]') as string[],
    constraint: readIndexConstraint(row),
  }));
}

function readStatistics(list: string | null): IndexFacts['statistics'] {
  if (list === null) return [];
  return list.split(',').map((pair) => {
    const [column, target] = pair.split(' ').map(Number);
    return { column: column ?? 0, target: target ?? 0 };
  });
}

function readIndexConstraint(row: TextRow): IndexFacts['constraint'] {
  const oid = row['constraint_oid'] ?? null;
  if (oid === null) return null;
  const letter = row['constraint_type'];
  return {
    oid: Number(oid),
    name: text(row, 'constraint_name'),
    type: letter === 'p' ? 'primary' : letter === 'u' ? 'unique' : 'exclusion',
    definition: row['constraint_definition'] ?? null,
    deferrable: flag(row, 'deferrable'),
    deferred: flag(row, 'deferred'),
  };
}

const foreignKeysQuery = `
  select k.oid, k.conname as name, n.nspname as schema, c.relname as table, c.relkind as kind,
    pg_catalog.pg_get_constraintdef(k.oid) as definition, k.convalidated as validated
  from pg_catalog.pg_constraint k
  join pg_catalog.pg_class c on c.oid = k.conrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where k.contype = 'f' and k.conparentid = 0 and c.relkind in ('r', 'p') and c.relpersistence <> 't'
    and ${userSchema} and ${notOfExtension}
  order by k.oid`;

async function fetchForeignKeys(session: Session): Promise<ForeignKeyFacts[]> {
  const rows = await session.query(foreignKeysQuery);
  return rows.map((row) => ({
    oid: Number(row['oid']),
    name: text(row, 'name'),
    schema: text(row, 'schema'),
    table: text(row, 'table'),
    tableKind: row['kind'] === 'p' ? 'partitioned' : 'table',
    definition: row['definition'] ?? null,
    validated: flag(row, 'validated'),
  }));
}

const viewRulesQuery = `select oid from pg_catalog.pg_rewrite where rulename = '_RETURN' and oid >= 16384`;
const inheritedTriggersQuery = `select oid from pg_catalog.pg_trigger where tgparentid <> 0`;
const publicationsQuery = `select oid, pubname as name from pg_catalog.pg_publication order by oid`;
/**
 * SQL: user mappings whose options the server keeps from our role, as the view pg_user_mappings does: pg_dump prints them
 * as if they had none.
 */
export const hiddenMappings = `
  select pg_catalog.quote_ident(u.usename) || ' on server ' || pg_catalog.quote_ident(u.srvname) as name
  from pg_catalog.pg_user_mappings u join pg_catalog.pg_foreign_server s on s.oid = u.srvid
  where not (case when u.umuser = 0 then pg_catalog.pg_has_role(s.srvowner, 'usage')
      else u.usename = current_user and pg_catalog.has_server_privilege(s.oid, 'usage') end)
    and not (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user)
  order by 1`;

const subscriptionsQuery = `
  select s.subname as name from pg_catalog.pg_subscription s
  join pg_catalog.pg_database d on d.oid = s.subdbid
  where d.datname = pg_catalog.current_database() order by 1`;
const databaseQuery = `
  select pg_catalog.current_setting('server_version_num') as version,
    pg_catalog.getdatabaseencoding() as encoding,
    exists (select from pg_catalog.pg_largeobject_metadata) as large_objects`;

/**
 * Reads everything in the session's open transaction. The search path is emptied first: definitions then name
 * their objects in full.
 */
export async function fetchSourceSchema(
  session: Session,
  sizes: { readonly estimateSizes?: boolean } = {},
): Promise<SourceSchema> {
  await session.query(`select pg_catalog.set_config('search_path', '', false)`);
  const [facts] = await session.query(databaseQuery);
  const oids = async (query: string) => (await session.query(query)).map((row) => Number(row['oid']));
  return {
    serverVersion: Number(facts?.['version']),
    encoding: facts?.['encoding'] ?? '',
    largeObjects: facts?.['large_objects'] === 't',
    tables: await fetchTables(session, sizes),
    columns: await fetchColumns(session),
    indexes: await fetchIndexes(session),
    foreignKeys: await fetchForeignKeys(session),
    viewRules: await oids(viewRulesQuery),
    inheritedTriggers: await oids(inheritedTriggersQuery),
    publications: (await session.query(publicationsQuery)).map((row) => ({
      oid: Number(row['oid']),
      name: text(row, 'name'),
    })),
    subscriptions: (await session.query(subscriptionsQuery)).map((row) => text(row, 'name')),
    hiddenMappings: (await session.query(hiddenMappings)).map((row) => text(row, 'name')),
  };
}

function text(row: TextRow, column: string): string {
  const value = row[column];
  if (value === null || value === undefined) throw new TypeError(`the catalog gave no ${column}`);
  return value;
}

function flag(row: TextRow, column: string): boolean {
  return row[column] === 't';
}
