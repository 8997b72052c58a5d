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

const lsnPattern = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})$/i;

/** Reads `X/Y`; null when the text is not an LSN. */
export function parseLsn(text: string): Lsn | null {
  const match = lsnPattern.exec(text);
  if (match === null) return null;
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}

/** Reads an LSN that a server or one of our own files printed. Throws a RangeError when it is none. */
export function readLsn(text: string): Lsn {
  const lsn = parseLsn(text);
  if (lsn === null) throw new RangeError(`not an LSN: ${JSON.stringify(text)}`);
  return lsn;
}

/** Prints an LSN the way Postgres does: upper-case hexadecimal without leading zeros. */
export function formatLsn(lsn: Lsn): string {
  const high = lsn >> 32n;
  const low = lsn & 0xffff_ffffn;
  return `${high.toString(16).toUpperCase()}/${low.toString(16).toUpperCase()}`;
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
