import { Failure, throwIfStopped } from '../failure.js';

/** A transaction may go on this long after a stop was asked for; with what follows, a stop takes two seconds. */
const graceMs = 1500;

/**
 * What a stop means for the applier: it goes on to the end of the transaction that is under way, but not for long.
 * After the grace the source's wait is ended and `onOver` cuts off the target.
 */
export class StopClock {
  readonly #signal: AbortSignal;
  readonly #source = new AbortController();
  readonly #onOver: () => void;
  readonly #onAbort = () => this.#begin();
  #timer: NodeJS.Timeout | null = null;
  #over = false;
  /** Called when a stop is asked for: for a loop that waits. */
  onStopping: (() => void) | null = null;

  constructor(signal: AbortSignal, onOver: () => void) {
    this.#signal = signal;
    this.#onOver = onOver;
    if (signal.aborted) this.#begin();
    else signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** For the source's wait: set when there is no more time, or when the reading is over. */
  get sourceSignal(): AbortSignal {
    return this.#source.signal;
  }

  get stopping(): boolean {
    return this.#signal.aborted;
  }

  /** Throws `stopped` as soon as a stop is asked for: where no transaction is open. */
  throwIfStopping(): void {
    throwIfStopped(this.#signal);
  }

  /** Throws `stopped` when the grace is over. */
  throwIfOver(): void {
    if (this.#over) throwIfStopped(this.#signal);
  }

  /** Waits; throws `stopped` when a stop is asked for meanwhile. */
  async sleep(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, milliseconds);
      const signal = this.#signal;
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      }
      signal.addEventListener('abort', done, { once: true });
    });
    this.throwIfStopping();
  }

  /** Nothing is waited for any more. */
  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#source.abort(new Failure('stopped', 'the applier has ended'));
  }

  #begin(): void {
    this.#timer = setTimeout(() => {
      this.#over = true;
      this.#source.abort(new Failure('stopped', 'stopped as asked'));
      this.#onOver();
    }, graceMs);
    this.onStopping?.();
  }
}
