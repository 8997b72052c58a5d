/**
 * Tables whose changes the stream does not carry in full, copied again in the pause: of those without a replica identity
 * our publication has neither updates nor deletes, and what is unlogged is in no WAL.
 *
 * It may fail, or the cutover be undone behind it, at any moment. Writes are stopped and the target is at the end
 * position, so that the source's rows are what the table would hold there, and the stream goes on from there. The
 * one thing that would be wrong is a row in the copy that the stream brings once more: before the copies are committed,
 * all at once, the stream is asked for writes behind the end position.
 */
import type { StreamRecord } from '../catalog/stream.js';
import { copyInStatement, copyOutStatement } from '../clone/plan.js';
import { fetchRowTarget } from '../clone/row-target.js';
import { openSource, openTarget } from '../clone/sessions.js';
import { compareData } from '../compare/data.js';
import { Failure } from '../failure.js';
import type { Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import { arrayLiteral, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { joinCopy } from '../postgres/copy.js';
import { fetchCopyTargets } from '../postgres/copy-target.js';
import { cutOnAbort } from '../postgres/cut-session.js';
import { notOfExtension, userSchema } from '../postgres/schema-scope.js';

/** A table of which the target may not hold what the source holds, however far the stream is. */
export type UncarriedTable = {
  readonly schema: string;
  readonly name: string;
  readonly why: 'unlogged' | 'no-identity';
  readonly bytes: number;
  /** Those that hold data: generated ones do not. */
  readonly columns: readonly string[];
};

// The other plugins carry every table that is logged, or end the stream.
const uncarriedQuery = `
  select n.nspname as schema, c.relname as name, c.relpersistence = 'u' as unlogged,
    pg_catalog.pg_table_size(c.oid)::text as bytes,
    (select pg_catalog.json_agg(a.attname order by a.attnum)::text from pg_catalog.pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and ${userSchema} and ${notOfExtension} and (c.relpersistence = 'u' or exists (
    select from pg_catalog.pg_publication_tables t join pg_catalog.pg_publication p on p.pubname = t.pubname
    where t.schemaname = n.nspname and t.tablename = c.relname and t.pubname = any ($1::pg_catalog.name[])
    having pg_catalog.count(*) > 0
      and not (pg_catalog.bool_or(p.pubupdate) and pg_catalog.bool_or(p.pubdelete))))
  order by 1, 2`;

/** The tables that are copied, and of which the stream carries not every change. */
export async function fetchUncarried(
  source: Session,
  { publications }: Pick<StreamRecord, 'publications'>,
  keeps: Keeps,
): Promise<UncarriedTable[]> {
  const rows = await source.query(uncarriedQuery, [arrayLiteral(publications)]);
  return rows
    .map((row) => ({
      schema: row['schema'] ?? '',
      name: row['name'] ?? '',
      why: row['unlogged'] === 't' ? ('unlogged' as const) : ('no-identity' as const),
      bytes: Number(row['bytes'] ?? 0),
      columns: JSON.parse(row['columns'] ?? '[]') as string[],
    }))
    .filter(keeps);
}

export type CopyAgainOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly tables: readonly UncarriedTable[];
  readonly jobs: number;
  /** Throws where a followed row was written behind the end position. */
  readonly expectNoLateWrites: () => Promise<unknown>;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** Copies those that differ; gives what was done in words. */
export async function copyAgain(options: CopyAgainOptions): Promise<string> {
  const different = await fetchDifferent(options);
  if (different.length === 0) return `${options.tables.length} tables, which do not differ`;
  const tables = different.map((table) => ({
    ...table,
    qualified: quoteQualified(table.schema, table.name),
  }));
  const { source, log, signal } = options;
  const conninfo = await fetchRowTarget(options, tables);
  await using from = await openSource(source, 'cutover', { log, signal, bulk: true });
  await using to = await openTarget(conninfo, 'cutover', { log, signal });
  // Somebody on the target may read a table for longer than the pause may last.
  using _from = cutOnAbort(from, signal);
  using _to = cutOnAbort(to, signal);
  await from.query('begin isolation level repeatable read read only');
  // A table that is rewritten behind a snapshot is empty in it: locked before, none is.
  const all = tables.map(({ qualified }) => `only ${qualified}`).join(', ');
  await from.query(`lock table ${all} in access share mode`, [], 'could not lock what is copied again');
  // All that is read is of one moment, which is before the question for late writes.
  await from.query('select 1');
  const targets = await fetchCopyTargets(to);
  await to.query('begin');
  const done: string[] = [];
  for (const { schema, name, qualified, columns } of tables) {
    const label = relationLabel({ schema, name });
    const onTarget = targets.get(qualified);
    if (onTarget === undefined) throw new Failure('target-setup', `the target has no table ${label}`);
    const { partitioned, truncatable } = onTarget;
    const only = partitioned ? qualified : `only ${qualified}`;
    // What a foreign key points at cannot be truncated; where keys are there, none of them fires for us.
    await to.query(truncatable ? `truncate ${only}` : `delete from ${only}`);
    const plan = { qualified, columns, rowFilter: null };
    const { rows } = await joinCopy({
      source: from,
      copyOut: copyOutStatement(plan, { condition: null }, 'text'),
      target: to,
      copyIn: copyInStatement(plan, 'text', truncatable && !partitioned),
      label,
      signal,
    });
    log.info(`copied ${label} again: ${rows} rows`);
    done.push(`${label} (${rows} rows)`);
  }
  await options.expectNoLateWrites();
  await to.query('commit');
  return `${options.tables.length} tables, of which differed: ${done.join(', ')}`;
}

/** Those that were not found equal. */
async function fetchDifferent({
  source,
  target,
  tables,
  jobs,
  log,
  signal,
}: CopyAgainOptions): Promise<readonly UncarriedTable[]> {
  if (tables.length === 0) return [];
  const comparison = await compareData({ source, target, tables, jobs, log, signal });
  const equal = new Set(comparison.tables.filter(({ difference }) => difference === null).map(relationLabel));
  return tables.filter((table) => !equal.has(relationLabel(table)));
}
