/**
 * Writes the journal. One writer at a time has a directory (the catalog's lock sees to it); any number of readers.
 *
 * A batch becomes lines, the lines one write that ends in a checksum, and then, never before, the batch is published:
 * to readers of this process through the tail, to others by standing in the file. `sync` makes what is written
 * durable. A message whose LSN lies beyond the file's WAL segment closes the file (switch line, fsync) and begins the
 * next; a later message with a smaller LSN stays in the newer file.
 *
 * After a failed write or fsync the writer is good for nothing more: what the disk holds then is known only by
 * reading it, which is what the next `open` does. An fsync is never tried again: the kernel may have dropped the pages.
 */
import { mkdir, open, truncate, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../failure.js';
import { failpoint } from '../failpoint.js';
import type { Log } from '../log.js';
import { zeroLsn } from '../model/lsn.js';
import type { Lsn } from '../model/lsn.js';
import type { StreamMessage } from '../model/message.js';
import { diskFailure, realDisk } from './disk.js';
import type { JournalDisk } from './disk.js';
import { encodeHeader, encodeSwitch, LineEncoder } from './encode.js';
import { damaged } from './format.js';
import { LineBuffer } from './line-buffer.js';
import { expectEnd, findEnd, Progress } from './recover.js';
import type { FileEnd } from './recover.js';
import { listSegments, loadSegments, segmentEnd, segmentFileName } from './segment.js';
import type { Segment } from './segment.js';
import { Tail } from './tail.js';
import type { Place } from './tail.js';

export type JournalWriterOptions = {
  /** `<work directory>/cdc`; made when it is not there. */
  readonly directory: string;
  readonly timeline: number;
  /** wal_segment_size of the source. */
  readonly segmentBytes: bigint;
  /**
   * Goes into every file's header: the stream's facts (systemIdentifier, database, slot, plugin …). A journal of
   * another `systemIdentifier` or `database` is refused.
   */
  readonly header: Readonly<Record<string, string>>;
  /** Up to where the files were durable once: they are refused when they end before. Nothing is known unless told. */
  readonly onceDurable?: Lsn;
  /** Stops `open` while it reads the newest file. */
  readonly signal?: AbortSignal;
  readonly log: Log;
  /** What a reader of this process finds in memory at most, in encoded bytes. */
  readonly maxTailBytes?: number;
  /** How long a line may be, in UTF-16 units: for tests; what can be read back unless told. */
  readonly longestLine?: number;
  /** Another disk, for tests. */
  readonly disk?: JournalDisk;
};

const defaultTailBytes = 8 * 1024 * 1024;

/** A batch larger than this is written, and published, in pieces: the buffer and the tail stay bounded. */
const pieceBytes = 256 * 1024;

/** A reader in this process that has less than this to take is level enough; one that has more than that is far behind. */
const nearBytes = 256 * 1024;
const farBytes = 64 * 1024 * 1024;

/** Bytes of transform files a millisecond: 4 MB a second. */
const slowestPace = 4 * 1024;

/** The file being written. */
type CurrentFile = {
  readonly name: string;
  readonly handle: FileHandle;
  /** The first position that belongs to a later file. */
  readonly endLsn: bigint;
  readonly encoder: LineEncoder;
};

/** What JournalWriter.open found, before anything is written. */
type Recovered = {
  readonly segments: readonly Segment[];
  readonly end: FileEnd | null;
};

export class JournalWriter {
  /** Where the journal ended when it was opened: the last commit's end, or a keepalive after it; null without any. */
  readonly recovered: Lsn | null;
  /** What readers of this process take from. */
  readonly tail: Tail;
  readonly #options: JournalWriterOptions;
  readonly #disk: JournalDisk;
  readonly #lines = new LineBuffer();
  readonly #progress: Progress;
  /** Sizes by name, without the file being written. */
  #closedFiles: Map<string, number>;
  #current: CurrentFile | null = null;
  /** Bytes written to the current file, and how many of them are on disk; the mark is written once per change. */
  #size = 0;
  #synced = 0;
  #marked = 0;
  #previous: string | null = null;
  /** The next header's `start`, as long as nothing complete was written. */
  #start: Lsn | null = null;
  #published: Place | null = null;
  /** All that was ever written here, and how much of it when somebody last asked whether to wait. */
  #bytesWritten = 0;
  #pacedAt = 0;
  #written: Lsn;
  #durable: Lsn;
  #syncing: Promise<void> = Promise.resolve();
  #appending: Promise<void> = Promise.resolve();
  #broken: Failure | null = null;
  #closed = false;
  readonly #waiting = new Set<() => void>();

  private constructor(options: JournalWriterOptions, { segments, end }: Recovered) {
    this.#options = options;
    this.#disk = options.disk ?? realDisk;
    this.tail = new Tail(options.maxTailBytes ?? defaultTailBytes);
    this.#closedFiles = new Map(segments.map((segment) => [segment.name, segment.bytes]));
    this.#progress = new Progress(end?.position ?? null, end?.open ?? new Map());
    this.recovered = this.#progress.position;
    this.#written = this.recovered ?? zeroLsn;
    this.#durable = this.#written;
  }

  /**
   * Opens a journal, new or used, and recovers it: see recover.ts. When it resolves, everything in it is on disk.
   * Throws `journal-damaged`, `disk-full`, `work-directory-broken`, `work-directory-used`, `stopped`.
   */
  static async open(options: JournalWriterOptions): Promise<JournalWriter> {
    const { directory, signal, log } = options;
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      // Also where it was there: whoever made it may have been killed before this. Files are lost with their directory.
      await (options.disk ?? realDisk).syncDirectory(dirname(directory));
      const files = await listSegments(directory);
      const segments = await loadSegments(directory, files);
      const headless = files[segments.length];
      if (headless !== undefined) {
        log.warn(`removing transform file ${headless.name}: its header was never finished`);
        await unlink(join(directory, headless.name));
        await (options.disk ?? realDisk).syncDirectory(directory);
      }
      const newest = segments.at(-1);
      if (newest === undefined) return new JournalWriter(options, { segments: [], end: null });
      refuseOthers(options, newest);
      const end = await findEnd(directory, newest.name, signal);
      if (end === null) throw damaged(newest.name, 0, 'its header is gone');
      if (headless !== undefined && end.closed === null) {
        throw damaged(newest.name, end.size, 'it has a successor, and does not end in a switch line');
      }
      expectEnd(newest.name, end, options.onceDurable ?? zeroLsn);
      const writer = new JournalWriter(options, { segments: segments.slice(0, -1), end });
      await writer.#resume(newest, end).catch(async (error: unknown) => {
        await writer.#current?.handle.close().catch(() => {});
        throw error;
      });
      return writer;
    } catch (error) {
      throw diskFailure(error, `cannot open the transform files in ${directory}`);
    }
  }

  /** End of the last complete transaction (or a keepalive after it) that the operating system has. */
  get written(): Lsn {
    return this.#written;
  }

  /** The same, on disk. */
  get durable(): Lsn {
    return this.#durable;
  }

  /** Bytes of all transform files. Files that another process prunes are noticed by `recount`, and when the next file begins. */
  get bytes(): number {
    let bytes = this.#size;
    for (const size of this.#closedFiles.values()) bytes += size;
    return bytes;
  }

  /** Whether a transaction is unfinished at the end; the next `connected` makes it void. */
  get unfinished(): boolean {
    return this.#progress.open.size > 0;
  }

  /** Up to where readers may read; null while there is no file. */
  get published(): Place | null {
    return this.#published;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Writes a batch, behind those before it. It is taken over: nobody changes it any more. Resolves when the
   * operating system has it. Throws `disk-full`, `work-directory-broken`, `plugin-limit` (a line that nobody could read),
   * and the same again ever after.
   */
  append(batch: readonly StreamMessage[]): Promise<void> {
    const appended = this.#appending.then(() => this.#append(batch));
    this.#appending = appended.catch(() => {});
    return appended;
  }

  /** Has everything that is written now on disk when it resolves. May run beside `append`. Throws as `append`. */
  async sync(): Promise<void> {
    const synced = this.#syncing.then(() => this.#syncCurrent());
    this.#syncing = synced.catch(() => {});
    await synced;
  }

  /** Resolves when readers find something else than `seen`, or never will, or one of the signals is set. */
  async waitBeyond(seen: Place | null, signals: readonly AbortSignal[]): Promise<void> {
    const isNews =
      this.#closed || this.#published?.offset !== seen?.offset || this.#published?.file !== seen?.file;
    if (isNews || signals.some((signal) => signal.aborted)) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        for (const signal of signals) signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      for (const signal of signals) signal.addEventListener('abort', wake);
    });
  }

  /**
   * What a writer that is a little ahead of a reader in this process should wait for, if anything: who reads back from
   * files what it could have had from memory makes both of them slower. The wait is short enough to go on writing at
   * `slowestPace` whatever the reader does, and a reader that is far behind is not waited for.
   */
  untilReaderIsNear(): Promise<void> | null {
    const written = this.#bytesWritten - this.#pacedAt;
    this.#pacedAt = this.#bytesWritten;
    const untaken = this.tail.untakenBytes;
    if (untaken <= nearBytes || untaken > farBytes) return null;
    return this.tail.untilTaken(nearBytes, written / slowestPace);
  }

  /** Pruned files count no more in `bytes`. */
  forget(names: readonly string[]): void {
    for (const name of names) this.#closedFiles.delete(name);
  }

  /** Syncs and closes. Readers get what is there, then their end. Does nothing the second time. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#appending;
    try {
      if (this.#broken === null) await this.sync();
    } finally {
      this.#closed = true;
      await this.#current?.handle.close().catch(() => {});
      this.#wake();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Goes on in the newest file, or in its successor when it is closed. */
  async #resume(newest: Segment, end: FileEnd): Promise<void> {
    const { directory, log } = this.#options;
    const path = join(directory, newest.name);
    if (end.offset < end.size) {
      const cut = end.size - end.offset;
      log.warn(`cutting ${cut} bytes of an unfinished write off transform file ${newest.name}`, {
        file: newest.name,
        offset: end.offset,
        bytes: cut,
      });
      await truncate(path, end.offset);
    }
    const handle = await open(path, 'r+');
    this.#current = {
      name: newest.name,
      handle,
      endLsn: segmentEnd(newest.name, newest.header.segmentBytes),
      encoder: new LineEncoder(end.nextRelationId, this.#options.longestLine),
    };
    this.#size = end.offset;
    this.#lines.begin(end.sum);
    this.#start = newest.header.start;
    // The last writer may have been killed before its fsync: what was found is durable from here on, not before.
    await this.#disk.sync(handle);
    await this.#disk.syncDirectory(directory);
    this.#synced = end.offset;
    this.#marked = 0;
    this.#published = { file: newest.name, offset: end.offset };
    if (end.closed !== null) {
      await handle.close();
      this.#current = null;
      this.#closedFiles.set(newest.name, end.offset);
      this.#previous = newest.name;
      await this.#create(end.closed.next);
      this.#published = { file: end.closed.next, offset: this.#size };
    }
  }

  async #append(batch: readonly StreamMessage[]): Promise<void> {
    this.#refuseBroken();
    if (batch.length === 0) return;
    try {
      let next = 0;
      while (next < batch.length) {
        await this.#enterFile(batch, next);
        next = await this.#writePiece(batch, next);
      }
      failpoint('journal.written');
    } catch (error) {
      throw this.#break(error, `cannot write to transform file ${this.#current?.name ?? ''}`);
    }
  }

  /** Begins the file that the message belongs to, unless it is the one being written. */
  async #enterFile(batch: readonly StreamMessage[], index: number): Promise<void> {
    const { timeline, segmentBytes } = this.#options;
    const current = this.#current;
    if (current === null) {
      // The first file of all is named by the first position that is known.
      const lsn = batch
        .slice(index)
        .map(filingLsn)
        .find((lsn) => lsn !== null);
      if (lsn === undefined)
        throw new Failure('internal', 'the journal begins with messages without a position');
      const [first] = batch;
      // Where a journal begins, everything before the connection's start is held elsewhere, or was never asked for.
      this.#start = first?.kind === 'connected' ? first.lsn : null;
      await this.#create(segmentFileName(timeline, lsn, segmentBytes));
      return;
    }
    const lsn = filingLsn(batch[index] as StreamMessage);
    if (lsn === null || lsn < current.endLsn) return;
    await this.#rotate(current, lsn);
  }

  /** Writes messages of one file from `first` on, as far as a piece goes. Returns the index of the next. */
  async #writePiece(batch: readonly StreamMessage[], first: number): Promise<number> {
    const { name, handle, endLsn, encoder } = this.#current as CurrentFile;
    const lines = this.#lines;
    const start = this.#size;
    let next = first;
    for (; next < batch.length && lines.used < pieceBytes; next += 1) {
      const message = batch[next] as StreamMessage;
      if (next > first) {
        const lsn = filingLsn(message);
        if (lsn !== null && lsn >= endLsn) break;
      }
      encoder.encode(message, lines);
      this.#progress.take(message, name);
    }
    this.#seal();
    await this.#flush(handle);
    this.tail.push({
      file: name,
      start,
      end: this.#size,
      sum: lines.sum,
      messages: first === 0 && next === batch.length ? batch : batch.slice(first, next),
      described: encoder.takeDescribed(),
    });
    this.#published = { file: name, offset: this.#size };
    this.#written = this.#progress.position ?? zeroLsn;
    this.#wake();
    return next;
  }

  /** Ends the lines with a checksum, and once after each fsync with the mark up to where it reached. */
  #seal(): void {
    const mark = this.#synced > this.#marked ? this.#synced : null;
    this.#lines.seal(mark);
    if (mark !== null) this.#marked = mark;
  }

  async #flush(handle: FileHandle): Promise<void> {
    const bytes = this.#lines.bytes();
    let done = 0;
    while (done < bytes.length) {
      done += await this.#disk.write(handle, done === 0 ? bytes : bytes.subarray(done), this.#size + done);
    }
    this.#size += bytes.length;
    this.#bytesWritten += bytes.length;
    this.#lines.release();
  }

  /** Closes the current file and begins the one of `lsn`. */
  async #rotate(current: CurrentFile, lsn: Lsn): Promise<void> {
    const { timeline, segmentBytes, log } = this.#options;
    const next = segmentFileName(timeline, lsn, segmentBytes);
    if (next <= current.name) {
      throw new Failure('internal', `transform file ${next} cannot follow ${current.name}`);
    }
    this.#lines.add(encodeSwitch(lsn, next));
    this.#seal();
    await this.#flush(current.handle);
    await this.sync();
    await current.handle.close();
    this.#closedFiles.set(current.name, this.#size);
    this.#previous = current.name;
    this.#current = null;
    failpoint('journal.closed');
    await this.#create(next);
    log.notice(`transform file ${current.name} is complete, ${next} begins`);
    failpoint('journal.rotated');
    await this.recount();
  }

  /** Creates a file with its header, both on disk when it resolves: a header that is bad later was damaged. */
  async #create(name: string): Promise<void> {
    const { directory, timeline, segmentBytes, header, longestLine } = this.#options;
    const handle = await open(join(directory, name), 'wx', 0o600);
    this.#current = {
      name,
      handle,
      endLsn: segmentEnd(name, segmentBytes),
      encoder: new LineEncoder(0, longestLine),
    };
    this.#size = 0;
    this.#marked = 0;
    this.#synced = 0;
    this.#lines.begin(0);
    this.#lines.add(
      encodeHeader({
        timeline,
        segment: name.slice(0, -'.json'.length),
        segmentBytes,
        previous: this.#previous,
        start: this.#progress.position ?? this.#start,
        position: this.#progress.position,
        open: this.#progress.open,
        stream: header,
      }),
    );
    this.#lines.seal(null);
    await this.#flush(handle);
    await this.#disk.sync(handle);
    await this.#disk.syncDirectory(directory);
    this.#synced = this.#size;
  }

  async #syncCurrent(): Promise<void> {
    this.#refuseBroken();
    const current = this.#current;
    if (current === null || this.#synced === this.#size) {
      this.#durable = this.#written;
      return;
    }
    // What is written while the disk works may or may not be there afterwards: it is not counted.
    const size = this.#size;
    const written = this.#written;
    try {
      await this.#disk.sync(current.handle);
    } catch (error) {
      throw this.#break(error, `cannot flush transform file ${current.name} to disk`);
    }
    this.#synced = size;
    this.#durable = written;
    failpoint('journal.durable');
  }

  /** Files that another process pruned count no more in `bytes`. */
  async recount(): Promise<void> {
    const files = await listSegments(this.#options.directory);
    const there = new Set(files.map((file) => file.name));
    this.forget([...this.#closedFiles.keys()].filter((name) => !there.has(name)));
  }

  #refuseBroken(): void {
    if (this.#broken !== null) throw this.#broken;
    if (this.#closed) throw new Failure('internal', 'the journal is closed');
  }

  /** No more writing after this. */
  #break(error: unknown, what: string): Failure {
    this.#broken ??= diskFailure(error, what);
    return this.#broken;
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}

/**
 * The position that decides a message's file; null where it has none and stays where the one before it went. A
 * transaction that is sent when it commits goes where its commit record begins, all of it.
 */
function filingLsn(message: StreamMessage): Lsn | null {
  switch (message.kind) {
    case 'relation':
      return null;
    case 'begin':
    case 'commit':
      return message.commitLsn;
    case 'change':
    case 'message':
    case 'rollback':
    case 'keepalive':
    case 'connected':
    case 'endpos':
      break;
  }
  return message.lsn;
}

/** Refuses to go on in the journal of another source. */
function refuseOthers(options: JournalWriterOptions, { name, header }: Segment): void {
  for (const fact of ['systemIdentifier', 'database']) {
    const then = header.stream[fact];
    const now = options.header[fact];
    if (then === undefined || now === undefined || then === now) continue;
    throw new Failure(
      'work-directory-used',
      `the transform files in ${options.directory} belong to another source: ${fact} is ${then} in ${name}, ${now} now`,
    );
  }
  if (header.segmentBytes !== options.segmentBytes) {
    throw new Failure(
      'work-directory-used',
      `the WAL segments of the source have ${options.segmentBytes} bytes, those of transform file ${name} had ${header.segmentBytes}`,
    );
  }
}
