/** summary.json, and the same with more from a run that goes on: `list progress --summary --json` (reference 8.3). */
import type { CloneJobs } from '../clone/options.js';
import type { BuiltFor, BuiltObject, BuiltObjects } from '../clone/summary-objects.js';
import type { CloneSummary } from '../clone/summary.js';
import type { IndexFacts } from '../postgres/schema.js';
import { prettyDuration, prettySize } from './output.js';
import { transmitRate } from './progress-output.js';

/** The peer's object. Pure. */
export function summaryJson(...given: Parameters<typeof summaryJsonPieces>): string {
  return [...summaryJsonPieces(...given)].join('');
}

const indent = 4;

/** The same, piece by piece: whole, it would be as large as all else that is known of very many tables. Pure. */
export function* summaryJsonPieces(
  { tables, steps }: Pick<CloneSummary, 'tables' | 'steps'>,
  built: BuiltFor,
  jobs: CloneJobs,
): Generator<string> {
  const object = {
    setup: { 'table-jobs': jobs.table, 'index-jobs': jobs.index },
    steps: steps.map(({ step, connection, durationMs, concurrency }) => ({
      label: step,
      conn: connection,
      duration: durationMs,
      duration_pretty: prettyDuration(durationMs).trimStart(),
      concurrency,
    })),
    tables: [],
  };
  const whole = JSON.stringify(object, null, indent);
  if (tables.length === 0) {
    yield `${whole}\n`;
    return;
  }
  const end = ']\n}';
  yield whole.slice(0, -end.length);
  for (const [position, table] of tables.entries()) {
    const lines = JSON.stringify(tableObject(table, built(table.oid)), null, indent);
    const deep = ' '.repeat(2 * indent);
    yield `${position === 0 ? '' : ','}\n${deep}${lines.replaceAll('\n', `\n${deep}`)}`;
  }
  yield `\n${' '.repeat(indent)}${end}\n`;
}

function tableObject(table: CloneSummary['tables'][number], built: BuiltObjects): Record<string, unknown> {
  return {
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
    indexes: built.indexes.map(item),
    constraints: built.constraints.map(item),
  };
}

function item({ oid, schema, name, sql, durationMs }: BuiltObject): Record<string, unknown> {
  return { oid, schema, name, sql, ms: durationMs };
}

/** What a run that has just ended knows of itself; the rest is read from the work directory. */
export type KnownSummary = {
  readonly summary: CloneSummary;
  /** Those of the source. */
  readonly indexes: readonly IndexFacts[] | null;
};

/** The summary of the clone in a work directory, as JSON, piece by piece. */
async function* loadSummaryPieces(
  directory: string,
  known: KnownSummary | null = null,
): AsyncGenerator<string> {
  const { closeCatalog } = await import('../catalog/database.js');
  const { requireCatalogToRead } = await import('../catalog/work-directory.js');
  const { loadBuiltObjects } = await import('../clone/summary-objects.js');
  const { loadCloneSummary } = await import('../clone/summary.js');
  const { loadJobs } = await import('../follow/clone-settings.js');
  const catalog = requireCatalogToRead(directory);
  try {
    const jobs = loadJobs(catalog);
    const built = await loadBuiltObjects(catalog, known?.indexes ?? null);
    yield* summaryJsonPieces(known?.summary ?? loadCloneSummary(catalog, jobs), built, jobs);
  } finally {
    closeCatalog(catalog);
  }
}

/** The summary of the clone in a work directory, as JSON. */
export async function loadSummaryJson(directory: string): Promise<string> {
  const pieces: string[] = [];
  for await (const piece of loadSummaryPieces(directory)) pieces.push(piece);
  return pieces.join('');
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
export async function saveSummary(directory: string, known: KnownSummary | null = null): Promise<void> {
  const { writeWhole } = await import('./work-file.js');
  await writeWhole(directory, 'summary.json', loadSummaryPieces(directory, known));
}
