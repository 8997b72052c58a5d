/**
 * The clock of the pause: from the freeze on, everything has to be done within --max-pause. What the cutover is waiting
 * for at that moment stands in the failure.
 */
import { Failure, throwIfStopped } from '../failure.js';

export class Pause {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  #timer: NodeJS.Timeout | null = null;
  /** What is being waited for, for the message. */
  waitingFor = '';
  /** Set when somebody asked to stop, or when the pause is over. */
  readonly signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#outer = signal;
    this.signal = AbortSignal.any([signal, this.#controller.signal]);
  }

  begin(maxPauseMs: number): void {
    this.#timer ??= setTimeout(() => {
      const what = this.waitingFor === '' ? '' : `, while ${this.waitingFor}`;
      this.#controller.abort(
        new Failure('cutover-failed', `--max-pause (${maxPauseMs / 1000} s) is over${what}`, {
          remedy: 'Cut over again at a quieter moment, or with a longer --max-pause.',
        }),
      );
    }, maxPauseMs);
  }

  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /**
   * The failure behind an error: whoever was interrupted says only that, or what its connection died of. What was found
   * out (a difference, a late write) is told whatever the clock says meanwhile.
   */
  causeOf(error: unknown): unknown {
    const finding = error instanceof Failure && ['sides-differ', 'cutover-failed'].includes(error.code);
    return this.signal.aborted && !finding ? this.signal.reason : error;
  }

  /** Waits a moment; throws as soon as the signal is set. */
  async wait(ms: number): Promise<void> {
    this.throwIfOver();
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.signal.addEventListener('abort', done, { once: true });
    });
    this.throwIfOver();
  }

  throwIfOver(): void {
    if (this.#controller.signal.aborted) throw this.#controller.signal.reason;
    throwIfStopped(this.#outer);
  }
}
