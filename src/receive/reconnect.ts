/**
 * Whether and when a lost source is tried again. The clock starts with the loss and is set back by everything that
 * arrives, so that a source which only accepts connections is given up as well.
 */
import type { Failure } from '../failure.js';
import { nextPauseMs } from '../model/back-off.js';

export type ReconnectOptions = {
  /** How long a lost source is tried again, in milliseconds. */
  readonly forMs: number;
  /** How long a slot that somebody else reads from is tried at the very start. */
  readonly busyAtStartMs: number;
};

const pauses = { shortestMs: 100, longestMs: 5000 };

export class Reconnect {
  readonly #options: ReconnectOptions;
  readonly #random: () => number;
  #lostSinceMs: number | null = null;
  #everRead = false;
  #pauseMs = pauses.shortestMs;

  constructor(options: ReconnectOptions, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
  }

  /** Something has arrived. */
  arrived(): void {
    this.#everRead = true;
    this.#lostSinceMs = null;
    this.#pauseMs = pauses.shortestMs;
  }

  /** How long to wait before the next attempt; null when this failure is to be told. */
  pauseAfter(failure: Failure, nowMs: number): number | null {
    this.#lostSinceMs ??= nowMs;
    if (!mayPass(failure)) return null;
    // Our own reader, lost without a word, holds the slot until the source notices. Before the first read it is not ours.
    const limit =
      failure.code === 'slot-busy' && !this.#everRead
        ? Math.min(this.#options.forMs, this.#options.busyAtStartMs)
        : this.#options.forMs;
    const left = this.#lostSinceMs + limit - nowMs;
    if (left <= 0) return null;
    this.#pauseMs = nextPauseMs(this.#pauseMs, pauses, this.#random());
    return Math.min(this.#pauseMs, left);
  }
}

function mayPass(failure: Failure): boolean {
  return (
    failure.code === 'source-disconnected' ||
    failure.code === 'source-unreachable' ||
    failure.code === 'slot-busy'
  );
}
