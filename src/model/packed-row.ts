/**
 * Rows as bytes. Most rows pass from the source to a transform file and to the target without anybody looking into them;
 * a string for each of their cells would cost more than all the rest. So they are carried packed, and become cells
 * (`row`) where somebody asks.
 *
 * Packed are the cells in the order of the relation's columns, in UTF-8, with a tab between two of them and `\N` for a
 * null. No cell has a control character or a backslash in it: a row that does, one with a value that was not sent, and
 * one that is large, is never packed. So these are the very bytes that COPY reads, and nearly those that JSON has.
 */
import { Buffer } from 'node:buffer';
import type { Insert, Update } from './change.js';
import type { Relation } from './relation.js';
import type { Cell, Row } from './row.js';

/** A row in `bytes`, from `start` to `end`. */
export type PackedRow = { readonly bytes: Buffer; readonly start: number; readonly end: number };

const tab = 0x09;
const lineFeed = 0x0a;
const backslash = 0x5c;
const letterN = 0x4e;
const digitZero = 0x30;

/** Rows of more bytes than this are not packed: what they cost is not their number of cells. */
export const packedBytesAtMost = 8 * 1024;

const spaceBytes = 64 * 1024;

/** Whether a byte may stand in a packed cell. */
export function isPackable(byte: number): boolean {
  return byte >= 0x20 && byte !== backslash;
}

/**
 * Where rows are packed one behind the other, with a line feed behind each: rows that follow each other are what COPY
 * reads. It is kept as long as any of its rows is.
 */
export class PackSpace {
  bytes = Buffer.allocUnsafeSlow(spaceBytes);
  /** Where the next row begins. */
  used = 0;

  /** Makes room for a row of at most so many bytes. */
  reserve(length: number): void {
    if (this.bytes.length - this.used > length) return;
    this.bytes = Buffer.allocUnsafeSlow(Math.max(spaceBytes, length + 1));
    this.used = 0;
  }

  /** The row from `used` to `end`, which was written there. */
  take(end: number): PackedRow {
    const start = this.used;
    this.bytes[end] = lineFeed;
    this.used = end + 1;
    return { bytes: this.bytes, start, end };
  }
}

/** Writes a null at `at`; returns the place behind it. */
export function packNull(bytes: Buffer, at: number): number {
  bytes[at] = backslash;
  bytes[at + 1] = letterN;
  return at + 2;
}

/**
 * A packed insert, or an update that leaves the identity alone and brings every value. Both are objects of one shape, with
 * the place of their row in them: what handles them is compiled once, and the collector has one object to move.
 */
class PackedChange<Kind extends 'insert' | 'update'> implements PackedRow {
  readonly kind: Kind;
  readonly relation: Relation;
  readonly key = null;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  #row: Row | null = null;

  constructor(kind: Kind, relation: Relation, { bytes, start, end }: PackedRow) {
    this.kind = kind;
    this.relation = relation;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  /** All cells. */
  get row(): Row {
    return (this.#row ??= unpack(this));
  }

  /** One cell, without a look at the others where that can be avoided. */
  cell(at: number): string | null {
    return this.#row === null ? packedCell(this, at) : (this.#row[at] as string | null);
  }
}

export function packedInsert(relation: Relation, row: PackedRow): Insert {
  return new PackedChange('insert', relation, row);
}

/** An update that leaves the identity alone and brings every value. */
export function packedUpdate(relation: Relation, row: PackedRow): Update {
  return new PackedChange('update', relation, row);
}

/** The packed row of a change, undefined where it has none. */
export function packedOf(change: Insert | Update): PackedRow | undefined {
  return change instanceof PackedChange ? change : undefined;
}

/** One cell of a change's row; undefined where the row has none there. */
export function cellAt(change: Insert | Update, at: number): Cell | undefined {
  return change instanceof PackedChange ? change.cell(at) : change.row[at];
}

function unpack({ bytes, start, end }: PackedRow): Row {
  const cells: Cell[] = bytes.toString('utf8', start, end).split('\t');
  for (let at = 0; at < cells.length; at += 1) if (cells[at] === '\\N') cells[at] = null;
  return cells;
}

function packedCell({ bytes, start, end }: PackedRow, at: number): string | null {
  let from = start;
  for (let nth = 0; nth < at; nth += 1) from = bytes.indexOf(tab, from) + 1;
  let to = from;
  let seen = 0;
  for (; to < end && bytes[to] !== tab; to += 1) seen |= bytes[to]!;
  if (bytes[from] === backslash && from < to) return null;
  return bytes.toString(seen > 0x7f ? 'utf8' : 'latin1', from, to);
}

/** Where the cells of packed rows lie, all of the same columns: for whoever goes through them column by column. */
export class PackedCells {
  readonly rows: readonly PackedRow[];
  readonly #columns: number;
  /** Row by row, where each cell ends. */
  readonly #ends: Int32Array;

  constructor(rows: readonly PackedRow[], columns: number) {
    this.rows = rows;
    this.#columns = columns;
    this.#ends = new Int32Array(rows.length * columns);
    let put = 0;
    for (const { bytes, start, end } of rows) {
      for (let at = start; at < end; at += 1) if (bytes[at] === tab) this.#ends[put++] = at;
      this.#ends[put++] = end;
    }
  }

  start(row: number, column: number): number {
    return column === 0 ? this.rows[row]!.start : this.#ends[row * this.#columns + column - 1]! + 1;
  }

  end(row: number, column: number): number {
    return this.#ends[row * this.#columns + column]!;
  }

  /** Bytes of a column's cells, a null being two. */
  bytes(column: number): number {
    let bytes = 0;
    for (let row = 0; row < this.rows.length; row += 1)
      bytes += this.end(row, column) - this.start(row, column);
    return bytes;
  }
}

/** The cells of changes that are packed without exception; null where one is not. */
export function packedCells(changes: readonly (Insert | Update)[]): PackedCells | null {
  const rows: PackedRow[] = [];
  for (const change of changes) {
    if (!(change instanceof PackedChange)) return null;
    rows.push(change);
  }
  return new PackedCells(rows, changes[0]?.relation.columns.length ?? 0);
}

/** Whether a cell is a null. */
export function isPackedNull(bytes: Buffer, start: number, end: number): boolean {
  return start < end && bytes[start] === backslash;
}

/** The most digits that are a small integer to the engine, whatever they are. */
const numberDigits = 9;

/**
 * What a map finds a cell by. Texts that differ are found apart: the text of a number becomes that number only where
 * the number is printed like this.
 */
export function mapKey(cell: string): string | number {
  const { length } = cell;
  if (length === 0 || length > numberDigits) return cell;
  const first = cell.charCodeAt(0) - digitZero;
  if (first === 0 && length > 1) return cell;
  let value = 0;
  for (let at = 0; at < length; at += 1) {
    const digit = cell.charCodeAt(at) - digitZero;
    if (digit < 0 || digit > 9) return cell;
    value = value * 10 + digit;
  }
  return value;
}

/** `mapKey` of one cell of a change, '' for a null; a small number is read where it lies. */
export function mapKeyAt(change: Insert | Update, at: number): string | number {
  if (!(change instanceof PackedChange)) {
    const cell = change.row[at];
    return typeof cell === 'string' ? mapKey(cell) : '';
  }
  const { bytes, start, end } = change;
  let from = start;
  for (let nth = 0; nth < at; nth += 1) from = bytes.indexOf(tab, from) + 1;
  const first = bytes[from]! - digitZero;
  let value = 0;
  let to = from;
  for (; to < end && bytes[to] !== tab; to += 1) {
    const digit = bytes[to]! - digitZero;
    if (digit < 0 || digit > 9 || to - from >= numberDigits || (first === 0 && to > from)) {
      return change.cell(at) ?? '';
    }
    value = value * 10 + digit;
  }
  return to === from ? '' : value;
}
