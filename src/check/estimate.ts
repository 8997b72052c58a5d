/**
 * How long the copy will take: from the sizes of tables and indexes, and from a short copy of real rows, over this very
 * machine, into a table of the target that is rolled back.
 */
import { prettySize } from '../model/size.js';
import { throwIfStopped } from '../failure.js';
import { quoteQualified } from '../model/sql.js';
import { joinCopy } from '../postgres/copy.js';
import { userSchema } from '../postgres/schema.js';
import type { Session } from '../postgres/connect.js';
import { counted, pass, sayDuration, type Finding } from './finding.js';
import type { CopiedTable, RunWish, SourceView } from './options.js';
import { trialSchema } from './target.js';

export type Estimate = {
  /** On the source's disk. */
  readonly tableBytes: number;
  readonly indexBytes: number;
  readonly tables: number;
  readonly largestTableBytes: number;
  /** Over one connection, as the rows lie on the source's disk; null where there is too little to measure. */
  readonly bytesPerSecond: number | null;
};

const indexesQuery = `
  select x.oid, i.indrelid as table_oid,
    x.relpages::bigint * pg_catalog.current_setting('block_size')::bigint as bytes
  from pg_catalog.pg_index i
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  join pg_catalog.pg_class c on c.oid = i.indrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and ${userSchema}`;

const relationClass = 1259;

/** Measures, in the transaction of the target's trial. `target`: null when nothing can be written there. */
export async function fetchEstimate(
  view: SourceView,
  target: Session | null,
  wish: RunWish,
): Promise<Estimate> {
  const indexes = await view.session.query(indexesQuery);
  const filled = view.tables.filter((table) => table.kind === 'table' && table.withRows);
  const ofFilled = new Set(filled.map(({ oid }) => oid));
  const built = indexes.filter(
    (row) => ofFilled.has(Number(row['table_oid'])) && view.keeps(relationClass, Number(row['oid'])),
  );
  const largest = largestOf(filled);
  const sample = largestOf(filled.filter((table) => table.readable && !table.filtered));
  return {
    tableBytes: filled.reduce((sum, { bytes }) => sum + bytes, 0),
    indexBytes: built.reduce((sum, row) => sum + Number(row['bytes']), 0),
    tables: filled.length,
    largestTableBytes: largest?.bytes ?? 0,
    bytesPerSecond:
      sample === null || target === null ? null : await measure(view.session, target, sample, wish),
  };
}

function largestOf(tables: readonly CopiedTable[]): CopiedTable | null {
  return tables.reduce<CopiedTable | null>(
    (best, table) => (best === null || table.bytes > best.bytes ? table : best),
    null,
  );
}

// Enough to be past the start of TCP and COPY, little enough not to be noticed by either server.
const firstBytes = 256 * 1024;
const mostBytes = 12 * 1024 * 1024;
const wantedSeconds = 0.4;

/** Null also where it failed: both sessions are gone then, which is why this comes last. */
async function measure(
  source: Session,
  target: Session,
  table: CopiedTable,
  wish: RunWish,
): Promise<number | null> {
  if (table.bytes < firstBytes) return null;
  try {
    return await copySamples(source, target, table, wish);
  } catch (error) {
    throwIfStopped(wish.signal);
    wish.log.debug('the speed of copying could not be measured', { reason: String(error) });
    return null;
  }
}

async function copySamples(
  source: Session,
  target: Session,
  table: CopiedTable,
  wish: RunWish,
): Promise<number> {
  await target.query(`create table ${trialSchema}.sample (line text)`);
  const copy = async (bytes: number): Promise<number> => {
    // As many rows as lie in so many bytes; where the source never counted them, rows of a usual size.
    const perRow = table.estimatedRows > 0 ? table.bytes / table.estimatedRows : 200;
    const rows = Math.max(1, Math.round(bytes / perRow));
    const began = performance.now();
    const copied = await joinCopy({
      source,
      copyOut: `copy (select t::text from only ${quoteQualified(table.schema, table.name)} as t limit ${rows}) to stdout`,
      target,
      copyIn: `copy ${trialSchema}.sample from stdin`,
      label: 'a sample',
      signal: wish.signal,
    });
    const seconds = Math.max(0.001, (performance.now() - began) / 1000);
    return (copied.rows * perRow) / seconds;
  };
  const first = await copy(firstBytes);
  const wanted = Math.min(first * wantedSeconds, mostBytes, table.bytes);
  return wanted > firstBytes ? await copy(wanted) : first;
}

// Making a table, its keys and statistics, whatever is in it: measured as 1,500 tables in 12 s on two cores.
const secondsPerTable = 0.01;

/** From as fast as the jobs could be if they did not disturb each other, to one after the other. */
export type CopySeconds = { readonly least: number; readonly most: number };

/** Pure. Null where nothing is known of the speed, and there is more than a little to copy. */
export function copySeconds(
  { tableBytes, indexBytes, tables, largestTableBytes, bytesPerSecond }: Estimate,
  { table, index }: RunWish['jobs'],
): CopySeconds | null {
  const ceremony = tables * secondsPerTable;
  if (bytesPerSecond === null)
    return tableBytes < firstBytes * Math.max(1, tables) ? { least: ceremony, most: ceremony + 1 } : null;
  const rows = tableBytes / bytesPerSecond;
  const indexes = indexBytes / bytesPerSecond;
  const atOnce = Math.max(1, Math.min(table, tables));
  return {
    least: Math.max(rows / atOnce, largestTableBytes / bytesPerSecond) + indexes / (2 * index) + ceremony / 2,
    most: rows + indexes + ceremony,
  };
}

/** The line. Pure. */
export function judgeEstimate(estimate: Estimate, jobs: RunWish['jobs']): Finding {
  const { tableBytes, indexBytes, tables, bytesPerSecond } = estimate;
  const what = `${prettySize(tableBytes)} in ${counted(tables, 'table')}${indexBytes > 0 ? `, ${prettySize(indexBytes)} of indexes` : ''}`;
  const seconds = copySeconds(estimate, jobs);
  const id = 'room.estimate';
  const title = 'copy time';
  if (seconds === null) return pass(id, title, `${what}; not estimated, nothing could be measured`);
  const { least, most } = seconds;
  const [from, to] = [sayDuration(least), sayDuration(most)];
  const time = from === to ? `about ${to}` : `about ${from} to ${to}`;
  const basis =
    bytesPerSecond === null
      ? `assumed: ${secondsPerTable * 1000} ms a table`
      : `measured: ${prettySize(bytesPerSecond)}/s over one connection; assumed: indexes alike, ${jobs.table} + ${jobs.index} jobs gain all or nothing`;
  return pass(id, title, `${time} for ${what} (${basis})`);
}
