/**
 * From one connection's frames to the messages of the journal: decoded, widened, checked; keepalives in their order;
 * the end position seen. No input or output of its own, so every case is a table test.
 *
 * The end position E is reached (nothing at or before it can still come) with the first of:
 *   1. a commit whose end is at or past E: it is taken, and the verdict of the applier tells whether it is needed;
 *   2. a begin whose commit record starts at or past E: its end lies behind E, so it is not taken. Commits come in their
 *      order, so it says what a keepalive at the start of that record would say, and that is what is kept of it:
 *      the journal then shows that E was reached, and a run that is repeated has nothing to do;
 *   3. a keepalive at or past E: every commit that ended before it has arrived. A transaction that is open then ends
 *      behind it.
 *
 * Of keepalives only those are kept that tell something new. A busy cluster whose other databases write sends hundreds
 * a second; one that nothing follows is held back and kept at most once an interval, unless the server waits for an
 * answer (it shuts down) or the end position waits for it.
 *
 * A decoder may need to know the source's tables as they are by now: then the rest of the batch is handed back, to be
 * read after `describe`.
 */
import type { Keepalive, PluginMessage, StreamMessage } from '../model/message.js';
import { laterLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import { tablesStale, type Decoder } from '../model/plugin.js';
import type { SourceTables } from '../model/source-table.js';
import type { KeepaliveFrame, StreamFrame, XLogData } from '../postgres/feedback.js';
import { CommitOrder } from './commit-order.js';
import { XidWidener } from './widen-xid.js';

export type StreamReaderOptions = {
  readonly decoder: Decoder;
  /** Where the connection was asked to start. */
  readonly startLsn: Lsn;
  /** The server's next xid at connect time, 64 bits. */
  readonly nextXid: bigint;
  /** A lone keepalive is kept when the last one was this long ago, in milliseconds. */
  readonly keepaliveIntervalMs: number;
};

/** What became of a batch. */
export type ReadBatch = {
  readonly messages: StreamMessage[];
  /** Whether the end position was reached; frames behind that point were not looked at. */
  readonly reached: boolean;
  /** What is to be read again after `describe`; empty unless the decoder asked for it. */
  readonly unread: readonly StreamFrame[];
};

export class StreamReader {
  readonly #decoder: Decoder;
  readonly #order: CommitOrder;
  readonly #xids: XidWidener;
  readonly #keepaliveIntervalMs: number;
  #position: Lsn;
  #held: Keepalive | null = null;
  #heldIsAwaited = false;
  #lastKeptMs = 0;

  constructor(options: StreamReaderOptions) {
    this.#decoder = options.decoder;
    this.#order = new CommitOrder(options.startLsn);
    this.#xids = new XidWidener(options.nextXid);
    this.#keepaliveIntervalMs = options.keepaliveIntervalMs;
    this.#position = options.startLsn;
  }

  /** The last commit's end, or a later keepalive, among the messages given out. */
  get position(): Lsn {
    return this.#position;
  }

  /** Reads a batch, which may be empty: held keepalives become due with time. */
  read(frames: readonly StreamFrame[], endpos: Lsn, nowMs: number): ReadBatch {
    const messages: StreamMessage[] = [];
    const end = endpos === zeroLsn ? null : endpos;
    let reached = end !== null && this.#position >= end;
    for (let nth = 0; nth < frames.length && !reached; nth += 1) {
      const frame = frames[nth] as StreamFrame;
      switch (frame.kind) {
        case 'data': {
          const read = this.#readData(frame, end, messages);
          if (read === tablesStale) return { messages, reached: false, unread: frames.slice(nth) };
          reached = read;
          break;
        }
        case 'keepalive':
          reached = this.#readKeepalive(frame, end);
          break;
        case 'notice':
          this.#decoder.notice?.(frame.text);
          break;
      }
    }
    if (this.#keepaliveIsDue(end, nowMs)) {
      this.#lastKeptMs = nowMs;
      this.#releaseKeepalive(messages);
    }
    return { messages, reached: reached || (end !== null && this.#position >= end), unread: [] };
  }

  /** Tells the decoder of the source's tables as they are by now. */
  describe(tables: SourceTables): void {
    this.#decoder.describe?.(tables);
  }

  #readData(frame: XLogData, end: Lsn | null, messages: StreamMessage[]): boolean | typeof tablesStale {
    const { bytes, start, end: stop, walStart } = frame;
    const decoded =
      this.#decoder.decodeWithin === undefined
        ? this.#decoder.decode(bytes.subarray(start, stop), walStart)
        : this.#decoder.decodeWithin(bytes, start, stop, walStart);
    if (decoded === null) return false;
    if (decoded === tablesStale) return tablesStale;
    if (!isSeveral(decoded)) return this.#takeMessage(decoded, end, messages);
    return decoded.some((message) => this.#takeMessage(message, end, messages));
  }

  /** Returns whether the end position is reached. */
  #takeMessage(message: PluginMessage, end: Lsn | null, messages: StreamMessage[]): boolean {
    this.#xids.widenMessage(message);
    this.#order.check(message);
    if (message.kind === 'begin' && end !== null && (message.commitLsn ?? zeroLsn) >= end) {
      this.#held = { kind: 'keepalive', lsn: message.commitLsn ?? end, time: message.commitTime ?? 0n };
      return true;
    }
    if (this.#held !== null) this.#releaseKeepalive(messages);
    messages.push(message);
    if (message.kind !== 'commit') return false;
    this.#position = message.endLsn;
    return end !== null && message.endLsn >= end;
  }

  #readKeepalive(frame: KeepaliveFrame, end: Lsn | null): boolean {
    if (frame.lsn > laterLsn(this.#position, this.#held?.lsn ?? zeroLsn)) {
      this.#held = { kind: 'keepalive', lsn: frame.lsn, time: frame.time };
    }
    if (frame.replyRequested && this.#held !== null) this.#heldIsAwaited = true;
    return end !== null && frame.lsn >= end;
  }

  #keepaliveIsDue(end: Lsn | null, nowMs: number): boolean {
    if (this.#held === null) return false;
    if (this.#heldIsAwaited || (end !== null && this.#held.lsn >= end)) return true;
    return nowMs - this.#lastKeptMs >= this.#keepaliveIntervalMs;
  }

  #releaseKeepalive(messages: StreamMessage[]): void {
    if (this.#held === null) return;
    this.#position = this.#held.lsn;
    messages.push(this.#held);
    this.#held = null;
    this.#heldIsAwaited = false;
  }
}

function isSeveral(decoded: PluginMessage | readonly PluginMessage[]): decoded is readonly PluginMessage[] {
  return Array.isArray(decoded);
}
