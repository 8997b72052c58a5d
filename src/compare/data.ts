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
 * The load is bounded: at most `jobs` queries run on a side, and each reads one table or piece once, in sequence. A
 * server may use parallel workers of its own (max_parallel_workers_per_gather).
 */
import { Failure, throwIfStopped, type Side } from '../failure.js';
import { silentLog, type Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { chooseRowHash, contentsOf, probeSql, type BucketSums, type HashProbe } from './checksum.js';
import {
  judge,
  planComparison,
  type DataComparison,
  type ListedTable,
  type PlannedTable,
  type TableComparison,
  type TableContents,
  type TableName,
} from './comparison.js';
import { describeDifferingRows, findDifferingRows } from './differing.js';
import { blockConditions, bucketsFor, pieceBytes, piecesOf, readsByBlocks, wholeTable } from './pieces.js';
import { TableReader, type ReadTable, type Unit } from './reading.js';
import { addSums } from './rows.js';
import { Sides, type Pair } from './sides.js';
import { listTables } from './tables.js';

/**
 * How deep a comparison goes:
 *   counts     numbers of rows alone
 *   checksums  of all rows
 *   rows       checksums, and where they differ, which rows differ
 */
export type CompareDepth = 'counts' | 'checksums' | 'rows';

export type CompareDataOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  /** Tables or pieces compared at the same time, hence sessions on each side. */
  readonly jobs: number;
  /** `checksums` unless told. */
  readonly depth?: CompareDepth;
  readonly log?: Log;
  readonly signal?: AbortSignal;
  /** Called once with `done` 0, then after each table and each piece of a large one. */
  readonly onProgress?: (progress: CompareProgress) => void;
  /** Only these tables; all of the source's unless told. */
  readonly tables?: readonly TableName[];
  /** Tables that are not kept are looked at on neither side: they were left out of the copy. */
  readonly keeps?: ((table: TableName) => boolean) | null;
  /** About how many bytes of a table are read by one statement. */
  readonly pieceBytes?: number;
};

export type CompareProgress = {
  /** Tables. */
  readonly done: number;
  readonly total: number;
  /** The table that was done last. */
  readonly last: TableComparison | null;
  /** Bytes of the source's tables, as far as they are read. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
};

/**
 * Compares the data of all ordinary tables and leaf partitions, unlogged ones too; not those of extensions, of
 * the schema `walferry`, temporary ones, or the system's. Differences are returned, not thrown: `sidesDiffer`
 * makes a failure of them.
 */
export async function compareData(options: CompareDataOptions): Promise<DataComparison> {
  const { source, target, jobs, log, signal } = options;
  const sides = new Sides({ source, target, shareSnapshot: jobs > 1, still: true, log, signal });
  const close = () => void sides.close();
  signal?.addEventListener('abort', close, { once: true });
  try {
    throwIfStopped(signal);
    return await compareWith(sides, options);
  } catch (error) {
    if (signal?.aborted === true) {
      throw new Failure('stopped', 'the comparison was stopped as asked', {
        cause: error,
        remedy: 'Nothing was changed: run the same command again.',
      });
    }
    throw error;
  } finally {
    signal?.removeEventListener('abort', close);
    await sides.close();
  }
}

async function compareWith(sides: Sides, options: CompareDataOptions): Promise<DataComparison> {
  const { jobs, log = silentLog } = options;
  const first = await sides.first();
  const keeps = options.keeps ?? (() => true);
  const list = async (session: Session) => (await listTables(session)).filter(keeps);
  const [sourceTables, targetTables] = await Promise.all([list(first.source), list(first.target)]);
  const [sourceProbe, targetProbe] = await Promise.all([probe(first.source), probe(first.target)]);
  const hash = chooseRowHash(sourceProbe, targetProbe);
  if (hash.kind === 'sha256') {
    log.notice('the servers do not hash text alike: checksums are made with SHA-256, which is slower', {
      source_encoding: sourceProbe.encoding,
      target_encoding: targetProbe.encoding,
    });
  }

  const plan = planComparison(sourceTables, targetTables, options.tables);
  const progress = new Progress(plan.tables, options.onProgress);
  const versions = { source: first.source.serverVersion, target: first.target.serverVersion };
  const work = plan.tables.flatMap((table) =>
    table.kind === 'read' ? [new TableWork(table, cut(table, versions, options))] : [],
  );
  for (const table of plan.tables) if (table.kind !== 'read') progress.tableDone(table, unread(table));
  // The largest first, so that the end is not one worker with a large table.
  const queue = work
    .toSorted((a, b) => bytesOf(b.table) - bytesOf(a.table))
    .flatMap((table) => table.units.map((unit) => ({ table, unit })));

  const reader = new TableReader(hash);
  const worker = async (pair: Pair) => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { table, unit } = next;
      const read = (session: Session) =>
        options.depth === 'counts' ? reader.count(session, unit) : reader.sums(session, unit);
      const [source, target] = await Promise.all([read(pair.source), read(pair.target)]);
      if (!table.add({ source, target })) {
        progress.pieceDone(table);
        continue;
      }
      const result = await table.result(pair, reader, options.depth ?? 'checksums');
      progress.tableDone(table.table, result);
      const verdict = result.difference === null ? 'equal' : 'different';
      log.notice(`${relationLabel(result)}: ${result.source?.rows} rows, ${verdict}`);
    }
  };
  const pairs = Array.from({ length: Math.min(jobs, queue.length) }, (_, index) =>
    index === 0 ? Promise.resolve(first) : sides.another(),
  );
  await Promise.all(pairs.map(async (pair) => worker(await pair)));

  return {
    database: sourceProbe.database,
    tables: plan.tables.map((table) => progress.results.get(table) ?? unread(table)),
    onlyOnTarget: plan.onlyOnTarget,
  };
}

/** One piece a unit: nothing changes under way, so each side is cut by its own blocks. */
function cut(
  table: ReadTable,
  versions: Readonly<Record<Side, number>>,
  { depth, pieceBytes: bytes = pieceBytes }: CompareDataOptions,
): Unit[] {
  const buckets = depth === 'rows' ? bucketsFor(rowsOf(table)) : 1;
  const source = { ...table.source, serverVersion: versions.source };
  const target = { ...table.target, serverVersion: versions.target };
  const pieces = piecesOf(source, target, bytes);
  if (pieces === 1 || !readsByBlocks(source) || !readsByBlocks(target)) {
    return [{ table, pieces: [wholeTable], buckets }];
  }
  const onTarget = blockConditions(target.pages, pieces);
  return blockConditions(source.pages, pieces).map((condition, piece) => ({
    table,
    pieces: [{ source: condition, target: onTarget[piece] ?? null }],
    buckets,
  }));
}

// Narrow rows; only the number of buckets depends on it.
const bytesOfARow = 64;

function rowsOf({ source, target }: ReadTable): number {
  const rows = ({ estimatedRows, bytes }: ListedTable) => estimatedRows || bytes / bytesOfARow;
  return Math.max(rows(source), rows(target));
}

function bytesOf({ source, target }: ReadTable): number {
  return Math.max(source.bytes, target.bytes);
}

/** A table under way: the sums of its units, until all of them are there. */
class TableWork {
  readonly table: ReadTable;
  readonly units: readonly Unit[];
  readonly #sums: Record<Side, BucketSums[]> = { source: [], target: [] };

  constructor(table: ReadTable, units: readonly Unit[]) {
    this.table = table;
    this.units = units;
  }

  /** Takes a unit's sums; true once it has them all. */
  add(sums: Readonly<Record<Side, BucketSums>>): boolean {
    this.#sums.source.push(sums.source);
    this.#sums.target.push(sums.target);
    return this.#sums.source.length === this.units.length;
  }

  /** The verdict, with the differing rows if they are wanted. */
  async result(pair: Pair, reader: TableReader, depth: CompareDepth): Promise<TableComparison> {
    const { table } = this;
    const sums = { source: addSums(this.#sums.source), target: addSums(this.#sums.target) };
    const contents = (side: Side): TableContents => {
      const all = contentsOf(sums[side].values());
      return depth === 'counts' ? { ...all, checksum: '' } : all;
    };
    const [source, target] = [contents('source'), contents('target')];
    const difference = judge(source, target);
    const { schema, name } = table;
    if (difference === null || depth !== 'rows') return { schema, name, source, target, difference };
    const both = async <T>(read: (session: Session) => Promise<T>) => {
      const [onSource, onTarget] = await Promise.all([read(pair.source), read(pair.target)]);
      return { source: onSource, target: onTarget };
    };
    const pieces = this.units.flatMap((unit) => unit.pieces);
    const unit = { table, pieces, buckets: this.units[0]?.buckets ?? 1 };
    const found = await findDifferingRows(both, reader, unit, sums);
    const rows = await describeDifferingRows(both, reader, table, found);
    return { schema, name, source, target, difference, rows };
  }
}

/** Counts what is done. */
class Progress {
  readonly results = new Map<PlannedTable, TableComparison>();
  readonly #tables: readonly PlannedTable[];
  readonly #tell: (progress: CompareProgress) => void;
  readonly #bytesTotal: number;
  readonly #pieces = new Map<TableWork, number>();
  #bytesDone = 0;
  #last: TableComparison | null = null;

  constructor(tables: readonly PlannedTable[], tell: CompareDataOptions['onProgress']) {
    this.#tables = tables;
    this.#tell = tell ?? (() => {});
    this.#bytesTotal = tables.reduce((sum, table) => sum + (table.kind === 'read' ? bytesOf(table) : 0), 0);
    this.#now();
  }

  /** A piece, but not the table's last. */
  pieceDone(work: TableWork): void {
    this.#pieces.set(work, (this.#pieces.get(work) ?? 0) + 1);
    this.#now();
  }

  tableDone(table: PlannedTable, result: TableComparison): void {
    this.results.set(table, result);
    this.#last = result;
    for (const work of this.#pieces.keys()) if (work.table === table) this.#pieces.delete(work);
    if (table.kind === 'read') this.#bytesDone += bytesOf(table);
    this.#now();
  }

  #now(): void {
    let underWay = 0;
    for (const [{ table, units }, done] of this.#pieces) underWay += (bytesOf(table) * done) / units.length;
    this.#tell({
      done: this.results.size,
      total: this.#tables.length,
      last: this.#last,
      bytesDone: this.#bytesDone + Math.floor(underWay),
      bytesTotal: this.#bytesTotal,
    });
  }
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

async function probe(session: Session): Promise<HashProbe & { readonly database: string }> {
  const [row] = await session.query(probeSql);
  return {
    encoding: row?.['encoding'] ?? '',
    hashes: row?.['hashes'] ?? '',
    database: row?.['database'] ?? '',
  };
}
