/**
 * What must be known of the target's tables before rows are copied into them. Usually they are as we have made them;
 * where somebody else has, they may be partitioned, have other types, or not be ours to truncate.
 */
import { quoteQualified } from '../model/sql.js';
import { columnList } from './binary-copy.js';
import type { Session } from './connect.js';

export type CopyTarget = {
  readonly partitioned: boolean;
  /** Whether it can be truncated alone: our role may, and no foreign key of another table points at it. */
  readonly truncatable: boolean;
  /** As BinaryTable.columns; null where it has none. */
  readonly columns: string | null;
  /** Whether it has foreign tables below it, which ANALYZE would read. */
  readonly foreignBelow: boolean;
};

/** `above (oid)`: all that have a foreign table below them, as a partition or a child. */
export const aboveForeignTables = `
  with recursive above (oid) as (
    select i.inhparent from pg_catalog.pg_inherits i
    join pg_catalog.pg_class f on f.oid = i.inhrelid and f.relkind = 'f'
    union
    select i.inhparent from above a join pg_catalog.pg_inherits i on i.inhrelid = a.oid)`;

const targetsQuery = `${aboveForeignTables}
  select n.nspname as schema, c.relname as name, c.relkind = 'p' as partitioned,
    pg_catalog.has_table_privilege(c.oid, 'truncate') and not exists (
      select from pg_catalog.pg_constraint k
      where k.confrelid = c.oid and k.contype = 'f' and k.conrelid <> c.oid) as truncatable,
    c.oid in (select oid from above) as foreign_below,
    (select ${columnList} from pg_catalog.pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`;

/** All tables of the target, by qualified and quoted name. */
export async function fetchCopyTargets(session: Session): Promise<ReadonlyMap<string, CopyTarget>> {
  const rows = await session.query(targetsQuery);
  return new Map(
    rows.map((row) => [
      quoteQualified(row['schema'] ?? '', row['name'] ?? ''),
      {
        partitioned: row['partitioned'] === 't',
        truncatable: row['truncatable'] === 't',
        columns: row['columns'] ?? null,
        foreignBelow: row['foreign_below'] === 't',
      },
    ]),
  );
}
