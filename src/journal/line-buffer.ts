/**
 * Encoded lines on their way to a file, as bytes, sealed with the running checksum. The bytes are reused after every
 * write.
 *
 * Text of ASCII is put character by character: a call into the engine costs more than the few characters that most
 * values have. Everything else is left to the engine.
 */
import { writeLsn } from '../model/lsn.js';
import type { Lsn } from '../model/lsn.js';
import type { PackedRow } from '../model/packed-row.js';
import { unchanged } from '../model/row.js';
import { isLongerThan } from '../model/text-limit.js';
import type { Row } from '../model/row.js';
import { crc32, formatSum } from './checksum.js';
import { sumIntervalBytes } from './format.js';

const usualBytes = 256 * 1024;
/** What a large value made the buffer grow to is given back above this. */
const keptBytes = 4 * 1024 * 1024;

/** From this length on a text is looked through and copied by the engine. */
const longText = 128;

/** What stands between quotes in JSON as it is, in one byte each. */
const plain = /^[ !#-[\]-~]*$/;

/** The longest that a position is. */
const lsnBytes = 17;

const quote = 0x22;
const comma = 0x2c;
const bracket = 0x5b;
const closingBracket = 0x5d;
const tab = 0x09;
const backslash = 0x5c;

export class LineBuffer {
  #buffer = Buffer.allocUnsafe(usualBytes);
  #used = 0;
  /** Up to where the bytes are sealed, and whether there is an open line behind that. */
  #sealed = 0;
  #open = false;
  /** Where the line that was begun last begins. */
  #lineStart = 0;
  #sum = 0;

  /** Bytes that wait for the write; those of open lines as well. */
  get used(): number {
    return this.#used;
  }

  /** The file's last checksum. */
  get sum(): number {
    return this.#sum;
  }

  /** Starts at a place in a file whose last checksum is `sum`, 0 at its beginning. */
  begin(sum: number): void {
    this.#used = 0;
    this.#sealed = 0;
    this.#open = false;
    this.#lineStart = 0;
    this.#sum = sum;
  }

  /** Adds an open line. */
  add(line: string): void {
    this.next();
    this.put(line);
  }

  /** Begins another line, which `put` and its like write. The one before it is closed. */
  next(): void {
    if (this.#used - this.#sealed >= sumIntervalBytes) this.seal(null);
    if (this.#open) this.put('}\n');
    this.#open = true;
    this.#lineStart = this.#used;
  }

  /** Whether the open line has more UTF-16 units than `limit`. */
  isLongerThan(limit: number): boolean {
    return isLongerThan(limit, this.#buffer, this.#lineStart, this.#used);
  }

  /**
   * Ends what was added with a checksum, and with the mark that `synced` bytes of the file are on disk, unless null.
   * Does nothing without lines.
   */
  seal(synced: number | null): void {
    if (!this.#open) return;
    if (synced !== null) this.put(`,"synced":${synced}`);
    this.#sum = crc32(this.#buffer.subarray(this.#sealed, this.#used), this.#sum);
    this.put(`,"sum":"${formatSum(this.#sum)}"}\n`);
    this.#open = false;
    this.#sealed = this.#used;
  }

  /** The sealed bytes; valid until `release`. Every line is sealed when this is asked for. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#sealed);
  }

  /** The bytes are written: their room is free again. */
  release(): void {
    this.#used = 0;
    this.#sealed = 0;
    if (this.#buffer.length > keptBytes) this.#buffer = Buffer.allocUnsafe(usualBytes);
  }

  /** Puts text as it is: a part of a line that is JSON already. */
  put(text: string): void {
    if (text.length >= longText || !this.#putPlain(text, false)) this.#putLong(text);
  }

  /** Puts a position as it is printed. */
  putLsn(lsn: Lsn): void {
    this.#makeRoom(lsnBytes);
    this.#used = writeLsn(this.#buffer, this.#used, lsn);
  }

  /** Puts a string of JSON, or null. */
  putString(text: string | null): void {
    if (text === null) this.put('null');
    else if (text.length < longText) {
      if (!this.#putPlain(text, true)) this.#putLong(JSON.stringify(text));
    } else if (plain.test(text)) {
      this.put('"');
      this.#putLong(text);
      this.put('"');
    } else {
      this.#putLong(JSON.stringify(text));
    }
  }

  /** Puts a list of cells. */
  putCells(cells: Row): void {
    let before = bracket;
    for (let nth = 0; nth < cells.length; nth += 1) {
      this.#makeRoom(1);
      this.#buffer[this.#used++] = before;
      before = comma;
      const cell = cells[nth];
      if (typeof cell !== 'string') this.put(cell === unchanged ? '0' : 'null');
      else if (cell.length >= longText || !this.#putPlain(cell, true)) this.putString(cell);
    }
    this.put(cells.length === 0 ? '[]' : ']');
  }

  /** Puts a list of cells that are packed. */
  putPacked({ bytes, start, end }: PackedRow): void {
    // A tab becomes three bytes, a quote two.
    this.#makeRoom(3 * (end - start) + 4);
    const buffer = this.#buffer;
    let at = this.#used;
    let from = start;
    buffer[at++] = bracket;
    for (;;) {
      if (from < end && bytes[from] === backslash) {
        at += buffer.write('null', at, 'latin1');
        from += 2;
      } else {
        buffer[at++] = quote;
        for (; from < end; from += 1) {
          const byte = bytes[from]!;
          if (byte === tab) break;
          if (byte === quote) buffer[at++] = backslash;
          buffer[at++] = byte;
        }
        buffer[at++] = quote;
      }
      if (from >= end) break;
      from += 1;
      buffer[at++] = comma;
    }
    buffer[at++] = closingBracket;
    this.#used = at;
  }

  /** Puts ASCII, between quotes if asked. False, and nothing is put, where it is no such text or would need an escape. */
  #putPlain(text: string, quoted: boolean): boolean {
    const { length } = text;
    this.#makeRoom(length + 2);
    const buffer = this.#buffer;
    let at = this.#used;
    if (quoted) buffer[at++] = quote;
    for (let index = 0; index < length; index += 1) {
      const character = text.charCodeAt(index);
      if (
        character > 0x7e ||
        (quoted && (character < 0x20 || character === quote || character === backslash))
      )
        return false;
      buffer[at++] = character;
    }
    if (quoted) buffer[at++] = quote;
    this.#used = at;
    return true;
  }

  #putLong(text: string): void {
    // A UTF-16 unit becomes at most three bytes; counted exactly only where that would waste much.
    this.#makeRoom(text.length > usualBytes ? Buffer.byteLength(text) : text.length * 3);
    this.#used += this.#buffer.write(text, this.#used);
  }

  #makeRoom(bytes: number): void {
    const needed = this.#used + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#used);
    this.#buffer = grown;
  }
}
