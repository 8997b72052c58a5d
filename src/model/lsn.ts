/**
 * LSN: a position in the source's write-ahead log, 64 bits, printed `X/Y` in hexadecimal.
 * Only this file parses, prints and derives positions; everywhere else an `Lsn` is opaque but comparable
 * with `<`, `>` and `===`, as bigints are.
 * https://www.postgresql.org/docs/current/datatype-pg-lsn.html
 */

declare const lsnBrand: unique symbol;

/** A WAL position. Compare with the ordinary operators; print with {@link formatLsn}. */
export type Lsn = bigint & { readonly [lsnBrand]: true };

const maxLsnValue = 0xffff_ffff_ffff_ffffn;

/** `0/0`: no position. The sentinel uses it for an end position that is not set. */
export const zeroLsn = 0n as Lsn;

/** Makes an Lsn of a 64-bit number read from the wire. Throws a RangeError outside of 64 bits. */
export function lsnFromBigInt(value: bigint): Lsn {
  if (value < 0n || value > maxLsnValue) throw new RangeError(`LSN out of range: ${value}`);
  return value as Lsn;
}

// Two 32-bit halves seen as one 64-bit number: one allocation where shifting bigints would make four.
const wide = new BigUint64Array(1);
const halves = new Uint32Array(wide.buffer);
const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
const [low, high] = littleEndian ? [0, 1] : [1, 0];

/** Reads `X/Y`; null when the text is not an LSN. */
export function parseLsn(text: string): Lsn | null {
  const slash = text.indexOf('/');
  const first = parseHex(text, 0, slash);
  const second = parseHex(text, slash + 1, text.length);
  if (first < 0 || second < 0) return null;
  halves[high] = first;
  halves[low] = second;
  return wide[0] as Lsn;
}

/** As `parseLsn`, of the text in `bytes` from `start` to `end`. */
export function readLsnBytes(bytes: Uint8Array, start: number, end: number): Lsn | null {
  const slash = bytes.indexOf(0x2f, start);
  const first = parseHexBytes(bytes, start, slash);
  const second = parseHexBytes(bytes, slash + 1, end);
  if (first < 0 || second < 0) return null;
  halves[high] = first;
  halves[low] = second;
  return wide[0] as Lsn;
}

function parseHexBytes(bytes: Uint8Array, start: number, end: number): number {
  if (end <= start || end > start + 8) return -1;
  let value = 0;
  for (let at = start; at < end; at += 1) {
    const digit = hexDigit(bytes[at]!);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/** The number that one to eight hexadecimal digits say; -1 for anything else. */
function parseHex(text: string, start: number, end: number): number {
  if (end <= start || end > start + 8) return -1;
  let value = 0;
  for (let at = start; at < end; at += 1) {
    const digit = hexDigit(text.charCodeAt(at));
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = (code | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}

/** Reads an LSN that a server or one of our own files printed. Throws a RangeError when it is none. */
export function readLsn(text: string): Lsn {
  const lsn = parseLsn(text);
  if (lsn === null) throw new RangeError(`not an LSN: ${JSON.stringify(text)}`);
  return lsn;
}

/** Three hexadecimal digits of each number below 4096: as they are, and with leading zeros. */
const digits = Array.from({ length: 0x1000 }, (_, number) => number.toString(16).toUpperCase());
const padded = digits.map((text) => text.padStart(3, '0'));

/** Prints an LSN the way Postgres does: upper-case hexadecimal without leading zeros. */
export function formatLsn(lsn: Lsn): string {
  wide[0] = lsn;
  return `${formatHex(halves[high] as number)}/${formatHex(halves[low] as number)}`;
}

/** Writes an LSN, as `formatLsn` prints it, into a buffer that has room for 17 bytes at `at`. Returns the place behind. */
export function writeLsn(buffer: Uint8Array, at: number, lsn: Lsn): number {
  wide[0] = lsn;
  let end = writeHex(buffer, at, halves[high] as number);
  buffer[end++] = 0x2f;
  end = writeHex(buffer, end, halves[low] as number);
  return end;
}

function writeHex(buffer: Uint8Array, at: number, value: number): number {
  let end = at;
  for (let shift = value === 0 ? 0 : (31 - Math.clz32(value)) & ~3; shift >= 0; shift -= 4) {
    const digit = (value >>> shift) & 0xf;
    buffer[end++] = digit < 10 ? 0x30 + digit : 0x37 + digit;
  }
  return end;
}

function formatHex(value: number): string {
  const [first, second, third] = [value >>> 24, (value >>> 12) & 0xfff, value & 0xfff];
  if (first > 0) return digits[first]! + padded[second]! + padded[third]!;
  return second > 0 ? digits[second]! + padded[third]! : digits[third]!;
}

/** The later of two positions. */
export function laterLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}

/** The earlier of two positions. */
export function earlierLsn(a: Lsn, b: Lsn): Lsn {
  return a < b ? a : b;
}

/**
 * The name Postgres gives to the WAL segment that holds a position: timeline, log and segment as
 * 24 upper-case hexadecimal digits (XLogFileName).
 */
export function walSegmentName(timeline: number, lsn: Lsn, segmentBytes: bigint): string {
  const segment = lsn / segmentBytes;
  const segmentsPerLog = 0x1_0000_0000n / segmentBytes;
  const digits = (value: bigint | number) => value.toString(16).toUpperCase().padStart(8, '0');
  return digits(timeline) + digits(segment / segmentsPerLog) + digits(segment % segmentsPerLog);
}
