/**
 * Reading one payload in place: a cursor over bytes that nothing may leave, in either direction. Every refusal
 * names the message, its WAL position and the offset of the byte, since that is all a report can carry.
 */
import { isUtf8 } from 'node:buffer';
import { Failure } from '../../src/failure.js';
import type { Lsn } from '../../src/model/lsn.js';
import { formatLsn } from '../../src/model/lsn.js';
import { isPackable, packNull, packedBytesAtMost } from '../../src/model/packed-row.js';
import type { PackSpace, PackedRow } from '../../src/model/packed-row.js';
import { relationLabel, type Relation } from '../../src/model/relation.js';
import { isLongerThan, tooLong } from '../../src/model/text-limit.js';

// Two 32-bit halves seen as one 64-bit number: one allocation where shifting bigints would make four.
const wide = new BigUint64Array(1);
const halves = new Uint32Array(wide.buffer);
const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
const lowHalf = littleEndian ? 0 : 1;
const highHalf = littleEndian ? 1 : 0;

// A call into the engine costs about 0.25 µs, whatever it converts. So one call turns a whole read of the socket into
// Latin-1 text, and short ASCII cells are cut out of that. The engine copies so short a piece; a longer one would keep
// the whole text alive. Where the bytes are more than a read brings, they are mostly one long cell.
const maxShortText = 12;
const maxCutBytes = 256 * 1024;

/** How a cell begins: null, or text of a given length. */
export const cellNull = 0x6e;
export const cellText = 0x74;

const tab = 0x09;

/** A cursor over one payload. It is used again for the next payload, so that the hot path allocates no reader. */
export class PayloadReader {
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  #offset = 0;
  #lsn: Lsn = 0n as Lsn;
  /** All of `#bytes`, which mostly serves for many payloads. */
  #latin1: string | null = null;

  /**
   * Starts on the next payload, from `start` to `end` in `bytes`; `walStart` is its position in the XLogData header.
   * As long as it is the same object, `bytes` holds the same.
   */
  begin(bytes: Buffer, start: number, end: number, walStart: Lsn): void {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#latin1 = null;
    }
    this.#start = start;
    this.#end = end;
    this.#offset = start;
    this.#lsn = walStart;
  }

  /** What is in `bytes` may have changed. */
  forget(): void {
    this.#latin1 = null;
  }

  /** Throws `message-unreadable`; `at` is the offset of the byte that was not understood. */
  refuse(what: string, at: number = this.offset): never {
    const length = this.#end - this.#start;
    const tag = length === 0 ? 'empty message' : `message ${describeByte(this.#bytes[this.#start]!)}`;
    throw new Failure(
      'message-unreadable',
      `pgoutput sent a ${tag} at ${formatLsn(this.#lsn)} that cannot be read: ${what} ` +
        `(offset ${at} of ${length} bytes)`,
    );
  }

  /** Throws `plugin-limit`: the message is understood, and does not say what is needed. */
  refuseLimit(what: string, remedy: string): never {
    throw new Failure('plugin-limit', `pgoutput at ${formatLsn(this.#lsn)}: ${what}`, { remedy });
  }

  /** Refuses what is left over: a message is understood to its last byte or not at all. */
  end(): void {
    if (this.#offset !== this.#end) {
      this.refuse(`${this.#end - this.#offset} bytes follow its end`);
    }
  }

  uint8(): number {
    const at = this.#take(1);
    return this.#bytes[at]!;
  }

  uint16(): number {
    const at = this.#take(2);
    const bytes = this.#bytes;
    return (bytes[at]! << 8) | bytes[at + 1]!;
  }

  uint32(): number {
    const at = this.#take(4);
    const bytes = this.#bytes;
    return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  }

  uint64(): bigint {
    halves[highHalf] = this.uint32();
    halves[lowHalf] = this.uint32();
    return wide[0]!;
  }

  /** Microseconds since 2000-01-01, which may lie before it. */
  int64(): bigint {
    return BigInt.asIntN(64, this.uint64());
  }

  lsn(): Lsn {
    return this.uint64() as Lsn;
  }

  /** A name: text up to a zero byte. */
  name(): string {
    const start = this.#offset;
    const end = this.#bytes.indexOf(0, start);
    if (end < 0 || end >= this.#end) this.refuse('a name has no end');
    this.#offset = end + 1;
    return this.#text(start, end);
  }

  /** The cell of a column, its length before it. Throws `plugin-limit` when it has more UTF-16 units than `longest`. */
  cell(relation: Relation, position: number, longest: number): string {
    const length = this.uint32();
    const start = this.#take(length);
    if (length > longest && isLongerThan(longest, this.#bytes, start, start + length)) {
      const column = relation.columns[position]?.name ?? '';
      throw tooLong(`a value of column "${column}" of ${relationLabel(relation)}`, this.#lsn, longest);
    }
    return this.#text(start, start + length);
  }

  /** Whether a name is this one (ASCII). Others are passed over: nobody here vouches for what they are. */
  isName(name: string): boolean {
    const start = this.#offset;
    const end = this.#bytes.indexOf(0, start);
    if (end < 0 || end >= this.#end) this.refuse('a name has no end');
    this.#offset = end + 1;
    return end - start === name.length && this.#bytes.toString('latin1', start, end) === name;
  }

  /** Passes over bytes that do not concern us. */
  skip(length: number): void {
    this.#take(length);
  }

  /** Any bytes, as base64. */
  base64(length: number): string {
    const start = this.#take(length);
    return this.#bytes.toString('base64', start, start + length);
  }

  /**
   * Reads the cells of a row, which must be all that is left, into a packed one. Null, and nothing is read, where the row
   * is not to be packed, or is not right: then reading it cell by cell tells what is wrong.
   */
  packedRow(columns: number, space: PackSpace): PackedRow | null {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = this.#offset;
    if (columns === 0 || end - at > packedBytesAtMost) return null;
    // A cell of text is longer here, by its length; a null takes three bytes with the tab.
    space.reserve(end - at + 2 * columns);
    const to = space.bytes;
    let put = space.used;
    let seen = 0;
    for (let column = 0; column < columns; column += 1) {
      if (column > 0) to[put++] = tab;
      if (at >= end) return null;
      const kind = bytes[at++];
      if (kind === cellNull) {
        put = packNull(to, put);
        continue;
      }
      if (kind !== cellText || end - at < 4) return null;
      const length = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
      at += 4;
      if (length < 0 || length > end - at) return null;
      for (const stop = at + length; at < stop; at += 1) {
        const byte = bytes[at]!;
        if (!isPackable(byte)) return null;
        seen |= byte;
        to[put++] = byte;
      }
    }
    if (at !== end || (seen > 0x7f && !isUtf8(to.subarray(space.used, put)))) return null;
    this.#offset = at;
    return space.take(put);
  }

  /** Where the next byte is read, from the payload's beginning. */
  get offset(): number {
    return this.#offset - this.#start;
  }

  #take(length: number): number {
    const at = this.#offset;
    if (length > this.#end - at) {
      this.refuse(`${length} bytes are announced and ${this.#end - at} are left`);
    }
    this.#offset = at + length;
    return at;
  }

  /**
   * UTF-8 text (client_encoding is UTF8 on every connection of ours). The engine would quietly put U+FFFD where
   * bytes are no UTF-8: a value that is not what the source printed. So a text that holds U+FFFD must have brought
   * it along. Looking for it costs nothing in ASCII text, whose strings cannot hold it.
   */
  #text(start: number, end: number): string {
    if (start === end) return '';
    if (end - start <= maxShortText && this.#bytes.length <= maxCutBytes && this.#isAscii(start, end)) {
      this.#latin1 ??= this.#bytes.toString('latin1');
      return this.#latin1.substring(start, end);
    }
    const text = this.#bytes.toString('utf8', start, end);
    if (text.includes('\ufffd') && !Buffer.from(text).equals(this.#bytes.subarray(start, end))) {
      this.refuse('a text is not UTF-8', start - this.#start);
    }
    return text;
  }

  #isAscii(start: number, end: number): boolean {
    const bytes = this.#bytes;
    for (let at = start; at < end; at += 1) if (bytes[at]! > 0x7f) return false;
    return true;
  }
}

/** A byte as a letter where it is one: `'I'`, else `0x1b`. */
export function describeByte(byte: number): string {
  return byte > 0x20 && byte < 0x7f
    ? `'${String.fromCharCode(byte)}'`
    : `0x${byte.toString(16).padStart(2, '0')}`;
}
