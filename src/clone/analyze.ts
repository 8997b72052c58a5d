/**
 * Statistics that belong to no single table's copy: of partitioned and inherited parents, which need the rows of all
 * their children (and which autovacuum never analyzes), and of materialized views.
 */
import { quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { SourceSchema } from '../postgres/schema.js';

const parentsQuery = `
  select n.nspname as schema, c.relname as name, c.relispartition as partition
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p')
    and exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid)
  order by c.oid`;

/** ANALYZE of a parent visits every child again; from this version on it can be told not to. */
export const analyzeOnlyFrom = 180000;

/** Analyzes the parents that were copied. Of a tree of partitions the root does for all that are below it. */
export async function analyzeParents(target: Session, schema: SourceSchema): Promise<void> {
  const copied = new Set(schema.tables.map((table) => quoteQualified(table.schema, table.name)));
  const alone = target.serverVersion >= analyzeOnlyFrom;
  for (const row of await target.query(parentsQuery)) {
    const name = quoteQualified(row['schema'] ?? '', row['name'] ?? '');
    if (!copied.has(name) || (!alone && row['partition'] === 't')) continue;
    await target.query(`analyze ${alone ? 'only ' : ''}${name}`, [], `could not analyze ${name}`);
  }
}

// pg_stats, since an ordinary role may not read pg_statistic.
const viewsQuery = `
  select n.nspname as schema, c.relname as name
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'm' and c.relispopulated and n.nspname !~ '^pg_'
    and pg_catalog.pg_has_role(c.relowner, 'usage')
    and not exists (
      select from pg_catalog.pg_stats s where s.schemaname = n.nspname and s.tablename = c.relname)
    and not exists (
      select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  order by c.oid`;

/** Analyzes the materialized views that have no statistics yet. */
export async function analyzeViews(target: Session): Promise<void> {
  for (const row of await target.query(viewsQuery)) {
    const name = quoteQualified(row['schema'] ?? '', row['name'] ?? '');
    await target.query(`analyze ${name}`, [], `could not analyze ${name}`);
  }
}
