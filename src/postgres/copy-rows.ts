/**
 * Rows as COPY's text format has them: cells between tabs, rows between line feeds, `\N` for null, and a backslash in
 * front of what would be read as one of these. Pure.
 * https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-TEXT-FORMAT
 */

import type { PackedRow } from '../model/packed-row.js';

/** About how many bytes one piece has. */
const pieceBytes = 32 * 1024;

/** From this length on a text is looked through and copied by the engine; a call into it costs more than short ones. */
const longText = 128;

const tab = 0x09;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const backslash = 0x5c;
const letterN = 0x4e;

// A lone `\.` would be the end of the data: its backslash is doubled like any other.
const special = /[\\\t\n\r]/;
const specials = /[\\\t\n\r]/g;

function escape(character: string): string {
  switch (character) {
    case '\t':
      return '\\t';
    case '\n':
      return '\\n';
    case '\r':
      return '\\r';
    default:
      return '\\\\';
  }
}

/** What is to be copied. */
export type CopyRows = {
  readonly count: number;
  /** At least one. */
  readonly columns: number;
  readonly cellOf: (row: number, column: number) => string | null;
  /** All columns of a row as they are; `cellOf` serves for the other rows. */
  readonly packedOf?: (row: number) => PackedRow | undefined;
};

/** The rows as pieces of text, in UTF-8. A piece is valid until the next one is asked for. */
export function* copyText({ count, columns, cellOf, packedOf }: CopyRows): Generator<Buffer> {
  const piece = new Piece();
  for (let row = 0; row < count; row += 1) {
    const packed = packedOf?.(row);
    if (packed === undefined) {
      for (let column = 0; column < columns; column += 1) {
        if (column > 0) piece.byte(tab);
        piece.cell(cellOf(row, column));
      }
      piece.byte(lineFeed);
    } else {
      piece.packed(packed);
    }
    if (piece.used < pieceBytes) continue;
    yield piece.take();
  }
  if (piece.used > 0) yield piece.take();
}

class Piece {
  #buffer = Buffer.allocUnsafe(pieceBytes + 4096);
  #used = 0;
  /** Packed rows that follow each other where they lie, from `#from` to `#to`: to be copied at once. */
  #rows: Buffer | null = null;
  #from = 0;
  #to = 0;

  get used(): number {
    return this.#rows === null ? this.#used : this.#used + this.#to - this.#from + 1;
  }

  take(): Buffer {
    this.#copyRows();
    const used = this.#used;
    this.#used = 0;
    return this.#buffer.subarray(0, used);
  }

  /** Takes a packed row, with its end. */
  packed({ bytes, start, end }: PackedRow): void {
    if (bytes !== this.#rows || start !== this.#to + 1 || bytes[this.#to] !== lineFeed) {
      this.#copyRows();
      this.#rows = bytes;
      this.#from = start;
    }
    this.#to = end;
  }

  #copyRows(): void {
    const rows = this.#rows;
    if (rows === null) return;
    this.#rows = null;
    const from = this.#from;
    const length = this.#to - from;
    this.#makeRoom(length + 1);
    if (length >= longText) {
      rows.copy(this.#buffer, this.#used, from, from + length);
    } else {
      for (let at = 0; at < length; at += 1) this.#buffer[this.#used + at] = rows[from + at]!;
    }
    this.#used += length;
    this.#buffer[this.#used++] = lineFeed;
  }

  byte(byte: number): void {
    this.#copyRows();
    this.#makeRoom(1);
    this.#buffer[this.#used++] = byte;
  }

  cell(cell: string | null): void {
    this.#copyRows();
    if (cell === null) {
      this.byte(backslash);
      this.byte(letterN);
    } else if (cell.length >= longText || !this.#plain(cell)) {
      const text = special.test(cell) ? cell.replace(specials, escape) : cell;
      this.#makeRoom(text.length < pieceBytes ? text.length * 3 : Buffer.byteLength(text));
      this.#used += this.#buffer.write(text, this.#used);
    }
  }

  /** Puts ASCII that needs no escape; false, and nothing is put, where it is anything else. */
  #plain(text: string): boolean {
    const { length } = text;
    this.#makeRoom(length);
    const buffer = this.#buffer;
    const used = this.#used;
    for (let at = 0; at < length; at += 1) {
      const code = text.charCodeAt(at);
      if (code > 0x7f || code === backslash || code === tab || code === lineFeed || code === carriageReturn)
        return false;
      buffer[used + at] = code;
    }
    this.#used = used + length;
    return true;
  }

  #makeRoom(bytes: number): void {
    const needed = this.#used + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#used);
    this.#buffer = grown;
  }
}
