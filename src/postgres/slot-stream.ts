/**
 * A slot read over a walsender connection. How its parts talk:
 *
 *   server ── CopyData ─▶ socket ─▶ MessageCutter ─▶ frames, queued ─▶ next()      the consumer pulls
 *   server ◀─ CopyData ── status update ◀─ feedback()   on a clock of its own, and when the server asks
 *
 * The connection is one of ours (TLS, login and settings as everywhere); before START_REPLICATION is sent the socket's
 * reads are taken over from pg, whose parser would make three objects and an event of every change.
 *
 * Back-pressure: when the consumer is behind, the socket is paused; the kernel's buffers fill and the walsender waits.
 * A paused socket brings no keepalive that asks for a reply either, so status updates go out unasked, often enough for
 * wal_sender_timeout. The consumer can take as long as it likes.
 * https://www.postgresql.org/docs/current/protocol-replication.html
 */
import type { Socket } from 'node:net';
import pg from 'pg';
import { failpoint } from '../failpoint.js';
import { Failure, throwIfStopped } from '../failure.js';
import { silentLog, type Log } from '../log.js';
import { formatLsn, type Lsn } from '../model/lsn.js';
import type { PluginName } from '../model/plugin.js';
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import { BulkSocket } from './bulk-socket.js';
import { connectionOf } from './connect-session.js';
import type { Session } from './connect.js';
import type { Conninfo } from './connection-string.js';
import { MessageCutter } from './copy-both.js';
import {
  decodeStreamFrame,
  encodeStatusUpdate,
  type FeedbackPositions,
  type StreamFrame,
} from './feedback.js';
import { identifySource, type SourceIdentity } from './identify.js';
import { ReadPacing } from './read-pacing.js';
import { SilenceWatch, silentMs } from './silence.js';
import { slotFailure } from './slot-failure.js';
import {
  checkSlotFacts,
  checkSlotFree,
  checkSlotPosition,
  checkTimeline,
  connectWalsender,
  fetchSlot,
} from './slot.js';
import { readErrorFields } from './wire-protocol.js';

export type SlotStreamOptions = {
  readonly conninfo: Conninfo;
  readonly slot: string;
  readonly plugin: PluginName;
  /** Everything that ends at or before this is held already: the stream brings what comes after. */
  readonly startLsn: Lsn;
  /** The plugin's options for a server of this version: name and value, unquoted. */
  readonly pluginOptions: (serverVersion: number) => readonly (readonly [name: string, value: string])[];
  /** Settings of this connection beyond those of every session; none unless told. */
  readonly settings?: (serverVersion: number) => readonly (readonly [name: string, value: string])[];
  /** Whether what the server says beside the stream (NoticeResponse) is given out among the frames. */
  readonly notices?: boolean;
  /** What to report now. Called by the stream's clock. */
  readonly feedback: () => FeedbackPositions;
  /** The cluster the stream belongs to; another one is refused. Null accepts any. */
  readonly systemIdentifier: string | null;
  /** The timeline that the stream began on; another one is refused. Null accepts any. */
  readonly timeline?: number | null;
  readonly signal?: AbortSignal;
  readonly log?: Log;
  /** How often the source hears of us, in milliseconds; 1000 unless told, less where wal_sender_timeout is short. */
  readonly feedbackIntervalMs?: number;
  /** Bytes that may wait for the consumer; one message is taken whatever its size. 256 KiB unless told. */
  readonly maxQueuedBytes?: number;
  /** After so long without a word the connection is looked after, in milliseconds; see silence.ts. */
  readonly silentMs?: number;
};

/** What arrived since the last batch, in order. Payloads are views, valid until the next batch is asked for. */
export type SlotBatch = { readonly frames: readonly StreamFrame[]; readonly bytes: number };

const defaultFeedbackIntervalMs = 1000;
const defaultMaxQueuedBytes = 256 * 1024;

/** A server that shuts down answers each of our answers with the next question: not faster than this. */
const shortestReplyMs = 10;

/** How long the server may take to agree that the stream ends; it may be in the middle of a large transaction. */
const goodbyeMs = 1000;

const tagCopyBoth = 0x57;
const tagCopyData = 0x64;
const tagCopyDone = 0x63;
const tagCommandComplete = 0x43;
const tagError = 0x45;
const tagNotice = 0x4e;
const tagParameterStatus = 0x53;
const tagReady = 0x5a;

const copyDone = Buffer.from([tagCopyDone, 0, 0, 0, 4]);

/** One connection to a slot. */
export class SlotStream implements AsyncDisposable {
  readonly identity: SourceIdentity;
  readonly serverVersion: number;
  readonly #session: Session;
  readonly #socket: Socket;
  readonly #options: SlotStreamOptions;
  readonly #log: Log;
  readonly #cutter: MessageCutter;
  readonly #pacing = new ReadPacing(performance.now());
  readonly #maxQueuedBytes: number;

  #frames: StreamFrame[] = [];
  #queuedBytes = 0;
  /** Reads whose buffers hold what is queued, and those that hold the batch that was given out last. */
  #queuedReads = 0;
  #givenReads = 0;
  #failure: Failure | null = null;
  #wake: (() => void) | null = null;

  #started: { resolve: () => void; reject: (error: unknown) => void } | null = null;
  #full = false;
  #turnBytes = 0;
  #turnOpen = false;
  #rest: NodeJS.Timeout | null = null;
  #clock: NodeJS.Timeout | null = null;
  #reply: NodeJS.Timeout | null = null;
  #lastFeedbackMs = 0;
  #heardMs = performance.now();
  #silence: SilenceWatch | null = null;
  #lastFlushed: Lsn;
  #ending: (() => void) | null = null;
  #closing: Promise<void> | null = null;

  private constructor(session: Session, identity: SourceIdentity, options: SlotStreamOptions) {
    this.#session = session;
    this.#socket = connectionOf(session.client).stream as Socket;
    this.identity = identity;
    this.serverVersion = session.serverVersion;
    this.#options = options;
    this.#lastFlushed = options.startLsn;
    this.#log = options.log ?? silentLog;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? defaultMaxQueuedBytes;
    this.#cutter = new MessageCutter((tag, buffer, start, end) => this.#take(tag, buffer, start, end));
  }

  /**
   * Connects and starts to read. Throws what `connect` throws, `slot-lost`, `slot-ahead`, `slot-busy`, `source-setup`,
   * `source-rights`, `stopped`.
   */
  static async open(options: SlotStreamOptions): Promise<SlotStream> {
    const { conninfo, signal, log = silentLog } = options;
    const session = await connectWalsender(conninfo, 'walferry receive', signal, log, true);
    try {
      const identity = await identifySource(session);
      checkIdentity(identity, options);
      await checkPrimary(session);
      const facts = checkSlotFacts(await fetchSlot(session, options.slot), {
        name: options.slot,
        plugin: options.plugin,
        database: identity.database,
      });
      checkSlotFree(facts);
      // Both are held up to startLsn: it is the larger of the two.
      const held = options.startLsn;
      checkSlotPosition({
        confirmedFlush: facts.confirmedFlushLsn ?? held,
        journalDurable: held,
        applied: held,
      });
      throwIfStopped(signal);
      const stream = new SlotStream(session, identity, options);
      await stream.#start();
      return stream;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /**
   * What has arrived, at least one frame; waits for it up to `waitMs`, and then gives an empty batch. Throws why the
   * stream broke, after everything that arrived before was given; `stopped` when the signal is set.
   */
  async next(signal: AbortSignal, waitMs: number): Promise<SlotBatch> {
    throwIfStopped(signal);
    if (this.#frames.length === 0 && this.#failure === null) await this.#arrival(signal, waitMs);
    throwIfStopped(signal);
    if (this.#frames.length === 0 && this.#failure !== null) throw this.#failure;
    const batch = { frames: this.#frames, bytes: this.#queuedBytes };
    this.#frames = [];
    this.#queuedBytes = 0;
    if (this.#socket instanceof BulkSocket) this.#socket.recycle(this.#givenReads);
    this.#givenReads = this.#queuedReads;
    this.#queuedReads = 0;
    if (this.#full) {
      this.#full = false;
      this.#heardMs = performance.now();
      if (this.#rest === null) this.#socket.resume();
    }
    return batch;
  }

  /** Reports now instead of at the next tick. */
  sendFeedback(): void {
    if (this.#closing === null || this.#ending !== null) this.#writeFeedback();
  }

  /** Says the last positions and goodbye. Never throws, and returns within seconds. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #start(): Promise<void> {
    const { slot, startLsn, pluginOptions, signal } = this.#options;
    const command = startCommand(slot, startLsn, pluginOptions(this.serverVersion));
    for (const [name, value] of this.#options.settings?.(this.serverVersion) ?? []) {
      await this.#session.query(`set ${quoteIdentifier(name)} = ${quoteLiteral(value)}`);
    }
    // From here on every byte is ours. The connection is idle: pg's parser holds no part of a message.
    this.#socket.removeAllListeners('data');
    const take = (read: Buffer) => this.#read(read);
    if (this.#socket instanceof BulkSocket) this.#socket.bulk = take;
    else this.#socket.on('data', take);
    this.#socket.on('error', (error) => this.#fail(disconnected(error)));
    this.#socket.on('close', () => this.#fail(disconnected(null)));
    const stop = () => this.#started?.reject(new Failure('stopped', 'stopped as asked'));
    signal?.addEventListener('abort', stop, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        this.#started = { resolve, reject };
        this.#socket.write(simpleQuery(command));
      });
    } catch (error) {
      throw slotFailure(error, 'start', slot);
    } finally {
      this.#started = null;
      signal?.removeEventListener('abort', stop);
    }
    const timeout = this.identity.walSenderTimeoutMs;
    const wanted = this.#options.feedbackIntervalMs ?? defaultFeedbackIntervalMs;
    const interval = timeout === 0 ? wanted : Math.min(wanted, Math.max(1, Math.floor(timeout / 4)));
    this.#clock = setInterval(() => this.#writeFeedback(), interval);
    this.#heardMs = performance.now();
    this.#silence = new SilenceWatch({
      conninfo: this.#options.conninfo,
      side: 'source',
      backend: this.#session.backend,
      // A socket that we do not read brings nothing; otherwise an answer is asked for in time.
      silentSince: () => (this.#full ? null : this.#heardMs),
      onLost: (failure) => {
        this.#fail(failure);
        this.#socket.destroy();
      },
      ...(this.#options.silentMs === undefined ? {} : { afterMs: this.#options.silentMs }),
    });
    this.#writeFeedback();
  }

  /** Returns whether frames of the read are queued, and its buffer with them. */
  #read(read: Buffer): boolean {
    this.#heardMs = performance.now();
    const before = this.#frames.length;
    try {
      this.#cutter.push(read);
    } catch (error) {
      this.#fail(error instanceof Failure ? error : disconnected(error));
      this.#socket.destroy();
      return false;
    }
    if (this.#ending !== null) return false;
    // What is cut into pieces by reads is put together apart: a read in the middle of a large value leaves nothing here.
    const isQueued = this.#frames.length > before;
    if (isQueued) this.#queuedReads += 1;
    if (this.#queuedBytes >= this.#maxQueuedBytes) {
      this.#full = true;
      this.#socket.pause();
    }
    this.#turnBytes += read.length;
    if (this.#turnOpen) return isQueued;
    this.#turnOpen = true;
    setImmediate(() => this.#endTurn());
    return isQueued;
  }

  /**
   * After all reads of one turn of the event loop: over TLS every record is a read of its own, and the walsender makes
   * one of every change. They are handed out, and paced, together.
   */
  #endTurn(): void {
    const bytes = this.#turnBytes;
    this.#turnOpen = false;
    this.#turnBytes = 0;
    if (this.#frames.length > 0) this.#wake?.();
    if (this.#ending !== null || this.#full) return;
    const restMs = this.#pacing.restAfter(bytes, performance.now());
    if (restMs === 0) return;
    this.#socket.pause();
    this.#rest = setTimeout(() => {
      this.#rest = null;
      if (!this.#full) this.#socket.resume();
    }, restMs);
  }

  #take(tag: number, buffer: Buffer, start: number, end: number): void {
    switch (tag) {
      case tagCopyData:
        if (this.#ending === null) this.#takeFrame(decodeStreamFrame(buffer, start, end), end - start);
        break;
      case tagCopyBoth:
        this.#started?.resolve();
        break;
      case tagError:
        this.#takeError(databaseError(buffer, start, end));
        break;
      case tagCopyDone:
      case tagCommandComplete:
        // The server ends the stream by itself when it shuts down.
        this.#fail(disconnected(null));
        break;
      case tagReady:
        this.#ending?.();
        break;
      case tagNotice:
        this.#takeNotice(databaseError(buffer, start, end).message, end - start);
        break;
      case tagParameterStatus:
        break;
      default:
        throw new Failure(
          'message-unreadable',
          `the source sent a protocol message of kind 0x${tag.toString(16)} into the stream`,
        );
    }
  }

  #takeFrame(frame: StreamFrame, bytes: number): void {
    this.#frames.push(frame);
    this.#queuedBytes += bytes;
    if (frame.kind === 'keepalive' && frame.replyRequested) this.#replySoon();
  }

  #takeNotice(text: string, bytes: number): void {
    if (this.#options.notices !== true) this.#log.debug(`the source says: ${text}`);
    else if (this.#ending === null) this.#takeFrame({ kind: 'notice', text }, bytes);
  }

  #takeError(error: pg.DatabaseError): void {
    if (this.#started !== null) this.#started.reject(error);
    else this.#fail(slotFailure(error, 'stream', this.#options.slot));
  }

  /** The first reason counts: what follows a broken connection says only that it is broken. */
  #fail(failure: Failure): void {
    this.#failure ??= failure;
    this.#started?.reject(failure);
    this.#ending?.();
    this.#wake?.();
  }

  #arrival(signal: AbortSignal, waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        this.#wake = null;
        clearTimeout(timer);
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, waitMs);
      signal.addEventListener('abort', finish, { once: true });
      this.#wake = finish;
    });
  }

  #replySoon(): void {
    if (this.#reply !== null) return;
    const wait = this.#lastFeedbackMs + shortestReplyMs - performance.now();
    if (wait <= 0) {
      this.#writeFeedback();
      return;
    }
    this.#reply = setTimeout(() => {
      this.#reply = null;
      this.#writeFeedback();
    }, wait);
  }

  #writeFeedback(): void {
    if (this.#failure !== null || !this.#socket.writable) return;
    this.#lastFeedbackMs = performance.now();
    const positions = this.#options.feedback();
    const ask = this.#lastFeedbackMs - this.#heardMs > (this.#options.silentMs ?? silentMs) / 2;
    this.#socket.write(copyData(encodeStatusUpdate(positions, Date.now(), ask)));
    if (positions.flushed > this.#lastFlushed) failpoint('receive.acknowledged');
    this.#lastFlushed = positions.flushed;
  }

  async #close(): Promise<void> {
    this.#silence?.close();
    for (const timer of [this.#clock, this.#reply, this.#rest]) if (timer !== null) clearTimeout(timer);
    if (this.#failure === null && this.#socket.writable) {
      // What still arrives is thrown away: it was not acknowledged, and will come again. Reading it to the end lets
      // the server read our last words; closing a socket with unread bytes would throw them away.
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, goodbyeMs);
        this.#ending = () => {
          clearTimeout(timer);
          resolve();
        };
        this.#frames = [];
        this.#writeFeedback();
        this.#socket.write(copyDone);
        this.#socket.resume();
      });
    }
    this.#fail(new Failure('source-disconnected', 'the stream was closed'));
    this.#socket.resume();
    await this.#session.close();
  }
}

/** A server that has become a standby, or is not promoted yet: it may be the primary again in a moment. */
async function checkPrimary(session: Session): Promise<void> {
  const [row] = await session.query('select pg_catalog.pg_is_in_recovery()::text as standby');
  if (row?.['standby'] !== 'true') return;
  throw new Failure('source-disconnected', 'the source is a standby now: its changes cannot be followed', {
    remedy: 'Give the primary as --source.',
  });
}

function checkIdentity(identity: SourceIdentity, options: SlotStreamOptions): void {
  const expected = options.systemIdentifier;
  if (expected !== null && expected !== identity.systemIdentifier) {
    throw new Failure(
      'slot-lost',
      `the source is another server than the one this stream began on: its system identifier is ` +
        `${identity.systemIdentifier}, not ${expected}`,
      { remedy: 'Check --source, and --dir.' },
    );
  }
  checkTimeline(identity.timeline, options.timeline ?? null);
}

/** START_REPLICATION. Its grammar knows no escapes: a quote is doubled, a backslash is a backslash. */
export function startCommand(
  slot: string,
  startLsn: Lsn,
  options: readonly (readonly [name: string, value: string])[],
): string {
  const list = options.map(([name, value]) => `${quoteIdentifier(name)} '${value.replaceAll("'", "''")}'`);
  const arguments_ = list.length === 0 ? '' : ` (${list.join(', ')})`;
  return `START_REPLICATION SLOT ${quoteIdentifier(slot)} LOGICAL ${formatLsn(startLsn)}${arguments_}`;
}

function simpleQuery(sql: string): Buffer {
  const text = Buffer.from(`${sql}\0`);
  const message = Buffer.alloc(5 + text.length);
  message.write('Q');
  message.writeUInt32BE(4 + text.length, 1);
  text.copy(message, 5);
  return message;
}

function copyData(content: Buffer): Buffer {
  const message = Buffer.alloc(5 + content.length);
  message[0] = tagCopyData;
  message.writeUInt32BE(4 + content.length, 1);
  content.copy(message, 5);
  return message;
}

/** An ErrorResponse as the error pg would have made of it, so that it is recognised in one place. */
function databaseError(buffer: Buffer, start: number, end: number): pg.DatabaseError {
  const fields = readErrorFields(buffer, start, end);
  const error = new pg.DatabaseError(fields.get('M') ?? 'an error without words', end - start, 'error');
  return Object.assign(error, {
    code: fields.get('C') ?? '',
    severity: fields.get('V') ?? fields.get('S') ?? '',
  });
}

function disconnected(error: unknown): Failure {
  const why = error instanceof Error ? `: ${error.message}` : '';
  return new Failure('source-disconnected', `the connection to the source broke during the stream${why}`, {
    ...(error === null ? {} : { cause: error }),
  });
}
