import type { StreamMessage } from './message.js';

/** Where the applier takes messages from: the journal, in its order. */
export interface MessageSource {
  /**
   * The next batch; waits for one. Null when the source has ended: it was closed, or was opened to read only what
   * is on disk. Rejects with `stopped` when the signal is set while it waits, `journal-damaged` on a bad file.
   */
  next(signal: AbortSignal): Promise<readonly StreamMessage[] | null>;
  /** Whether `next` would have to wait now: the applier is level with the writer. */
  readonly level: boolean;
}
