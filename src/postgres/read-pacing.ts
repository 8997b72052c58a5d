/**
 * When to let a socket rest. A walsender sends every change by itself and wakes a fast reader each time: 118,000 reads
 * for 24 MB. A rest of a millisecond lets the kernel gather, and both sides do a quarter of the work. But a rest
 * also delays a commit that is already on its way, so a stream with little to say is never paused: small reads draw on
 * a budget that time refills, and only who has spent it rests.
 */

/** A read of this size says that the kernel had gathered already. */
const smallReadBytes = 32 * 1024;

/** Small reads in a row that cost no rest: a few transactions, each in a handful of reads. */
const budgetReads = 24;

/** Small reads that a millisecond allows in the long run. */
const readsPerMs = 2;

/** How long a rest is, in milliseconds: the shortest that timers know. */
export const restMs = 1;

/** Decides after every read. */
export class ReadPacing {
  #budget = budgetReads;
  #lastMs: number;

  constructor(nowMs: number) {
    this.#lastMs = nowMs;
  }

  /** Whether to rest after a read of so many bytes; `nowMs` may be of any clock that does not go back. */
  restAfter(bytes: number, nowMs: number): boolean {
    this.#budget = Math.min(budgetReads, this.#budget + (nowMs - this.#lastMs) * readsPerMs);
    this.#lastMs = nowMs;
    if (bytes >= smallReadBytes) return false;
    this.#budget -= 1;
    if (this.#budget >= 0) return false;
    // What a rest itself refills must not end it at once: the budget stays spent while the flow goes on.
    this.#budget = -restMs * readsPerMs;
    return true;
  }
}
