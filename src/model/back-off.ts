/**
 * Pauses between attempts at a server that is away: decorrelated jitter. Each pause lies anywhere between the shortest
 * and three times the one before, so that many who lost the same server in the same moment do not come back together,
 * and it is asked less and less often. Pure.
 */

export type PauseBounds = { readonly shortestMs: number; readonly longestMs: number };

/** The pause after one of `previousMs` (the shortest at first). `random` is of [0, 1). */
export function nextPauseMs(previousMs: number, bounds: PauseBounds, random: number): number {
  const { shortestMs, longestMs } = bounds;
  return Math.min(longestMs, shortestMs + random * (previousMs * 3 - shortestMs));
}
