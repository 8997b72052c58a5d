/**
 * Arrays of text as the server's binary wire format has them: one dimension, element type text. Nothing is quoted or
 * escaped, so that any value travels as it is.
 * `array_recv` in src/backend/utils/adt/arrayfuncs.c is the reader's side.
 */

import { isPackedNull, type PackedCells } from '../model/packed-row.js';

/** One column of packed rows. */
export type CellColumn = { readonly cells: PackedCells; readonly at: number };

/** What an array is made of. */
export type TextArray = readonly (string | null)[] | CellColumn;

/** `text` and `text[]`: the only types that parameters of ours are declared with. */
export const textOid = 25;
export const textArrayOid = 1009;

/** Dimensions, null flag, element type; then length and lower bound of the one dimension. */
const headerBytes = 12;
const dimensionBytes = 8;

/** An upper bound of what `writeTextArray` writes, exact where a cheap estimate would waste memory. */
export function textArrayBytesAtMost(values: TextArray): number {
  let bytes = headerBytes + dimensionBytes;
  if (isColumn(values)) return bytes + 4 * values.cells.rows.length + values.cells.bytes(values.at);
  for (const value of values) bytes += 4 + (value === null ? 0 : utf8BytesAtMost(value));
  return bytes;
}

/** Writes the array at `offset`; returns the offset behind it. */
export function writeTextArray(buffer: Buffer, offset: number, values: TextArray): number {
  const length = isColumn(values) ? values.cells.rows.length : values.length;
  let at = offset;
  at = buffer.writeInt32BE(length === 0 ? 0 : 1, at);
  const nullFlagAt = at;
  at = buffer.writeInt32BE(0, at);
  at = buffer.writeInt32BE(textOid, at);
  // An array without elements has no dimensions.
  if (length === 0) return at;
  at = buffer.writeInt32BE(length, at);
  at = buffer.writeInt32BE(1, at);
  return isColumn(values)
    ? writeColumn(buffer, at, values, nullFlagAt)
    : writeTexts(buffer, at, values, nullFlagAt);
}

function isColumn(values: TextArray): values is CellColumn {
  return 'cells' in values;
}

function writeTexts(
  buffer: Buffer,
  offset: number,
  values: readonly (string | null)[],
  nullFlagAt: number,
): number {
  let at = offset;
  for (const value of values) {
    if (value === null) {
      buffer.writeInt32BE(1, nullFlagAt);
      at = buffer.writeInt32BE(-1, at);
    } else {
      const bytes = writeUtf8(buffer, at + 4, value);
      buffer.writeInt32BE(bytes, at);
      at += 4 + bytes;
    }
  }
  return at;
}

/** Packed cells are UTF-8 without anything escaped: they are copied. */
function writeColumn(
  buffer: Buffer,
  offset: number,
  { cells, at: column }: CellColumn,
  nullFlagAt: number,
): number {
  const { rows } = cells;
  let at = offset;
  for (let row = 0; row < rows.length; row += 1) {
    const { bytes } = rows[row]!;
    const start = cells.start(row, column);
    const end = cells.end(row, column);
    if (isPackedNull(bytes, start, end)) {
      buffer.writeInt32BE(1, nullFlagAt);
      at = buffer.writeInt32BE(-1, at);
      continue;
    }
    at = buffer.writeInt32BE(end - start, at);
    if (end - start > longCell) {
      at += bytes.copy(buffer, at, start, end);
    } else {
      for (let from = start; from < end; from += 1) buffer[at++] = bytes[from]!;
    }
  }
  return at;
}

/** From this length on the engine copies a cell; a call into it costs more than a few bytes. */
const longCell = 128;

/** Up to this length ASCII is written here: a call into the engine costs more than a few characters. */
const shortText = 32;

/** Writes a text at `offset`; returns how many bytes it took. */
function writeUtf8(buffer: Buffer, offset: number, text: string): number {
  const { length } = text;
  if (length > shortText) return buffer.write(text, offset, 'utf8');
  for (let at = 0; at < length; at += 1) {
    const code = text.charCodeAt(at);
    if (code > 0x7f) return buffer.write(text, offset, 'utf8');
    buffer[offset + at] = code;
  }
  return length;
}

/** Below this many characters three bytes each are reserved; above it the bytes are counted first. */
const countedFrom = 4096;

/** How many bytes a string needs at most in UTF-8. */
export function utf8BytesAtMost(text: string): number {
  return text.length < countedFrom ? text.length * 3 : Buffer.byteLength(text, 'utf8');
}
