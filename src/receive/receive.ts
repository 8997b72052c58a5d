/**
 * From the slot to the journal:
 *
 *   slot stream ─▶ stream reader (decode, widen, check) ─▶ journal.append ─▶ fsync, beside it ─▶ acknowledge
 *        ▲                                                                                           │
 *        └──────────────────────── status updates, on the stream's own clock ◀──────────────────────┘
 *
 * One batch is what arrived since the last, one write of the journal, three awaits. After a lost connection the
 * journal is made durable, a new connection starts behind exactly that, and a `connected` line voids what was
 * unfinished: it arrives again from its first change.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asFailure, Failure, throwIfStopped } from '../failure.js';
import { failpoint } from '../failpoint.js';
import type { Log } from '../log.js';
import type { StreamMessage } from '../model/message.js';
import { formatLsn, laterLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import type { Plugin, StreamRequest } from '../model/plugin.js';
import type { SourceTable, SourceTables } from '../model/source-table.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { knowsPluginOption } from '../postgres/slot.js';
import { SlotStream, type SlotBatch } from '../postgres/slot-stream.js';
import { fetchSourceTables } from '../postgres/source-tables.js';
import type { Acknowledge } from './acknowledge.js';
import { CatalogSession } from './catalog-session.js';
import { GroupedSync } from './grouped-sync.js';
import { Reconnect } from './reconnect.js';
import { ShutdownWait } from './shutdown-wait.js';
import { StreamReader } from './stream-reader.js';

/** What the receiver needs of the journal: `JournalWriter`. */
export interface JournalSink {
  append(batch: readonly StreamMessage[]): Promise<void>;
  sync(): Promise<void>;
  readonly written: Lsn;
  readonly durable: Lsn;
}

/** Where the stream comes from. */
export type ReceiveStream = {
  readonly conninfo: Conninfo;
  readonly slot: string;
  readonly publications: readonly string[];
  /** The followed tables at the slot's time; needed by plugins that do not describe tables themselves. */
  readonly tables?: readonly SourceTable[];
  /** The cluster the slot was made on; another one is refused. Null accepts any. */
  readonly systemIdentifier: string | null;
  /** The timeline the slot was made on; another one is refused. Null accepts any. */
  readonly timeline?: number | null;
  /** Everything up to here is held somewhere: the slot's consistent point, or the position row if that is later. */
  readonly startLsn: Lsn;
  /** 1000 unless told. */
  readonly feedbackIntervalMs?: number;
  readonly maxQueuedBytes?: number;
};

/** How far a run is. */
export type ReceiveProgress = {
  readonly written: Lsn;
  readonly durable: Lsn;
  /** The source's own position as its last message told, for the lag; never below what is written. */
  readonly source: Lsn;
};

export type ReceiveOptions = {
  readonly stream: ReceiveStream;
  readonly plugin: Plugin;
  readonly journal: JournalSink;
  readonly acknowledge: Acknowledge;
  /** The end position now, `zeroLsn` for none. It may be set or changed at any time. */
  readonly endpos: () => Lsn;
  /** True stops the reading while it holds (the journal's disk is at its cap); feedback goes on. */
  readonly brake?: () => boolean;
  /** Asked before more is read: what is waited for, not for long, when whoever reads the journal is a little behind. */
  readonly pace?: () => Promise<void> | null;
  readonly onProgress?: (progress: ReceiveProgress) => void;
  /** How long a lost source is tried again, in milliseconds: 10 minutes unless told; 0 gives up at once. */
  readonly reconnectForMs?: number;
  readonly signal: AbortSignal;
  readonly log: Log;
};

const defaultReconnectForMs = 600_000;

/** A process that was killed a moment ago still holds the slot for as long as its walsender needs to notice. */
const busyAtStartMs = 10_000;

/** How often an idle stream looks at the end position, the brake and held keepalives. */
const tickMs = 100;

/** One fsync per this time under load: a hundredth of what a disk can do, and well under a second of lag. */
const syncIntervalMs = 20;

const keepaliveIntervalMs = 1000;

/** How long a source that waits for us is left alone before it is asked again. */
const shutdownPauseMs = 5000;

/**
 * Receives until the end position is reached; resolves then, with everything durable and acknowledged, to the end
 * position that was reached: by now another may be set. Throws `stopped` when the signal is set, in the same state, and
 * otherwise what cannot be mended by trying again.
 */
export async function receive(options: ReceiveOptions): Promise<Lsn> {
  const run = new ReceiveRun(options);
  try {
    return await run.toEnd();
  } finally {
    await run.abandon();
  }
}

class ReceiveRun {
  readonly #options: ReceiveOptions;
  readonly #sync: GroupedSync;
  readonly #reconnect: Reconnect;
  #source: Lsn;
  #braked = false;

  constructor(options: ReceiveOptions) {
    this.#options = options;
    const { journal, acknowledge } = options;
    this.#source = this.#held();
    this.#sync = new GroupedSync({
      sync: () => journal.sync(),
      onSynced: () => {
        // An fsync may end while the append it covers has not yet returned to us.
        acknowledge.written(journal.written);
        acknowledge.durable(journal.durable);
        this.#tell();
      },
      intervalMs: syncIntervalMs,
    });
    this.#reconnect = new Reconnect({
      forMs: options.reconnectForMs ?? defaultReconnectForMs,
      busyAtStartMs,
    });
  }

  /** One connection after the other, until the end position, which is returned. */
  async toEnd(): Promise<Lsn> {
    const { journal, acknowledge, endpos, log, signal } = this.#options;
    // What an earlier run received counts before anything is asked of the source.
    acknowledge.received(this.#held());
    acknowledge.written(this.#held());
    await this.#sync.finish();
    acknowledge.durable(this.#held());
    for (;;) {
      throwIfStopped(signal);
      const end = endpos();
      if (end !== zeroLsn && end <= this.#held()) return this.#writeEnd(end);
      const { reached, failure } = await this.#oneConnection();
      if (failure === null) return reached;
      await this.#sync.finish();
      const pauseMs = this.#reconnect.pauseAfter(failure, performance.now());
      if (pauseMs === null) throw failure;
      log.warn(`${failure.message}; connecting again`, { durable: formatLsn(journal.durable) });
      await this.#pause(failure instanceof SourceWaits ? shutdownPauseMs : pauseMs);
    }
  }

  async abandon(): Promise<void> {
    await this.#sync.abandon();
  }

  /** Reads one connection. */
  async #oneConnection(): Promise<ConnectionEnd> {
    let stream: SlotStream | null = null;
    await using catalog = new CatalogSession(() => this.#connect());
    try {
      // Everything written is durable here: what is not would come a second time.
      const startLsn = this.#held();
      const about = await this.#ask(catalog);
      stream = await this.#open(startLsn, about);
      const reached = await this.#read(stream, startLsn, { about, catalog });
      return { reached: await this.#writeEnd(reached), failure: null };
    } catch (error) {
      if (this.#options.signal.aborted) await this.#sync.finish();
      return { reached: null, failure: asFailure(error) };
    } finally {
      // The last words on this connection are what is durable now.
      await stream?.close();
    }
  }

  /** What the plugin must know of the source before its stream can be asked for. */
  async #ask(catalog: CatalogSession): Promise<About> {
    const { stream, plugin } = this.#options;
    if (plugin.describesTables) return { tables: null, knownOptions: new Set() };
    return catalog.ask(async (session) => {
      const knownOptions = new Set<string>();
      for (const option of plugin.newerOptions) {
        if (await knowsPluginOption(session, stream.slot, option)) knownOptions.add(option[0]);
      }
      return { tables: await this.#fetchTables(session), knownOptions };
    });
  }

  #connect(): Promise<Session> {
    const { stream, signal, log } = this.#options;
    return connect(stream.conninfo, { side: 'source', applicationName: 'walferry receive', signal, log });
  }

  async #fetchTables(session: Session): Promise<SourceTables> {
    const { tables: now, seen } = await fetchSourceTables(session);
    return { followed: this.#options.stream.tables ?? now, now, seen };
  }

  async #open(startLsn: Lsn, about: About): Promise<SlotStream> {
    const { stream, plugin, acknowledge, signal, log } = this.#options;
    const { publications } = stream;
    return SlotStream.open({
      conninfo: stream.conninfo,
      slot: stream.slot,
      plugin: plugin.name,
      startLsn,
      pluginOptions: (serverVersion) => plugin.options({ serverVersion, publications, ...about }),
      settings: (serverVersion) => plugin.settings({ serverVersion, publications, ...about }),
      notices: !plugin.describesTables,
      feedback: () => acknowledge.positions(),
      systemIdentifier: stream.systemIdentifier,
      timeline: stream.timeline ?? null,
      signal,
      log,
      ...(stream.feedbackIntervalMs === undefined ? {} : { feedbackIntervalMs: stream.feedbackIntervalMs }),
      ...(stream.maxQueuedBytes === undefined ? {} : { maxQueuedBytes: stream.maxQueuedBytes }),
    });
  }

  /**
   * Batch after batch until the end position, which is returned. It is asked for once a batch: set anew while that one
   * is written, it is another end position, up to which nothing was received yet.
   */
  async #read(stream: SlotStream, startLsn: Lsn, { about, catalog }: Asked): Promise<Lsn> {
    const { plugin, acknowledge, endpos, signal, log } = this.#options;
    const { publications } = this.#options.stream;
    const reader = new StreamReader({
      decoder: plugin.createDecoder({ serverVersion: stream.serverVersion, publications, ...about }),
      startLsn,
      nextXid: stream.identity.nextXid,
      keepaliveIntervalMs,
    });
    const shutdown = new ShutdownWait(acknowledge.mode);
    log.info(`receiving changes from ${formatLsn(startLsn)} on`, { slot: this.#options.stream.slot });
    await this.#append([{ kind: 'connected', lsn: startLsn }]);
    for (;;) {
      const passed = await this.#whileBraked();
      if (passed !== null) return passed;
      await this.#pace();
      const batch = await stream.next(signal, tickMs);
      if (batch.frames.length > 0) {
        this.#reconnect.arrived();
        failpoint('receive.batch-received');
      }
      const end = endpos();
      let { messages, reached, unread } = reader.read(batch.frames, end, performance.now());
      this.#noteSource(batch, reader.position);
      acknowledge.received(reader.position);
      await this.#append(messages);
      while (unread.length > 0) {
        reader.describe(await catalog.ask((session) => this.#fetchTables(session)));
        ({ messages, reached, unread } = reader.read(unread, end, performance.now()));
        acknowledge.received(reader.position);
        await this.#append(messages);
        // The transaction is in the log and not yet seen by others: its commit waits for a synchronous standby.
        if (messages.length === 0 && unread.length > 0) await this.#pause(tickMs);
      }
      if (reached) return end;
      if (shutdown.mustLeave(batch, acknowledge.positions().flushed, performance.now()))
        throw new SourceWaits();
    }
  }

  /** One write, and an fsync soon when a commit or keepalive went with it. */
  async #append(messages: readonly StreamMessage[]): Promise<void> {
    this.#sync.check();
    if (messages.length === 0) return;
    const { journal, acknowledge } = this.#options;
    await journal.append(messages);
    acknowledge.written(journal.written);
    if (journal.written > journal.durable) this.#sync.request();
    this.#tell();
  }

  /** Up to where everything is in the journal, or was safe before it began. */
  #held(): Lsn {
    return laterLsn(this.#options.journal.written, this.#options.stream.startLsn);
  }

  /** The line that says that this end position was reached, and everything durable. */
  async #writeEnd(lsn: Lsn): Promise<Lsn> {
    const { journal, log } = this.#options;
    await journal.append([{ kind: 'endpos', lsn }]);
    await this.#sync.finish();
    log.info(`received everything up to the end position ${formatLsn(lsn)}`);
    return lsn;
  }

  #noteSource(batch: SlotBatch, position: Lsn): void {
    const last = batch.frames.at(-1);
    this.#source = laterLsn(
      this.#source,
      last?.kind === 'keepalive' ? laterLsn(position, last.lsn) : position,
    );
  }

  #tell(): void {
    const { journal, onProgress } = this.#options;
    onProgress?.({ written: journal.written, durable: journal.durable, source: this.#source });
  }

  /** Whoever reads the journal is waited for, but not by one who is to stop. */
  async #pace(): Promise<void> {
    const waiting = this.#options.pace?.() ?? null;
    if (waiting === null) return;
    const { signal } = this.#options;
    throwIfStopped(signal);
    let stop = () => {};
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    signal.addEventListener('abort', stop, { once: true });
    try {
      await Promise.race([waiting, stopped]);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /**
   * The socket is paused by itself once its queue is full; status updates go on meanwhile. Nothing may be applied any more
   * that would let it go on: so an end position that was passed is returned.
   */
  async #whileBraked(): Promise<Lsn | null> {
    const { brake, log, endpos } = this.#options;
    if (brake === undefined) return null;
    while (brake()) {
      const end = endpos();
      if (end !== zeroLsn && end <= this.#held()) return end;
      if (!this.#braked) log.warn('reading from the slot rests: the transform files have reached their cap');
      this.#braked = true;
      this.#sync.check();
      await this.#pause(tickMs);
    }
    if (this.#braked) log.info('reading from the slot goes on');
    this.#braked = false;
    return null;
  }

  async #pause(milliseconds: number): Promise<void> {
    const { signal } = this.#options;
    await sleep(milliseconds, undefined, { signal }).catch(() => {});
    throwIfStopped(signal);
  }
}

/** What was asked of the source for one connection. */
type About = Pick<StreamRequest, 'tables' | 'knownOptions'>;

/** The same, and where more is asked. */
type Asked = { readonly about: About; readonly catalog: CatalogSession };

/** The end position was reached, or why the connection did not last. */
type ConnectionEnd =
  | { readonly reached: Lsn; readonly failure: null }
  | { readonly reached: null; readonly failure: Failure };

/** The source waits for an acknowledgement that cannot come now: it is left alone for a while. */
class SourceWaits extends Failure {
  constructor() {
    super(
      'source-disconnected',
      'the source waits for changes to be applied, probably because it is shutting down',
    );
  }
}
