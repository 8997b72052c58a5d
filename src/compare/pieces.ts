/**
 * How a table is cut for reading: statements of bounded length, progress inside of a table, and several sessions on
 * one large table. Pure.
 *
 * 1. blocks  While nothing changes under way, each side has its own cut: ranges of its blocks (TID range scans, heap
 *            tables, version 14 and later). The sums of a side are added up, and it does not matter which row lies where.
 * 2. order   Ranges of a column that both sides have an index on, whose order is the same on every server (numbers,
 *            times, uuid; never text: its collation may differ), and in whose order the rows lie about. The same
 *            rows are in the same piece on both sides: each piece is compared for itself, at a position of its own.
 *            A column of the key before others: by one of these a row that is written goes to another piece more
 *            often, and is looked at once more for that (written-since.ts). Pieces are read upwards, nulls first: such values
 *            mostly grow.
 * 3. whole   Everything else.
 */
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import type { ListedTable } from './comparison.js';

/** Read in about a second or two: short enough for progress, and long enough that a round trip does not count. */
export const pieceBytes = 128 * 1024 * 1024;

/** What a piece reads on each side: a condition on `t`, null for all rows. */
export type Piece = { readonly source: string | null; readonly target: string | null };

export const wholeTable: Piece = { source: null, target: null };

/** What decides about cutting, of one side. */
export type CutFacts = Pick<
  ListedTable,
  'pages' | 'bytes' | 'heap' | 'key' | 'orders' | 'partitioned' | 'columns'
> & {
  readonly serverVersion: number;
};

/** How many pieces tables of this size get. */
export function piecesOf(source: CutFacts, target: CutFacts, bytes: number): number {
  return Math.max(1, Math.ceil(Math.max(source.bytes, target.bytes) / bytes));
}

const tidRangeScanVersion = 140_000;

/** Whether a side can be read by ranges of blocks. */
export function readsByBlocks({ heap, partitioned, serverVersion }: CutFacts): boolean {
  return heap && !partitioned && serverVersion >= tidRangeScanVersion;
}

/** Conditions that share out all blocks; the last has no end, since the table may have grown. */
export function blockConditions(pages: number, pieces: number): (string | null)[] {
  return Array.from({ length: pieces }, (_, piece) => {
    const start = Math.floor((pages * piece) / pieces);
    const end = Math.floor((pages * (piece + 1)) / pieces);
    const from = piece === 0 ? [] : [`t.ctid >= '(${start},0)'::pg_catalog.tid`];
    const to = piece === pieces - 1 ? [] : [`t.ctid < '(${end},0)'::pg_catalog.tid`];
    const ends = [...from, ...to];
    return ends.length === 0 ? null : ends.join(' and ');
  });
}

/** In this order a range of the key reads few blocks besides its own. */
const inOrder = 0.5;

export type CutOrder = { readonly column: string; readonly type: string; readonly nullable: boolean };

/** The column to cut both sides by; null where there is none. */
export function chooseOrder(source: CutFacts, target: CutFacts): CutOrder | null {
  const lies = ({ correlation }: { readonly correlation: number | null }) =>
    correlation !== null && Math.abs(correlation) >= inOrder;
  const typeOf = (facts: CutFacts, name: string) =>
    facts.columns.find((column) => column.name === name)?.type;
  const ofKey = ({ column }: { readonly column: string }) => source.key?.includes(column) === true;
  const orders = source.orders.filter(lies);
  for (const order of [...orders.filter(ofKey), ...orders.filter((one) => !ofKey(one))]) {
    const other = target.orders.filter(lies).find(({ column }) => column === order.column);
    const type = typeOf(source, order.column);
    if (other === undefined || type === undefined || type !== typeOf(target, order.column)) continue;
    return { column: order.column, type, nullable: order.nullable || other.nullable };
  }
  return null;
}

/** Pieces between ascending, distinct bounds, which belong to the piece above them; before them the nulls. Open at both ends. */
export function orderPieces({ column, type, nullable }: CutOrder, bounds: readonly string[]): Piece[] {
  const name = `t.${quoteIdentifier(column)}`;
  const value = (bound: string) => `${quoteLiteral(bound)}::${type}`;
  const pieces: Piece[] = [];
  for (let piece = 0; piece <= bounds.length; piece += 1) {
    const [from, to] = [bounds[piece - 1], bounds[piece]];
    const ends = [
      ...(from === undefined ? [] : [`${name} >= ${value(from)}`]),
      ...(to === undefined ? [] : [`${name} < ${value(to)}`]),
    ];
    const condition = ends.length === 0 ? null : ends.join(' and ');
    pieces.push({ source: condition, target: condition });
  }
  if (nullable && pieces.length > 1) pieces.unshift({ source: `${name} is null`, target: `${name} is null` });
  return pieces;
}

/** Few enough rows in a bucket that all of them are looked at in no time. */
const rowsOfABucket = 500;
const mostBuckets = 16_384;

/** A power of 2. */
export function bucketsFor(rows: number): number {
  let buckets = 1;
  while (buckets < mostBuckets && buckets * rowsOfABucket < rows) buckets *= 2;
  return buckets;
}
