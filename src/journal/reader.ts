/**
 * Reads the journal in order, from the oldest needed file on. There is one position; where the writer lives in this
 * process and has the messages after that position in memory, they are taken from there, else the files are read.
 * Both give the same messages in the same order. Transactions that arrived while they ran come out at their commit
 * (streamed.ts): what is read here is whole transactions in the order of their commits.
 *
 * Looking ahead: after a batch from a file the next one is read already (or the end found), so that `level` is known
 * and not guessed: an applier that believes it is behind while there is nothing more would sit on what it gathered.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, throwIfStopped } from '../failure.js';
import { formatLsn, type Lsn } from '../model/lsn.js';
import type { MessageSource } from '../model/message-source.js';
import type { Commit, StreamMessage } from '../model/message.js';
import { RelationIntern } from './decode.js';
import { damaged } from './format.js';
import { countApplied, listSegments, loadSegments } from './segment.js';
import type { Segment } from './segment.js';
import { SegmentReader } from './segment-reader.js';
import { isApplied, StreamedReader, StreamedTransactions, type Piece } from './streamed.js';
import type { TailEntry } from './tail.js';
import type { JournalWriter } from './writer.js';

export type JournalReaderOptions = {
  /** `<work directory>/cdc`. */
  readonly directory: string;
  /** The writer, when it is in this process. */
  readonly writer?: JournalWriter;
  /** Wait for more at the end; without it, the end of what is there is the end. */
  readonly follow: boolean;
  /** Applied up to here: files that hold nothing after it need not be read. Some of what is read may be before it. */
  readonly from?: Lsn;
};

/** How often the files are looked at when their writer is another process. */
const pollMs = 50;

export class JournalReader implements MessageSource {
  /**
   * The journal holds every transaction that ends after this: its oldest file begins here. An applier that stands
   * before it has lost something (DESIGN 11.15). Null when the journal is empty, or does not know where it began.
   */
  readonly oldestLsn: Lsn | null;
  readonly #options: JournalReaderOptions;
  readonly #intern = new RelationIntern();
  #current: SegmentReader | null;
  /** Transactions that began in a file which is not read: all of them ended before `from`, or were pruned as applied. */
  readonly #orphans: Set<bigint>;
  /** The writer's entry to take next, when the last messages came from its memory too. */
  #sequence = -1;
  readonly #streamed = new StreamedTransactions();
  #ahead: readonly Piece[] | null = null;
  /** What is handed out before anything else: pieces taken, and the transaction that is being read. */
  #pieces: Piece[] = [];
  #transaction: StreamedReader | null = null;
  #failure: unknown = null;
  /** A file that ended without a switch line although it is not the newest; seen once, it may be a race. */
  #suspect: string | null = null;
  #starves = false;
  readonly #closing = new AbortController();

  private constructor(options: JournalReaderOptions, segments: readonly Segment[]) {
    this.#options = options;
    const skipped = options.from === undefined ? 0 : countApplied(segments, options.from);
    const first = segments[skipped];
    this.oldestLsn = segments[0]?.header.start ?? null;
    this.#orphans = new Set(first?.header.open.keys());
    this.#current =
      first === undefined ? null : new SegmentReader(options.directory, first.name, this.#intern);
  }

  /** Opens a journal for reading; it may be empty, even without its directory. Throws `journal-damaged`. */
  static async open(options: JournalReaderOptions): Promise<JournalReader> {
    const files = await listSegments(options.directory);
    const reader = new JournalReader(options, await loadSegments(options.directory, files));
    await reader.#lookAhead();
    return reader;
  }

  get level(): boolean {
    if (this.#pieces.length > 0 || this.#transaction !== null) return false;
    if (this.#ahead !== null || this.#failure !== null || this.#entry() !== undefined) return false;
    const published = this.#options.writer?.published;
    if (published === undefined) return true;
    if (published === null) return true;
    return this.#current?.name === published.file && this.#current.offset === published.offset;
  }

  /** Whether it has given out all that is in the files, and waits for another process to write more. */
  get starves(): boolean {
    return this.#starves;
  }

  async next(signal: AbortSignal): Promise<readonly StreamMessage[] | null> {
    for (;;) {
      throwIfStopped(signal);
      if (this.#closing.signal.aborted) return null;
      const messages = await this.#takePiece();
      if (messages !== null) return messages;
      const batch = this.#ahead === null ? await this.#takeEntry() : this.#ahead;
      if (batch !== null) {
        this.#pieces.push(...batch);
        if (batch === this.#ahead) {
          this.#ahead = null;
          await this.#lookAhead();
        }
        continue;
      }
      if (this.#failure !== null) throw this.#failure;
      const { writer } = this.#options;
      const published = writer?.published ?? null;
      const ended = !this.#options.follow || writer?.closed === true;
      await this.#readOn();
      this.#starves = false;
      if (this.#ahead !== null || this.#entry() !== undefined) continue;
      if (ended) return null;
      if (writer !== undefined) await writer.waitBeyond(published, [signal, this.#closing.signal]);
      else {
        this.#starves = true;
        await sleep(pollMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** A `next` that waits gets its end. Not to be called while one reads. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#starves = false;
    this.#options.writer?.tail.leave(this);
    await this.#transaction?.close();
    await this.#current?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The writer's entry that begins where this reader stands. */
  #entry(): TailEntry | undefined {
    const tail = this.#options.writer?.tail;
    if (tail === undefined || this.#current === null) return undefined;
    if (this.#sequence === -1) {
      this.#sequence = tail.find({ file: this.#current.name, offset: this.#current.offset });
      if (this.#sequence === -1) return undefined;
    }
    return tail.get(this.#sequence);
  }

  /** From here on files are read, as far as they go. */
  #leaveMemory(): void {
    this.#sequence = -1;
    // A read that was under way when the reader was closed: nobody waits for it in the tail any more.
    if (this.#closing.signal.aborted) return;
    const current = this.#current;
    if (current !== null)
      this.#options.writer?.tail.readTo(this, { file: current.name, offset: current.offset });
  }

  /** What was taken and not handed out; null when there is nothing more of it. */
  async #takePiece(): Promise<readonly StreamMessage[] | null> {
    for (;;) {
      const messages = await this.#transaction?.next();
      if (messages !== undefined && messages !== null) return messages;
      if (this.#closing.signal.aborted) return null;
      this.#transaction = null;
      const piece = this.#pieces.shift();
      if (piece === undefined) return null;
      if (piece.kind === 'messages') return piece.messages;
      const { directory, from } = this.#options;
      if (from !== undefined && isApplied(piece.transaction, from)) continue;
      this.#transaction = new StreamedReader(directory, this.#intern, piece.transaction);
    }
  }

  async #takeEntry(): Promise<readonly Piece[] | null> {
    if (this.#closing.signal.aborted) return null;
    const entry = this.#entry();
    if (entry === undefined) {
      // Not written yet; or forgotten meanwhile: the files know, and lead back here.
      if (this.#options.writer?.tail.holdsFrom(this.#sequence) !== true) this.#leaveMemory();
      return null;
    }
    this.#sequence += 1;
    this.#options.writer?.tail.taken(this, entry, this.#sequence);
    let current = this.#current as SegmentReader;
    if (entry.file !== current.name) {
      await current.close();
      current = new SegmentReader(this.#options.directory, entry.file, this.#intern);
      this.#current = current;
      // Opened although it is not read now: should it be pruned, its end can still be read.
      await current.open();
      if (this.#closing.signal.aborted) await current.close();
    }
    current.skipTo(entry.end, entry.sum, entry.described);
    return this.#streamed.take(this.#withoutOrphans(entry.messages), entry.file);
  }

  /** Reads on; a failure waits until what was read before it is taken. */
  async #lookAhead(): Promise<void> {
    try {
      await this.#readOn();
    } catch (error) {
      this.#failure = error;
    }
  }

  /** Reads files until there are messages, the writer's memory goes on, or there is nothing more. */
  async #readOn(): Promise<void> {
    for (;;) {
      if (this.#closing.signal.aborted) return;
      if (this.#current === null) {
        const [first] = await listSegments(this.#options.directory);
        if (first === undefined) return;
        this.#current = new SegmentReader(this.#options.directory, first.name, this.#intern);
      }
      if (this.#entry() !== undefined) return;
      const current = this.#current;
      const published = this.#options.writer?.published;
      const isNewest = published?.file === current.name;
      const result = await current.read(isNewest ? published.offset : Infinity);
      switch (result.kind) {
        case 'messages': {
          // What somebody who asked for `level` meanwhile found in memory may be part of it.
          this.#leaveMemory();
          const pieces = this.#streamed.take(this.#withoutOrphans(result.messages), current.name);
          if (pieces.length === 0) break;
          this.#ahead = pieces;
          return;
        }
        case 'switch':
          if (!(await this.#enter(current, result.next))) return;
          break;
        case 'end':
          if (!(await this.#goesOn(current, isNewest ? published.offset : null))) return;
          break;
      }
    }
  }

  /** Goes to the next file; false while it is not there. */
  async #enter(current: SegmentReader, next: string): Promise<boolean> {
    const reader = new SegmentReader(this.#options.directory, next, this.#intern);
    const header = await reader.open();
    if (header === null) {
      // Not created yet, or its header not written: fine for the last file, whose writer was about to do it.
      const published = this.#options.writer?.published ?? null;
      const isThere = published === null ? await this.#isFollowed(next) : published.file >= next;
      if (isThere) throw damaged(next, 0, 'it is missing, or without its header');
      return false;
    }
    if (header.previous !== current.name) {
      await reader.close();
      throw damaged(next, 0, `it follows ${header.previous ?? 'nothing'}, and not ${current.name}`);
    }
    await current.close();
    this.#current = reader;
    // Closed meanwhile, which has met the one before.
    if (this.#closing.signal.aborted) await reader.close();
    return true;
  }

  /** Whether to read on at the end of a file without a switch line; `limit` is where its living writer stands. */
  async #goesOn(current: SegmentReader, limit: number | null): Promise<boolean> {
    if (limit !== null) {
      if (current.offset < limit)
        throw damaged(current.name, current.offset, 'its end is not as it was written');
      // Entered before its first lines were published, it may have shown more than they are by now.
      if (current.offset > limit) return false;
      const published = this.#options.writer?.published;
      return published?.file !== current.name || published.offset !== limit;
    }
    if (!(await this.#isFollowed(current.name))) return false;
    // Its writer, another process, may have closed it after we looked: a second look tells.
    if (this.#options.writer === undefined && this.#suspect !== current.name) {
      this.#suspect = current.name;
      return true;
    }
    throw damaged(current.name, current.offset, 'it ends without a switch line, and is not the newest file');
  }

  /** Whether there is a file after this one. */
  async #isFollowed(name: string): Promise<boolean> {
    const { writer, directory } = this.#options;
    if (writer !== undefined) return writer.published !== null && writer.published.file > name;
    return (await listSegments(directory)).some((file) => file.name > name);
  }

  #withoutOrphans(messages: readonly StreamMessage[]): readonly StreamMessage[] {
    if (this.#orphans.size === 0) return messages;
    return messages.filter((message) => !this.#isOrphan(message));
  }

  #isOrphan(message: StreamMessage): boolean {
    switch (message.kind) {
      case 'connected':
        // Every unfinished transaction is void here.
        this.#orphans.clear();
        return false;
      case 'commit':
        this.#refuseNeeded(message);
        return this.#orphans.delete(message.xid);
      case 'rollback':
        if (message.sub !== undefined) return this.#orphans.has(message.xid);
        return this.#orphans.delete(message.xid);
      case 'begin':
      case 'change':
      case 'message':
        return message.xid !== null && this.#orphans.has(message.xid);
      case 'relation':
      case 'keepalive':
      case 'endpos':
        break;
    }
    return false;
  }

  /**
   * A transaction whose beginning was pruned has ended at or before the position that the target was at by then. One that
   * ends behind where it stands now was applied, and is not any more.
   */
  #refuseNeeded({ xid, endLsn }: Commit): void {
    const { from } = this.#options;
    if (from === undefined || endLsn <= from || !this.#orphans.has(xid)) return;
    throw new Failure(
      'target-set-back',
      `the target's position is ${formatLsn(from)}, and the transform files no longer hold the beginning of ` +
        `transaction ${xid}, which ends at ${formatLsn(endLsn)}: the target was set back`,
    );
  }
}
