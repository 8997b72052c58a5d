/**
 * Statistics that belong to no single table's copy: of partitioned and inherited parents, which need the rows of all
 * their children (and which autovacuum never analyzes), and of materialized views.
 */
import { asFailure, type FailureCode } from '../failure.js';
import type { Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import { quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import { aboveForeignTables } from '../postgres/copy-target.js';
import type { SourceSchema } from '../postgres/schema.js';
import { serverSentence } from './problems.js';

const parentsQuery = `${aboveForeignTables}
  select c.oid, n.nspname as schema, c.relname as name, c.oid in (select oid from above) as foreign_below,
    case when c.relispartition then (select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid) end
      as partition_of
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p')
    and exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid)
  order by c.oid`;

/** ANALYZE of a parent visits every child again; from this version on it can be told not to. */
export const analyzeOnlyFrom = 180000;

const ownFaults: ReadonlySet<FailureCode> = new Set(['target-statement', 'target-rights']);

/**
 * Runs one ANALYZE, or VACUUM with it. An expression of an index or of a statistics object that fails for a row fails
 * in it, and does so on the source as well: that is told and ends nothing, since the rows are there, and no later
 * attempt would fare better. Throws when the connection is lost or the server has no room.
 */
export async function analyze(
  target: Session,
  statement: string,
  { label, log }: { readonly label: string; readonly log: Log },
): Promise<void> {
  try {
    await target.query(statement, [], `could not analyze ${label}`);
  } catch (error) {
    const failure = asFailure(error);
    if (target.lost !== null || !ownFaults.has(failure.code)) throw error;
    log.warn(`${label} is not analyzed: ${serverSentence(failure)}`);
  }
}

/**
 * Analyzes the parents that were copied. Of a tree of partitions the root does for all that are below it. Where foreign
 * tables are below, ANALYZE would read them from their servers, and fail where it cannot: that is left to the user.
 */
export async function analyzeParents(target: Session, schema: SourceSchema, log: Log): Promise<void> {
  const copied = new Set(schema.tables.map((table) => quoteQualified(table.schema, table.name)));
  const alone = target.serverVersion >= analyzeOnlyFrom;
  const rows = await target.query(parentsQuery);
  const aboveForeign = new Set(rows.filter((row) => row['foreign_below'] === 't').map((row) => row['oid']));
  for (const { oid, schema: place, name, partition_of: root } of rows) {
    const qualified = quoteQualified(place ?? '', name ?? '');
    if (!copied.has(qualified)) continue;
    const label = relationLabel({ schema: place ?? '', name: name ?? '' });
    if (aboveForeign.has(oid)) {
      log.warn(
        `${label} is not analyzed: ANALYZE reads the foreign tables below it; run it when their servers can be reached`,
      );
      continue;
    }
    const done = !alone && (root ?? null) !== null && !aboveForeign.has(root);
    if (done) continue;
    await analyze(target, `analyze ${alone ? 'only ' : ''}${qualified}`, { label, log });
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
export async function analyzeViews(target: Session, log: Log): Promise<void> {
  for (const row of await target.query(viewsQuery)) {
    const [schema, name] = [row['schema'] ?? '', row['name'] ?? ''];
    const label = relationLabel({ schema, name });
    await analyze(target, `analyze ${quoteQualified(schema, name)}`, { label, log });
  }
}
