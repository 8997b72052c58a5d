/**
 * What follows from how things were over the last minutes: rates, and when something will be done. Pure.
 */

/** A quantity at a moment. */
export type Reading = { readonly atMs: number; readonly value: number };

/** Rates are those of the last half minute: long enough to be calm, short enough to be of now. */
export const rateWindowMs = 30_000;

/** A trend is judged over two minutes, and not before there are fifteen seconds of it. */
export const trendWindowMs = 120_000;
const shortestTrendMs = 15_000;

/** Units a second over the last `windowMs` before the newest reading; null with fewer than two of them. */
export function ratePerSecond(readings: readonly Reading[], windowMs: number): number | null {
  const last = readings.at(-1);
  if (last === undefined) return null;
  const first = readings.find(({ atMs }) => atMs >= last.atMs - windowMs);
  if (first === undefined || first.atMs >= last.atMs) return null;
  return ((last.value - first.value) * 1000) / (last.atMs - first.atMs);
}

/** How a backlog goes. */
export type CatchUp =
  /** Nothing to speak of is left. */
  | { readonly kind: 'level' }
  /** It shrinks, and is gone after so long at this pace. */
  | { readonly kind: 'shrinking'; readonly secondsLeft: number }
  /** It does not shrink: at this pace the target never becomes level. */
  | { readonly kind: 'growing'; readonly bytesPerSecond: number }
  /** Too short a time to say. */
  | { readonly kind: 'unknown' };

/** As good as level: what arrives in a moment, or is two seconds old. */
const levelBytes = 1024 * 1024;
const levelMs = 2000;

/** Later than this is never, for somebody who waits for it. */
const neverSeconds = 7 * 86_400;

/**
 * Judges a backlog in bytes by its readings, the oldest first.
 *   1 small and young: level
 *   2 watched for less than a quarter of a minute: unknown
 *   3 smaller than at the beginning of the window, and gone within a week: shrinking
 *   4 else: it does not converge
 */
export function judgeBacklog(readings: readonly Reading[], lagMs: number | null): CatchUp {
  const last = readings.at(-1);
  if (last === undefined) return { kind: 'unknown' };
  if (last.value < levelBytes && (lagMs ?? 0) < levelMs) return { kind: 'level' }; // 1
  const first = readings.find(({ atMs }) => atMs >= last.atMs - trendWindowMs);
  if (first === undefined || last.atMs - first.atMs < shortestTrendMs) return { kind: 'unknown' }; // 2
  const perSecond = ((last.value - first.value) * 1000) / (last.atMs - first.atMs);
  const secondsLeft = perSecond < 0 ? last.value / -perSecond : Infinity;
  if (secondsLeft < neverSeconds) return { kind: 'shrinking', secondsLeft }; // 3
  return { kind: 'growing', bytesPerSecond: Math.max(0, perSecond) }; // 4
}

/** What is known of a copy. Sizes are on the source's disk, copied bytes on the wire. */
export type CopyFacts = {
  readonly size: number;
  readonly copiedBytes: number;
  readonly finishedCopied: number;
  readonly finishedSize: number;
};

/** Before so much is finished, a table on disk is taken to be as large as on the wire. */
const enoughFinished = 0.02;

/**
 * Bytes that all rows will be on the wire. Indexes are not in a table's size, but page headers, dead rows and
 * compressed values are: how alike the two are is seen from the tables that are finished.
 */
export function expectedBytes({ size, copiedBytes, finishedCopied, finishedSize }: CopyFacts): number {
  const known = finishedSize > 0 && finishedSize >= size * enoughFinished;
  const expected = known ? finishedCopied + (size - finishedSize) * (finishedCopied / finishedSize) : size;
  return Math.max(copiedBytes, Math.round(expected));
}

/** Seconds until the rest is there at this pace; null while nothing moves. */
export function secondsFor(bytesLeft: number, bytesPerSecond: number | null): number | null {
  if (bytesLeft <= 0) return 0;
  return bytesPerSecond === null || bytesPerSecond <= 0 ? null : bytesLeft / bytesPerSecond;
}
