/**
 * Failures of work that goes on side by side: the first one stops the rest with --fail-fast; otherwise everything
 * else is finished, and then all of them are told together.
 */
import { setMaxListeners } from 'node:events';
import { asFailure, Failure, throwIfStopped } from '../failure.js';
import type { Log } from '../log.js';

export class Failures {
  readonly #failures: Failure[] = [];
  readonly #ownStop = new AbortController();
  readonly #failFast: boolean;
  readonly #log: Log;
  readonly #outer: AbortSignal | undefined;
  /** Set when somebody asked to stop, or when the first failure ends everything. */
  readonly signal: AbortSignal;

  constructor(options: { failFast: boolean; log: Log; signal: AbortSignal | undefined }) {
    this.#failFast = options.failFast;
    this.#log = options.log;
    this.#outer = options.signal;
    this.signal =
      options.signal === undefined
        ? this.#ownStop.signal
        : AbortSignal.any([options.signal, this.#ownStop.signal]);
    // Every worker's session and every COPY listens: their number is that of the jobs, no leak.
    setMaxListeners(0, this.signal);
  }

  /** Takes note of what a piece of work threw. What fails because everything stops is no failure of its own. */
  add(thrown: unknown): void {
    if (this.signal.aborted) return;
    const failure = asFailure(thrown);
    this.#failures.push(failure);
    this.#log.error(failure.message);
    if (this.#failFast) this.#ownStop.abort();
  }

  /** Whether anything has failed so far. */
  get any(): boolean {
    return this.#failures.length > 0;
  }

  /** Throws `stopped` when asked to stop, otherwise what was noted, as one Failure. */
  throwIfAny(): void {
    throwIfStopped(this.#outer);
    const [first, ...others] = this.#failures;
    if (first === undefined) return;
    if (others.length === 0) throw first;
    const lost = this.#failures.find((failure) => failure.code === 'snapshot-lost') ?? first;
    const list = this.#failures.map((failure) => `\n  ${failure.message}`).join('');
    throw new Failure(lost.code, `${this.#failures.length} pieces of work failed:${list}`, {
      cause: lost,
      remedy: lost.remedy,
    });
  }
}
