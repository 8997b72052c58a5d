/**
 * Most lines of most files, read as bytes: an insert, or an update that leaves the key alone, with cells that a packed
 * row takes (packed-row.ts). Whatever differs from what `encode.ts` writes for one, right or wrong, is not read here.
 */
import { Buffer } from 'node:buffer';
import { standsAt } from './bytes.js';
import type { Lsn } from '../model/lsn.js';
import { readLsnBytes } from '../model/lsn.js';
import type { ChangeMessage } from '../model/message.js';
import {
  packedInsert,
  packedUpdate,
  PackSpace,
  isPackable,
  packNull,
  packedBytesAtMost,
  type PackedRow,
} from '../model/packed-row.js';
import type { Relation } from '../model/relation.js';

const insertHead = '{"action":"I","xid":"';
const updateHead = '{"action":"U","xid":"';
const letterAt = '{"action":"'.length;
const letterI = 0x49;
const letterU = 0x55;

const lsnKey = '","lsn":"';
const relationKey = Buffer.from('","rel":');
const rowKey = Buffer.from(',"row":[');
const keyAndRowKey = Buffer.from(',"key":null,"row":[');
const nullText = Buffer.from('null');

const tab = 0x09;
const quote = 0x22;
const comma = 0x2c;
const zero = 0x30;
const nine = 0x39;
const backslash = 0x5c;
const closingBracket = 0x5d;
const closingBrace = 0x7d;

export class PlainLines {
  readonly #relationOf: (id: number) => Relation | undefined;
  readonly #space = new PackSpace();
  #xid = 0n;
  /** How lines of the transaction begin, up to their position; null before the first transaction. */
  #heads: { readonly insert: Buffer; readonly update: Buffer } | null = null;

  constructor(relationOf: (id: number) => Relation | undefined) {
    this.#relationOf = relationOf;
  }

  /** Lines of this transaction are read from here on. */
  begin(xid: bigint, text: string): void {
    this.#xid = xid;
    this.#heads = {
      insert: Buffer.from(insertHead + text + lsnKey),
      update: Buffer.from(updateHead + text + lsnKey),
    };
  }

  /** The message of the line from `start` to `end`; null where it is another line than those. */
  read(buffer: Buffer, start: number, end: number): ChangeMessage | null {
    if (this.#heads === null) return null;
    const letter = buffer[start + letterAt];
    if (letter !== letterI && letter !== letterU) return null;
    const isInsert = letter === letterI;
    const lsnAt = behind(buffer, start, end, isInsert ? this.#heads.insert : this.#heads.update);
    if (lsnAt < 0) return null;
    const lsnEnd = buffer.indexOf(quote, lsnAt);
    const idAt = lsnEnd < 0 ? -1 : behind(buffer, lsnEnd, end, relationKey);
    if (idAt < 0) return null;
    const lsn: Lsn | null = readLsnBytes(buffer, lsnAt, lsnEnd);
    let at = idAt;
    let id = 0;
    for (; at < end && buffer[at]! >= zero && buffer[at]! <= nine; at += 1) id = id * 10 + buffer[at]! - zero;
    // Numbers are written without leading zeros, and are not that long.
    const isNumber = at > idAt && at - idAt <= 9 && (buffer[idAt] !== zero || at === idAt + 1);
    const relation = isNumber ? this.#relationOf(id) : undefined;
    const rowAt = behind(buffer, at, end, isInsert ? rowKey : keyAndRowKey);
    if (lsn === null || relation === undefined || rowAt < 0 || end - rowAt > packedBytesAtMost) return null;
    const packed = this.#pack(buffer, rowAt, end, relation.columns.length);
    if (packed === null) return null;
    const change = isInsert ? packedInsert(relation, packed) : packedUpdate(relation, packed);
    return { kind: 'change', xid: this.#xid, lsn, change };
  }

  /** The row whose cells begin at `start`, with the end of its line behind it. */
  #pack(buffer: Buffer, start: number, end: number, columns: number): PackedRow | null {
    if (columns === 0) return null;
    this.#space.reserve(end - start);
    const to = this.#space.bytes;
    let put = this.#space.used;
    let at = start;
    for (let column = 0; column < columns; column += 1) {
      if (column > 0) {
        if (buffer[at++] !== comma) return null;
        to[put++] = tab;
      }
      if (buffer[at] !== quote) {
        at = behind(buffer, at, end, nullText);
        if (at < 0) return null;
        put = packNull(to, put);
        continue;
      }
      at += 1;
      for (;;) {
        if (at >= end) return null;
        let byte = buffer[at++]!;
        if (byte === quote) break;
        // Of all escapes only that of a quote stands for one that is packed.
        if (byte === backslash && buffer[at] === quote) byte = buffer[at++]!;
        else if (!isPackable(byte)) return null;
        to[put++] = byte;
      }
    }
    if (at + 2 !== end || buffer[at] !== closingBracket || buffer[at + 1] !== closingBrace) return null;
    return this.#space.take(put);
  }
}

/** The place behind a text that stands at `at`, before `end`; -1 when it does not. */
function behind(buffer: Buffer, at: number, end: number, text: Buffer): number {
  const next = at + text.length;
  return next <= end && standsAt(buffer, at, text) ? next : -1;
}
