/** One table under comparison: the units that it is read in, and the verdict once all of them are there. */
import type { Side } from '../failure.js';
import type { Lsn } from '../model/lsn.js';
import type { Session } from '../postgres/connect.js';
import { fetchBounds } from './bounds.js';
import { contentsOf, type Buckets, type BucketSums } from './checksum.js';
import { judge, type ListedTable, type TableComparison, type TableContents } from './comparison.js';
import { describeDifferingRows, findDifferingRows } from './differing.js';
import type { Cut } from './horizon.js';
import type { Moments } from './moments.js';
import { addDiffering, judgeMoving, lowOf, type MovingOutcome } from './moving.js';
import type { CompareDataOptions, CompareDepth } from './options.js';
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
import type { ReadTable, TableReader, Unit } from './reading.js';
import { addSums } from './rows.js';
import type { Pair } from './sides.js';
import type { WrittenSince } from './written-since.js';

/** A table and the units that it is read in; `by` where they are pieces by a column. */
export type CutTable = {
  readonly table: ReadTable;
  readonly units: readonly Unit[];
  readonly by: Cut | null;
};

/**
 * The units that a table is read in. While nothing changes, each side by its own blocks, one piece a unit. Else by a
 * column, where there is one, so that each unit has a moment of its own; or the whole table at one moment, piece by piece.
 */
export async function cutTable(
  table: ReadTable,
  { source, target }: Pair,
  options: CompareDataOptions,
): Promise<CutTable> {
  const moving = (options.following ?? null) !== null;
  const facts = {
    source: { ...table.source, serverVersion: source.serverVersion },
    target: { ...table.target, serverVersion: target.serverVersion },
  };
  const count = piecesOf(facts.source, facts.target, options.pieceBytes ?? pieceBytes);
  const named = moving || options.depth === 'rows';
  const bucketsOf = (rows: number): Buckets => ({
    count: named ? bucketsFor(rows) : 1,
    // The rows of differing buckets are read at later moments, when they may have been written.
    by: moving ? table.source.key : null,
  });
  const units = (parts: readonly (readonly Piece[])[], by: Cut | null = null): CutTable => {
    const buckets = bucketsOf(rowsOf(table) / parts.length);
    return { table, units: parts.map((pieces) => ({ table, pieces, buckets })), by };
  };
  if (count === 1) return units([[wholeTable]]);
  const order = moving ? chooseOrder(facts.source, facts.target) : null;
  if (order !== null) {
    const bounds = await fetchBounds(source, table.source, order, count);
    return units(
      orderPieces(order, bounds).map((piece) => [piece]),
      { ...order, bounds },
    );
  }
  const blocks = (side: Side) =>
    readsByBlocks(facts[side]) ? blockConditions(facts[side].pages, count) : null;
  const [onSource, onTarget] = [blocks('source'), blocks('target')];
  if (onSource === null || onTarget === null) return units([[wholeTable]]);
  const pieces = onSource.map((condition, at) => ({ source: condition, target: onTarget[at] ?? null }));
  if (moving) return units([pieces]);
  // One number of buckets for all, since their sums are added up.
  const buckets = bucketsOf(rowsOf(table));
  return { table, units: pieces.map((piece) => ({ table, pieces: [piece], buckets })), by: null };
}

// Narrow rows; only the number of buckets depends on it.
const bytesOfARow = 64;

function rowsOf({ source, target }: ReadTable): number {
  const rows = ({ estimatedRows, bytes }: ListedTable) => estimatedRows || bytes / bytesOfARow;
  return Math.max(rows(source), rows(target));
}

/** Of its larger side. */
export function bytesOf({ source, target }: ReadTable): number {
  return Math.max(source.bytes, target.bytes);
}

/** What came of a unit; while changes flow it was settled already. */
type Outcome = Pick<MovingOutcome, 'sums'> | MovingOutcome;

/** What is needed while changes flow. */
export type Moving = { readonly moments: Moments; readonly since: WrittenSince };

/** A table under way: what came of its units, until all of them are there. */
export class TableWork {
  readonly table: ReadTable;
  readonly units: readonly Unit[];
  readonly #by: Cut | null;
  readonly #outcomes = new Map<Unit, Outcome>();

  constructor({ table, units, by }: CutTable) {
    this.table = table;
    this.units = units;
    this.#by = by;
  }

  /** Takes what came of a unit; true once it has them all. */
  add(unit: Unit, outcome: Outcome): boolean {
    this.#outcomes.set(unit, outcome);
    return this.#outcomes.size === this.units.length;
  }

  /** Up to where all its rows are known to be equal; null where that is not known. */
  get low(): Lsn | null {
    return lowOf(this.#moving());
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
    const unit = { table, pieces, buckets: this.units[0]?.buckets ?? { count: 1, by: null } };
    const found = await findDifferingRows(both, reader, unit, sums);
    const rows = await describeDifferingRows(both, reader, table, found);
    return { schema, name, source, target, difference, rows };
  }

  /**
   * The verdict on a table that is followed: its rows were settled already, but for those that no unit has seen.
   * `onSettling` is told how many of these were looked at.
   */
  async movingResult(
    pair: Pair,
    reader: TableReader,
    { moments, since }: Moving,
    onSettling: (rows: number) => void,
  ): Promise<TableComparison> {
    const { table } = this;
    const { schema, name } = table;
    const outcomes = this.#moving();
    const later = await since.settle(pair, table, { cut: this.#by, outcomes, onLooked: onSettling });
    const differing = addDiffering(
      [...outcomes, ...(later === null ? [] : [later])].map((one) => one.differing),
    );
    const busy = new Set(outcomes.flatMap(({ changing }) => changing));
    for (const key of later?.again ?? []) busy.delete(key);
    for (const key of later?.changing ?? []) busy.add(key);
    for (const key of differing.keys) busy.delete(key);
    const source = contentsOf(this.#sums('source').values());
    const target = contentsOf(this.#sums('target').values());
    const moving = { changing: busy.size + (later?.left ?? 0) };
    const difference = judgeMoving(differing);
    if (difference?.kind !== 'values') return { schema, name, source, target, difference, moving };
    const both = <T>(read: (session: Session) => Promise<T>) => moments.read(pair, table.source.oid, read);
    // What is here was looked at row by row, and is counted as it was seen.
    const found = { ...differing, complete: true };
    const described = await describeDifferingRows(both, reader, table, found);
    const rows = { ...described, complete: differing.complete };
    return { schema, name, source, target, difference, rows, moving };
  }

  /** In the order of the units. */
  #moving(): MovingOutcome[] {
    return this.units.flatMap((unit) => {
      const outcome = this.#outcomes.get(unit);
      return outcome !== undefined && 'horizon' in outcome ? [outcome] : [];
    });
  }

  #sums(side: Side): BucketSums {
    return addSums([...this.#outcomes.values()].map(({ sums }) => sums[side]));
  }
}
