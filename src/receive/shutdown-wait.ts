/**
 * A source that shuts down waits until its reader has flushed everything, and asks again and again. With `applied` that
 * may never be (the applier is off, or the target is away): then the reader leaves, so that the source can stop.
 * A running source does not ask a reader that reports every second.
 */
import type { Lsn } from '../model/lsn.js';
import type { StreamFrame } from '../postgres/feedback.js';
import type { AcknowledgeMode } from './acknowledge.js';

/** How long a quiet source may ask in vain. */
const patienceMs = 2000;

export class ShutdownWait {
  readonly #mode: AcknowledgeMode;
  #askingSinceMs: number | null = null;
  #flushedThen: Lsn | null = null;

  constructor(mode: AcknowledgeMode) {
    this.#mode = mode;
  }

  /** Whether to leave after this batch; `flushed` is what is acknowledged now. */
  mustLeave(batch: { readonly frames: readonly StreamFrame[] }, flushed: Lsn, nowMs: number): boolean {
    if (this.#mode === 'durable' || batch.frames.length === 0) return false;
    const last = batch.frames.at(-1);
    const asksInVain =
      last?.kind === 'keepalive' &&
      last.replyRequested &&
      last.lsn > flushed &&
      batch.frames.every((frame) => frame.kind === 'keepalive');
    if (!asksInVain || flushed !== this.#flushedThen) {
      this.#askingSinceMs = asksInVain ? nowMs : null;
      this.#flushedThen = flushed;
      return false;
    }
    this.#askingSinceMs ??= nowMs;
    return nowMs - this.#askingSinceMs >= patienceMs;
  }
}
