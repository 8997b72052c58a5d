/**
 * How far a position is behind in time. Pure.
 *
 * A position's lag is the age of the oldest commit behind it: how long the application has been waiting to see that
 * commit there. The time of the last commit *before* the position would not do: after an hour without writes the first
 * new commit would be reported as an hour of lag.
 */
import type { Lsn } from './lsn.js';

/** A position and the time at which the source was there: milliseconds since 1970, by the source's clock. */
export type Moment = { readonly lsn: Lsn; readonly atMs: number };

/** Above this every second one is dropped: the lag of a long backlog does not need every commit. */
const maxMoments = 4096;

/** The commits that a position may still be behind, in their order. */
export class CommitClock {
  #moments: Moment[] = [];

  /** A commit ended here at this time. Positions that are known already, and earlier ones, are left out. */
  note(moment: Moment): void {
    const last = this.#moments.at(-1);
    if (last !== undefined && moment.lsn <= last.lsn) return;
    this.#moments.push(moment);
    // The first one is the one that counts most.
    if (this.#moments.length > maxMoments) this.#moments = this.#moments.filter((_, nth) => nth % 2 === 0);
  }

  /** The first known commit that ends behind this position. */
  firstBehind(position: Lsn): Moment | null {
    let low = 0;
    let high = this.#moments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#moments[middle] as Moment).lsn > position) high = middle;
      else low = middle + 1;
    }
    return this.#moments[low] ?? null;
  }

  /** Nobody will ask for positions before this one any more. */
  forget(position: Lsn): void {
    const first = this.#moments.findIndex(({ lsn }) => lsn > position);
    if (first === -1) this.#moments = [];
    else if (first > 0) this.#moments.splice(0, first);
  }
}

/** What is known about one position. Times are the source's, in milliseconds since 1970. */
export type LagFacts = {
  readonly position: Lsn;
  /** Where the source is known to be; and when it was last heard of. */
  readonly source: Lsn;
  readonly sourceHeardAtMs: number;
  /** When the first commit behind the position was made; null when none is known. */
  readonly firstBehindAtMs: number | null;
  /** When the position was last seen level with the source; null when it never was. */
  readonly levelAtMs: number | null;
  /** When the last commit up to the position was made; null when none is known. */
  readonly passedAtMs: number | null;
  readonly nowMs: number;
};

/** A source that is asked every few seconds and was not heard for this long may have moved without us. */
export const quietSourceMs = 15_000;

/**
 * Milliseconds that a position is behind; null when nothing is known to reckon it from.
 *   1 level with the source as it was just now: 0
 *   2 level with the source as it was some time ago, and not heard of since (the connection is lost): since then
 *   3 behind a commit whose time is known: since that commit
 *   4 behind, and no commit behind it has arrived yet: since it was last level, or since the last commit that is there,
 *     whichever is later. A run that goes on after hours was never seen level, and is not level with its own start.
 */
export function lagMs(facts: LagFacts): number | null {
  const since = (atMs: number) => Math.max(0, facts.nowMs - atMs);
  if (facts.position >= facts.source) {
    const silent = since(facts.sourceHeardAtMs);
    return silent <= quietSourceMs ? 0 : silent; // 1, 2
  }
  if (facts.firstBehindAtMs !== null) return since(facts.firstBehindAtMs); // 3
  const there = [facts.levelAtMs, facts.passedAtMs].filter((atMs) => atMs !== null);
  return there.length === 0 ? null : since(Math.max(...there)); // 4
}
