/**
 * The tables of the source as its catalog describes them now, for plugins whose stream does not. One query for all.
 */
import { Failure } from '../failure.js';
import type { ReplicaIdentity } from '../model/relation.js';
import { readSeenTransactions, type SeenTransactions } from '../model/seen-transactions.js';
import type { SourceColumn, SourceTable } from '../model/source-table.js';
import type { Session } from './connect.js';

/**
 * Catalog and snapshot in one statement, so that the snapshot says exactly what the catalog holds. An identity's index
 * counts only where the server itself uses it (RelationGetIndexList); one that holds a generated column identifies
 * nothing, since its value never comes.
 */
const sourceTables = `
  select pg_catalog.pg_current_snapshot()::text as snapshot,
    c.oid::text, n.nspname as schema, c.relname as name, c.relreplident as identity,
    (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
              a.attname, a.atttypid::int8, a.attgenerated <> '', a.attlen = -1) order by a.attnum), '[]')
       from pg_catalog.pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
    coalesce(k.key, '[]') as key, coalesce(k.included, '[]') as included
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join lateral (
    select case when pg_catalog.bool_or(a.attgenerated <> '' and x.nth <= i.indnkeyatts) then null
           else pg_catalog.json_agg(a.attname) filter (where x.nth <= i.indnkeyatts) end as key,
           pg_catalog.json_agg(a.attname) filter (where x.nth > i.indnkeyatts) as included
      from pg_catalog.pg_index i
     cross join pg_catalog.unnest(i.indkey::int2[]) with ordinality as x(attnum, nth)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = x.attnum
     where i.indrelid = c.oid and i.indisvalid and i.indimmediate
       and (c.relreplident = 'i' and i.indisreplident or c.relreplident = 'd' and i.indisprimary)
  ) as k on true
  where c.relkind = 'r' and c.relpersistence = 'p'
    and n.nspname not in ('pg_catalog', 'information_schema')
  order by c.oid`;

const identities: Readonly<Record<string, ReplicaIdentity>> = {
  d: 'default',
  n: 'nothing',
  f: 'full',
  i: 'index',
};

/** Every table that logs its changes, by OID, and which transactions this reading saw. */
export async function fetchSourceTables(
  session: Session,
): Promise<{ readonly tables: SourceTable[]; readonly seen: SeenTransactions }> {
  const rows = await session.query(sourceTables, [], 'reading the tables of the source failed');
  // A database without a table has no row to carry the snapshot.
  const [only] =
    rows.length > 0 ? rows : await session.query('select pg_catalog.pg_current_snapshot()::text as snapshot');
  return {
    seen: readSeenTransactions(only?.['snapshot'] ?? ''),
    tables: rows.map((row) => ({
      oid: Number(row['oid']),
      schema: row['schema'] ?? '',
      name: row['name'] ?? '',
      identity: readIdentity(row['identity'] ?? ''),
      columns: (JSON.parse(row['columns'] ?? '') as [string, number, boolean, boolean][]).map(readColumn),
      key: JSON.parse(row['key'] ?? '') as string[],
      included: JSON.parse(row['included'] ?? '') as string[],
    })),
  };
}

function readIdentity(letter: string): ReplicaIdentity {
  const identity = identities[letter];
  if (identity === undefined) throw new Failure('internal', `"${letter}" is no replica identity`);
  return identity;
}

function readColumn([name, typeOid, generated, variable]: [string, number, boolean, boolean]): SourceColumn {
  return { name, typeOid, generated, variable };
}
