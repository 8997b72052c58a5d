/**
 * When to let a socket rest. A walsender sends every change by itself and wakes a fast reader each time: 118,000 reads
 * for 24 MB. A rest lets the kernel gather, and both sides do a quarter of the work. But a rest also delays a commit
 * that is already on its way, so a stream with little to say is never paused: small reads draw on a budget that time
 * refills, and only who has spent it rests. What comes in a flood rests longer, since everything behind a read (a write
 * to the journal, a look at what to apply) is done once for it, however much it brings.
 */

/** A read of this size says that the kernel had gathered already. */
const smallReadBytes = 64 * 1024;

/** Small reads in a row that cost no rest: a few transactions, each in a handful of reads. */
const budgetReads = 24;

/** Small reads that a millisecond allows in the long run. */
const readsPerMs = 2;

/** A flood: a small read that brings so much after a rest. */
const floodBytes = 8 * 1024;

/** How long rests are, in milliseconds. One is the shortest that timers know. */
const shortRestMs = 1;
const floodRestMs = 4;

/** Decides after every read. */
export class ReadPacing {
  #budget = budgetReads;
  #lastMs: number;

  constructor(nowMs: number) {
    this.#lastMs = nowMs;
  }

  /** For how many milliseconds to rest after a read of so many bytes; `nowMs` may be of any clock that does not go back. */
  restAfter(bytes: number, nowMs: number): number {
    this.#budget = Math.min(budgetReads, this.#budget + (nowMs - this.#lastMs) * readsPerMs);
    this.#lastMs = nowMs;
    if (bytes >= smallReadBytes) return 0;
    this.#budget -= 1;
    if (this.#budget >= 0) return 0;
    const restMs = bytes >= floodBytes ? floodRestMs : shortRestMs;
    // What a rest itself refills must not end it at once: the budget stays spent while the flow goes on.
    this.#budget = -restMs * readsPerMs;
    return restMs;
  }
}
