/**
 * `compare data`: counts and checksums of every table, computed by the servers, on both sides at the same time.
 *
 *   one pair of sessions: listing of the tables, snapshots ─┬─▶ worker 1: source query ‖ target query
 *                                                           ├─▶ worker 2: …          (a pair of sessions each)
 *                                                           └─▶ worker N (`jobs`)
 *
 * Large tables are read in pieces (pieces.ts), each of which any worker may take. A table whose sums differ is read
 * once more for the rows, where they are asked for (differing.ts).
 *
 * While the target follows the source (`following`), the sides never show the same state at the same time: then each
 * piece is compared at a moment of its own (moments.ts, moving.ts), and what differs is looked at again, row by row.
 *
 * The load is bounded: at most `jobs` queries run on a side, and each reads one table or piece once, in sequence. A
 * server may use parallel workers of its own (max_parallel_workers_per_gather).
 */
import { silentLog } from '../log.js';
import { relationLabel } from '../model/relation.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from '../postgres/connect.js';
import type { DataComparison, PlannedTable, TableComparison } from './comparison.js';
import { compareExtraChildren, withoutDiffering } from './extra-children.js';
import { Moments, TargetPosition } from './moments.js';
import { compareMoving, type MovingOutcome } from './moving.js';
import { openComparison, type OpenComparison } from './opening.js';
import type { CompareDataOptions, CompareDepth } from './options.js';
import { Progress } from './progress.js';
import { forgetProofs, Proofs } from './proofs.js';
import type { TableReader, Unit } from './reading.js';
import type { Pair } from './sides.js';
import { bytesOf, cutTable, TableWork, type Moving } from './table-work.js';
import { WrittenSince } from './written-since.js';

/**
 * Compares the data of all ordinary tables and leaf partitions, unlogged ones too; not those of extensions, of
 * the schema `walferry`, temporary ones, or the system's. Differences are returned, not thrown: `sidesDiffer`
 * makes a failure of them.
 */
export async function compareData(options: CompareDataOptions): Promise<DataComparison> {
  return await openComparison(options, (comparison) => compareWith(comparison, options));
}

async function compareWith(
  { plan, unlogged, reader, database, first, another }: OpenComparison,
  options: CompareDataOptions,
): Promise<DataComparison> {
  const { jobs, log = silentLog } = options;
  const progress = new Progress(plan.tables, options.onProgress);
  const work: TableWork[] = [];
  for (const table of plan.tables) {
    if (table.kind === 'read') work.push(new TableWork(await cutTable(table, first, options)));
    else progress.tableDone(table, unread(table));
  }
  // The largest first, so that the end is not one worker with a large table.
  const queue = work
    .toSorted((a, b) => bytesOf(b.table) - bytesOf(a.table))
    .flatMap((table) => table.units.map((unit) => ({ table, unit })));

  const depth = options.depth ?? 'checksums';
  const following = options.following ?? null;
  const moving =
    following === null ? null : besideWorkers(await another(), following, reader, options.signal);
  const proofs =
    moving === null || (options.directory ?? null) === null
      ? null
      : await Proofs.open(options.directory ?? '', first, options.signal);
  const worker = async (pair: Pair) => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { table, unit } = next;
      const outcome =
        moving === null
          ? await compareStill(reader, pair, unit, depth)
          : await compareMoving(moving.moments, reader, pair, unit, options.signal);
      if (!table.add(unit, outcome)) {
        progress.pieceDone(table);
        continue;
      }
      const result = await (moving === null
        ? table.stillResult(pair, reader, depth)
        : table.movingResult(pair, reader, moving, (rows) => progress.settling(table.table, rows)));
      if (result.difference === null && table.low !== null) proofs?.record(table.table, table.low);
      progress.tableDone(table.table, result);
      log.notice(`${relationLabel(result)}: ${result.source?.rows} rows, ${verdictOf(result)}`);
    }
  };
  const pairs = Array.from({ length: Math.min(jobs, queue.length) }, (_, index) =>
    index === 0 ? Promise.resolve(first) : another(),
  );
  try {
    await Promise.all(pairs.map(async (pair) => worker(await pair)));
  } finally {
    proofs?.close();
  }

  const extra = await compareExtraChildren(first.target, plan);
  const tables = [...plan.tables.map((table) => progress.results.get(table) ?? unread(table)), ...extra];
  const different = tables.filter(({ difference }) => difference !== null);
  if ((options.directory ?? null) !== null) forgetProofs(options.directory ?? '', different);
  return {
    database,
    tables,
    onlyOnTarget: withoutDiffering(plan, extra),
    unlogged,
  };
}

/** A session of the target looks for all workers where it stands, one of the source for rows that no piece has seen. */
function besideWorkers(
  { source, target }: Pair,
  following: StreamKey,
  reader: TableReader,
  signal: AbortSignal | undefined,
): Moving {
  const moments = new Moments(following, new TargetPosition(target, following));
  return { moments, since: new WrittenSince(source, moments, reader, signal) };
}

async function compareStill(
  reader: TableReader,
  pair: Pair,
  unit: Unit,
  depth: CompareDepth,
): Promise<Pick<MovingOutcome, 'sums'>> {
  const read = (session: Session) =>
    depth === 'counts' ? reader.count(session, unit) : reader.sums(session, unit);
  const [source, target] = await Promise.all([read(pair.source), read(pair.target)]);
  return { sums: { source, target } };
}

function verdictOf({ difference }: TableComparison): string {
  if (difference === null) return 'equal';
  return difference.kind === 'undecided' ? 'not known to be equal' : 'different';
}

function unread(table: PlannedTable): TableComparison {
  const { schema, name } = table;
  if (table.kind === 'read') throw new Error(`${relationLabel(table)} was not compared`);
  const difference =
    table.kind === 'missing'
      ? ({ kind: 'missing' } as const)
      : ({ kind: 'columns', missing: table.missing, extra: table.extra } as const);
  return { schema, name, source: null, target: null, difference };
}
