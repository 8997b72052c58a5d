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
import { Failure, throwIfStopped, type Side } from '../failure.js';
import { silentLog, type Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import type { Session } from '../postgres/connect.js';
import type { Lsn } from '../model/lsn.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { chooseRowHash, contentsOf, probeSql, type BucketSums, type HashProbe } from './checksum.js';
import {
  judge,
  leaveOutUnlogged,
  planComparison,
  type ComparisonPlan,
  type DataComparison,
  type ListedTable,
  type PlannedTable,
  type TableComparison,
  type TableContents,
  type TableName,
} from './comparison.js';
import { describeDifferingRows, findDifferingRows } from './differing.js';
import { fetchBounds } from './bounds.js';
import { Moments, TargetPosition } from './moments.js';
import { forgetProofs, Proofs } from './proofs.js';
import { addOutcomes, compareMoving, judgeMoving, type MovingOutcome } from './moving.js';
import {
  blockConditions,
  bucketsFor,
  chooseOrder,
  orderPieces,
  pieceBytes,
  piecesOf,
  readsByBlocks,
  wholeTable,
  type Piece,
} from './pieces.js';
import { TableReader, type ReadTable, type Unit } from './reading.js';
import { addSums } from './rows.js';
import { Sides, type Pair, type SessionsAhead } from './sides.js';
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
  /** Leaves out unlogged tables of the source, whose changes no stream tells of. */
  readonly loggedOnly?: boolean;
  /** About how many bytes of a table are read by one statement. */
  readonly pieceBytes?: number;
  /**
   * The stream by which the target follows the source right now: its run must be under way, and apply. Null or absent
   * while nobody writes: then both sides are read as they are.
   */
  readonly following?: StreamKey | null;
  /**
   * The work directory of the stream: what is proven while the target follows is kept there, so that `compareTouched` at
   * the end need not read again what was not written since; what differs is taken back. Absent: nothing is kept.
   */
  readonly directory?: string | null;
  /** Sessions that are open already; taken before others are opened. */
  readonly ahead?: SessionsAhead | undefined;
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
  return await openComparison(options, (comparison) => compareWith(comparison, options));
}

/** Both sides, listed and ready to be read. */
export type OpenComparison = {
  readonly plan: ComparisonPlan;
  /** Tables left out of the plan, see `loggedOnly`. */
  readonly unlogged: readonly TableName[];
  readonly tables: Readonly<Record<Side, readonly ListedTable[]>>;
  /** The source database's name. */
  readonly database: string;
  readonly reader: TableReader;
  readonly first: Pair;
  /** More sessions, with the same view of their sides. */
  readonly another: () => Promise<Pair>;
};

/** Opens both sides for `run`, and closes them when it has ended, or the signal is set. */
export async function openComparison<T>(
  options: CompareDataOptions,
  run: (comparison: OpenComparison) => Promise<T>,
): Promise<T> {
  const { source, target, jobs, ahead, log, signal } = options;
  const still = (options.following ?? null) === null;
  const sides = new Sides({ source, target, shareSnapshot: jobs > 1, still, ahead, log, signal });
  const close = () => void sides.close();
  signal?.addEventListener('abort', close, { once: true });
  try {
    throwIfStopped(signal);
    return await run(await list(sides, options));
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

async function list(sides: Sides, options: CompareDataOptions): Promise<OpenComparison> {
  const { log = silentLog } = options;
  const first = await sides.first();
  const keeps = options.keeps ?? (() => true);
  const listSide = async (session: Session) => (await listTables(session)).filter(keeps);
  const [source, target] = await Promise.all([listSide(first.source), listSide(first.target)]);
  const [sourceProbe, targetProbe] = await Promise.all([probe(first.source), probe(first.target)]);
  const hash = chooseRowHash(sourceProbe, targetProbe);
  if (hash.kind === 'sha256') {
    log.notice('the servers do not hash text alike: checksums are made with SHA-256, which is slower', {
      source_encoding: sourceProbe.encoding,
      target_encoding: targetProbe.encoding,
    });
  }
  const all = planComparison(source, target, options.tables);
  const { unlogged, ...plan } =
    options.loggedOnly === true ? leaveOutUnlogged(all) : { ...all, unlogged: [] };
  return {
    plan,
    unlogged,
    tables: { source, target },
    database: sourceProbe.database,
    reader: new TableReader(hash),
    first,
    another: () => sides.another(),
  };
}

async function compareWith(
  { plan, unlogged, reader, database, first, another }: OpenComparison,
  options: CompareDataOptions,
): Promise<DataComparison> {
  const { jobs, log = silentLog } = options;
  const progress = new Progress(plan.tables, options.onProgress);
  const work: TableWork[] = [];
  for (const table of plan.tables) {
    if (table.kind === 'read') work.push(new TableWork(table, await cut(table, first, options)));
    else progress.tableDone(table, unread(table));
  }
  // The largest first, so that the end is not one worker with a large table.
  const queue = work
    .toSorted((a, b) => bytesOf(b.table) - bytesOf(a.table))
    .flatMap((table) => table.units.map((unit) => ({ table, unit })));

  const depth = options.depth ?? 'checksums';
  const following = options.following ?? null;
  const moments =
    following === null
      ? null
      : new Moments(following, new TargetPosition((await another()).target, following));
  const proofs =
    moments === null || (options.directory ?? null) === null
      ? null
      : await Proofs.open(options.directory ?? '', first, options.signal);
  const worker = async (pair: Pair) => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { table, unit } = next;
      const outcome =
        moments === null
          ? await compareStill(reader, pair, unit, depth)
          : await compareMoving(moments, reader, pair, unit, options.signal);
      if (!table.add(outcome)) {
        progress.pieceDone(table);
        continue;
      }
      const result = await (moments === null
        ? table.stillResult(pair, reader, depth)
        : table.movingResult(pair, reader, moments));
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

  const tables = plan.tables.map((table) => progress.results.get(table) ?? unread(table));
  const different = tables.filter(({ difference }) => difference !== null);
  if ((options.directory ?? null) !== null) forgetProofs(options.directory ?? '', different);
  return {
    database,
    tables,
    onlyOnTarget: plan.onlyOnTarget,
    unlogged,
  };
}

/**
 * The units that a table is read in. While nothing changes, each side by its own blocks, one piece a unit. Else by a
 * column, where there is one, so that each unit has a moment of its own; or the whole table at one moment, piece by piece.
 */
async function cut(table: ReadTable, { source, target }: Pair, options: CompareDataOptions): Promise<Unit[]> {
  const moving = (options.following ?? null) !== null;
  const facts = {
    source: { ...table.source, serverVersion: source.serverVersion },
    target: { ...table.target, serverVersion: target.serverVersion },
  };
  const count = piecesOf(facts.source, facts.target, options.pieceBytes ?? pieceBytes);
  const named = moving || options.depth === 'rows';
  const units = (parts: readonly (readonly Piece[])[]) => {
    const buckets = named ? bucketsFor(rowsOf(table) / parts.length) : 1;
    return parts.map((pieces): Unit => ({ table, pieces, buckets }));
  };
  if (count === 1) return units([[wholeTable]]);
  const order = moving ? chooseOrder(facts.source, facts.target) : null;
  if (order !== null) {
    const bounds = await fetchBounds(source, table.source, order, count);
    return units(orderPieces(order, bounds).map((piece) => [piece]));
  }
  const blocks = (side: Side) =>
    readsByBlocks(facts[side]) ? blockConditions(facts[side].pages, count) : null;
  const [onSource, onTarget] = [blocks('source'), blocks('target')];
  if (onSource === null || onTarget === null) return units([[wholeTable]]);
  const pieces = onSource.map((condition, at) => ({ source: condition, target: onTarget[at] ?? null }));
  if (moving) return units([pieces]);
  // One number of buckets for all, since their sums are added up.
  const buckets = named ? bucketsFor(rowsOf(table)) : 1;
  return pieces.map((piece) => ({ table, pieces: [piece], buckets }));
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

// Narrow rows; only the number of buckets depends on it.
const bytesOfARow = 64;

function rowsOf({ source, target }: ReadTable): number {
  const rows = ({ estimatedRows, bytes }: ListedTable) => estimatedRows || bytes / bytesOfARow;
  return Math.max(rows(source), rows(target));
}

function bytesOf({ source, target }: ReadTable): number {
  return Math.max(source.bytes, target.bytes);
}

type Outcome = Pick<MovingOutcome, 'sums'> & Partial<MovingOutcome>;

/** A table under way: what came of its units, until all of them are there. */
class TableWork {
  readonly table: ReadTable;
  readonly units: readonly Unit[];
  readonly #outcomes: Outcome[] = [];

  constructor(table: ReadTable, units: readonly Unit[]) {
    this.table = table;
    this.units = units;
  }

  /** Takes what came of a unit; true once it has them all. */
  add(outcome: Outcome): boolean {
    this.#outcomes.push(outcome);
    return this.#outcomes.length === this.units.length;
  }

  /** Up to where all its rows are known to be equal; null where that is not known. */
  get low(): Lsn | null {
    return addOutcomes(this.#outcomes.filter(isMoving)).low;
  }

  /** The verdict where nothing changes, with the differing rows if they are wanted. */
  async stillResult(pair: Pair, reader: TableReader, depth: CompareDepth): Promise<TableComparison> {
    const { table } = this;
    const sums = { source: this.#sums('source'), target: this.#sums('target') };
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

  /** The verdict on a table that is followed: its rows were settled already. */
  async movingResult(pair: Pair, reader: TableReader, moments: Moments): Promise<TableComparison> {
    const { table } = this;
    const { schema, name } = table;
    const { differing, changing } = addOutcomes(this.#outcomes.filter(isMoving));
    const source = contentsOf(this.#sums('source').values());
    const target = contentsOf(this.#sums('target').values());
    const moving = { changing };
    const difference = judgeMoving(differing);
    if (difference?.kind !== 'values') return { schema, name, source, target, difference, moving };
    const both = <T>(read: (session: Session) => Promise<T>) => moments.read(pair, table.source.oid, read);
    // What is here was looked at row by row, and is counted as it was seen.
    const found = { ...differing, complete: true };
    const described = await describeDifferingRows(both, reader, table, found);
    const rows = { ...described, complete: differing.complete };
    return { schema, name, source, target, difference, rows, moving };
  }

  #sums(side: Side): BucketSums {
    return addSums(this.#outcomes.map(({ sums }) => sums[side]));
  }
}

function isMoving(outcome: Outcome): outcome is MovingOutcome {
  return outcome.differing !== undefined;
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

async function probe(session: Session): Promise<HashProbe & { readonly database: string }> {
  const [row] = await session.query(probeSql);
  return {
    encoding: row?.['encoding'] ?? '',
    hashes: row?.['hashes'] ?? '',
    database: row?.['database'] ?? '',
  };
}
