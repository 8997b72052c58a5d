/**
 * Makes the journal durable beside the writing: one fsync at a time, no two of them closer than an interval, and one
 * more whenever something was written since the last began. Level with the source that is one after each transaction;
 * under load each covers all that came while the disk was busy.
 */
import { asFailure, type Failure } from '../failure.js';

export type GroupedSyncOptions = {
  readonly sync: () => Promise<void>;
  /** After each fsync that held. */
  readonly onSynced: () => void;
  /** Milliseconds from one fsync's begin to the next. */
  readonly intervalMs: number;
};

export class GroupedSync {
  readonly #options: GroupedSyncOptions;
  #running: Promise<void> | null = null;
  #again = false;
  #lastMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #failure: Failure | null = null;

  constructor(options: GroupedSyncOptions) {
    this.#options = options;
  }

  /** There is something to be synced. Returns at once; throws when an earlier fsync failed. */
  request(): void {
    this.check();
    if (this.#running !== null) {
      this.#again = true;
      return;
    }
    if (this.#timer !== null) return;
    const wait = this.#lastMs + this.#options.intervalMs - performance.now();
    if (wait <= 0) this.#begin();
    else this.#timer = setTimeout(() => this.#begin(), wait);
  }

  /** Throws the failure of an fsync: after it nothing may be written or acknowledged. */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Syncs everything that is written now, and resolves when it is on disk. */
  async finish(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#again = false;
    await this.#running;
    this.check();
    this.#begin();
    await this.#running;
    this.check();
  }

  /** Waits for what is on its way, and begins nothing more. Never throws. */
  async abandon(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#again = false;
    await this.#running;
  }

  #begin(): void {
    this.#timer = null;
    this.#lastMs = performance.now();
    this.#running = this.#sync();
  }

  async #sync(): Promise<void> {
    try {
      await this.#options.sync();
      this.#options.onSynced();
    } catch (error) {
      this.#failure = asFailure(error);
    } finally {
      this.#running = null;
    }
    if (this.#again && this.#failure === null) {
      this.#again = false;
      this.request();
    }
  }
}
