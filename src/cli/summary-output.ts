/** summary.json, and the same with more from a run that goes on: `list progress --summary --json` (reference 8.3). */
import type { CloneJobs } from '../clone/options.js';
import type { BuiltObject, BuiltObjects } from '../clone/summary-objects.js';
import type { CloneSummary } from '../clone/summary.js';
import { prettyDuration, prettySize } from './output.js';
import { transmitRate } from './progress-output.js';

/** The peer's object. Pure. */
export function summaryJson(
  { tables, steps }: Pick<CloneSummary, 'tables' | 'steps'>,
  built: ReadonlyMap<number, BuiltObjects>,
  jobs: CloneJobs,
): string {
  const object = {
    setup: { 'table-jobs': jobs.table, 'index-jobs': jobs.index },
    steps: steps.map(({ step, connection, durationMs, concurrency }) => ({
      label: step,
      conn: connection,
      duration: durationMs,
      duration_pretty: prettyDuration(durationMs).trimStart(),
      concurrency,
    })),
    tables: tables.map((table) => ({
      oid: table.oid,
      schema: table.schema,
      name: table.name,
      duration: table.copyMs,
      network: {
        bytes: table.bytes,
        'bytes-pretty': prettySize(table.bytes),
        'transmit-rate': transmitRate(table.bytes, table.copyMs),
      },
      index: { count: table.indexes, duration: table.indexMs },
      indexes: (built.get(table.oid)?.indexes ?? []).map(item),
      constraints: (built.get(table.oid)?.constraints ?? []).map(item),
    })),
  };
  return `${JSON.stringify(object, null, 4)}\n`;
}

function item({ oid, schema, name, sql, durationMs }: BuiltObject): Record<string, unknown> {
  return { oid, schema, name, sql, ms: durationMs };
}

/** The summary of the clone in a work directory, as JSON. */
export async function loadSummaryJson(directory: string): Promise<string> {
  const { closeCatalog } = await import('../catalog/database.js');
  const { requireCatalogToRead } = await import('../catalog/work-directory.js');
  const { loadBuiltObjects } = await import('../clone/summary-objects.js');
  const { loadCloneSummary } = await import('../clone/summary.js');
  const { loadJobs } = await import('../follow/clone-settings.js');
  const catalog = requireCatalogToRead(directory);
  try {
    const jobs = loadJobs(catalog);
    return summaryJson(loadCloneSummary(catalog, jobs), await loadBuiltObjects(catalog), jobs);
  } finally {
    closeCatalog(catalog);
  }
}

/**
 * `list progress --summary --json`: the same object, and under `status` how the run and its stream stand now, as
 * `GET /v1/status` has it.
 */
export async function loadProgressJson(directory: string): Promise<string> {
  const { readStatus } = await import('../monitor/status.js');
  const summary = JSON.parse(await loadSummaryJson(directory)) as object;
  return `${JSON.stringify({ ...summary, status: readStatus(directory) }, null, 4)}\n`;
}

/** Writes `<directory>/summary.json`, whole or not at all. */
export async function saveSummary(directory: string): Promise<void> {
  const { writeWhole } = await import('./work-file.js');
  await writeWhole(directory, 'summary.json', await loadSummaryJson(directory));
}
