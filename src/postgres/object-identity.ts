/**
 * Objects by the names that Postgres itself gives them (pg_identify_object): the same text on source and target,
 * where OIDs differ. So it is known which entries of a dump the target holds already.
 */
import type { Session } from './connect.js';
import type { DumpEntry } from './dump.js';

/** A shell type is not yet the type of its name. Speaks of an object of this class and OID. */
const identity = (classOid: string, oid: string) => `
    case when ${classOid} = 'pg_catalog.pg_type'::regclass
      and exists (select from pg_catalog.pg_type t where t.oid = ${oid} and not t.typisdefined)
      then 'shell ' else '' end || i.type || ' ' || i.identity as identity`;

const entryIdentitiesQuery = `
  select e.id, ${identity('e.class', 'e.object')}
  from unnest($1::int[], $2::oid[], $3::oid[]) as e(id, class, object),
    lateral pg_catalog.pg_identify_object(e.class, e.object, 0) i
  where i.identity is not null`;

/** Identities of a dump's entries, by dump id, asked from the source. What is dropped by now has none. */
export async function fetchEntryIdentities(
  source: Session,
  entries: readonly DumpEntry[],
): Promise<Map<number, string>> {
  const objects = entries.filter((entry) => entry.catalogOid !== 0);
  const list = (values: readonly number[]) => `{${values.join(',')}}`;
  const rows = await source.query(entryIdentitiesQuery, [
    list(objects.map((entry) => entry.dumpId)),
    list(objects.map((entry) => entry.catalogOid)),
    list(objects.map((entry) => entry.oid)),
  ]);
  return new Map(rows.map((row) => [Number(row['id']), row['identity'] ?? '']));
}

// Catalogs whose rows a dump may make, and since which version they are there. An operator that only another one names
// as its counterpart is not made yet. 16384: the first OID that is not the server's own.
const dumpedCatalogs: readonly (readonly [catalog: string, condition: string, since?: number])[] = [
  ['pg_class', `relkind not in ('t')`],
  ['pg_proc', 'true'],
  ['pg_type', 'true'],
  ['pg_constraint', 'true'],
  ['pg_rewrite', 'true'],
  ['pg_trigger', 'not tgisinternal'],
  ['pg_policy', 'true'],
  ['pg_event_trigger', 'true'],
  ['pg_publication', 'true'],
  ['pg_publication_rel', 'true'],
  ['pg_publication_namespace', 'true', 150_000],
  ['pg_statistic_ext', 'true'],
  ['pg_operator', 'oprcode <> 0'],
  ['pg_opclass', 'true'],
  ['pg_opfamily', 'true'],
  ['pg_collation', 'true'],
  ['pg_conversion', 'true'],
  ['pg_cast', 'true'],
  ['pg_language', 'true'],
  ['pg_am', 'true'],
  ['pg_transform', 'true'],
  ['pg_ts_config', 'true'],
  ['pg_ts_dict', 'true'],
  ['pg_ts_parser', 'true'],
  ['pg_ts_template', 'true'],
  ['pg_foreign_data_wrapper', 'true'],
  ['pg_foreign_server', 'true'],
];

// A dump does not tell the OIDs of user mappings: they are known by the words of its list.
const identitiesQuery = (version: number) => `
  with object as (
    ${dumpedCatalogs
      .filter(([, , since = 0]) => version >= since)
      .map(
        ([catalog, condition]) => `
    select 'pg_catalog.${catalog}'::regclass::oid as class, oid from pg_catalog.${catalog}
    where oid >= 16384 and ${condition}`,
      )
      .join(' union all ')}
    union all select 'pg_catalog.pg_namespace'::regclass::oid, oid from pg_catalog.pg_namespace
    union all select 'pg_catalog.pg_extension'::regclass::oid, oid from pg_catalog.pg_extension)
  select ${identity('o.class', 'o.oid')}
  from object o, lateral pg_catalog.pg_identify_object(o.class, o.oid, 0) i
  where i.identity is not null
  union all
  select 'USER MAPPING ' || usename || ' SERVER ' || srvname from pg_catalog.pg_user_mappings`;

const parentsQuery = `
  select c.type || ' ' || c.identity as child, p.type || ' ' || p.identity as parent
  from pg_catalog.pg_inherits h
  join pg_catalog.pg_class k on k.oid = h.inhrelid and k.relispartition and k.relkind in ('r', 'p', 'f'),
    lateral pg_catalog.pg_identify_object('pg_catalog.pg_class'::regclass, h.inhrelid, 0) c,
    lateral pg_catalog.pg_identify_object('pg_catalog.pg_class'::regclass, h.inhparent, 0) p`;

const indexedQuery = `
  select x.type || ' ' || x.identity as index, r.type || ' ' || r.identity as relation
  from pg_catalog.pg_index i,
    lateral pg_catalog.pg_identify_object('pg_catalog.pg_class'::regclass, i.indexrelid, 0) x,
    lateral pg_catalog.pg_identify_object('pg_catalog.pg_class'::regclass, i.indrelid, 0) r
  where i.indexrelid >= 16384 and r.type <> 'toast table'`;

/**
 * Everything on the target that a dump could make, and which partition is attached to which table. `ofIndexes`: also what
 * each index is of, which nobody needs to know who has no index to restore.
 */
export async function fetchTargetObjects(
  target: Session,
  { ofIndexes = false } = {},
): Promise<{
  identities: Set<string>;
  parents: Map<string, string>;
  indexed: Map<string, string>;
}> {
  const identities = await target.query(identitiesQuery(target.serverVersion));
  const parents = await target.query(parentsQuery);
  const indexed = ofIndexes ? await target.query(indexedQuery) : [];
  return {
    identities: new Set(identities.map((row) => row['identity'] ?? '')),
    parents: new Map(parents.map((row) => [row['child'] ?? '', row['parent'] ?? ''])),
    indexed: new Map(indexed.map((row) => [row['index'] ?? '', row['relation'] ?? ''])),
  };
}
