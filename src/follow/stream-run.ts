/**
 * One stream at work: slot → journal → target, with the sentinel that steers it. Receiving and applying are two jobs
 * over one journal, each of which may run alone; they meet here and nowhere else.
 */
import { loadStream, type StreamRecord } from '../catalog/stream.js';
import { apply, connectApplier } from '../apply/apply.js';
import { SpareTarget } from '../clone/spare-target.js';
import { Failure } from '../failure.js';
import { JournalReader } from '../journal/reader.js';
import { expectJournalEnd } from '../journal/recover.js';
import { JournalWriter } from '../journal/writer.js';
import type { Log } from '../log.js';
import { formatLsn, laterLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import type { Plugin, PluginName } from '../model/plugin.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { Acknowledge, type AcknowledgeMode } from '../receive/acknowledge.js';
import { receive, type JournalSink } from '../receive/receive.js';
import type { Catalog } from '../catalog/database.js';
import { Beginning } from './beginning.js';
import { completeFollowed } from './complete.js';
import { pluginInScope } from './filter-scope.js';
import { journalCap } from './journal-cap.js';
import { decideAtEnd, endposReached, LastAsked, SentinelWatch } from './sentinel-watch.js';
import { meteredReader } from './metered-reader.js';
import type { StreamReport } from './run-reporter.js';
import { printLines, type WriteText } from './line-pipe.js';
import { Pruning } from './pruning.js';
import { PublicationWatch } from './publication-watch.js';
import { SourceWatch } from './source-watch.js';
import { StreamMeter } from './stream-meter.js';
import { checkSlot, expectBehind, fetchStanding } from './stream-standing.js';
import { askThrough, TargetAhead } from './target-ahead.js';
import { together } from './together.js';
import { TouchTracker } from './touch-tracker.js';

/** How a stream is run; nothing here changes what arrives on the target. */
export type StreamTuning = {
  /** The plugin that the stream's slot has. */
  readonly loadPlugin: (name: PluginName) => Promise<Plugin>;
  readonly acknowledge: AcknowledgeMode;
  /** Bytes of transform files at which the slot is not read on; 0: no limit, null: by the free space. */
  readonly maxJournalBytes: number | null;
  /** After so long without a commit a heartbeat is emitted on the source, in milliseconds; 0: never. */
  readonly heartbeatMs: number;
};

export type FollowProgress = {
  /** The source's own position as its last message told. */
  readonly source: Lsn;
  readonly written: Lsn;
  readonly durable: Lsn;
  readonly applied: Lsn;
  readonly endpos: Lsn;
};

export type StreamRunOptions = {
  /** Null where nothing is received. */
  readonly source: Conninfo | null;
  /** Null where nothing is applied: then only the journal says what is safe. */
  readonly target: Conninfo | null;
  /** The work directory. */
  readonly directory: string;
  /** Where its transform files lie. */
  readonly journalDirectory: string;
  readonly stream: StreamRecord;
  readonly tuning: StreamTuning;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Where transform files come from that another process receives: until it has ended there may be more of them. */
  readonly input?: { readonly ended: boolean; readonly capBytes: number } | undefined;
  readonly onProgress?: ((progress: FollowProgress) => void) | undefined;
  /** Whether changes are applied as soon as the stream is opened, and not behind a copy. */
  readonly appliesAtOnce: boolean;
  /** Whether a clone has more to do on the target behind the last change, and says when the application may write. */
  readonly ofClone?: boolean | undefined;
  /** The session for what follows the last change; opened ahead while a cutover is waited for. */
  readonly spare?: SpareTarget | undefined;
  /** Told when changes begin to be applied, and again when they go on behind an end position. */
  readonly onApplying?: (() => void) | undefined;
  /** Told when the last change is applied. */
  readonly onApplied?: (() => void) | undefined;
};

const pruneEveryMs = 10_000;
const goesOn = 'the end position was taken back or moved: the stream goes on';

/**
 * How long the receiver waits for an applier of this process that is about to begin. What is written before it reads
 * along must be read back from the files, at several times the cost of taking it from memory.
 */
const applierBeginsMs = 2000;

/** As long as a lost source: a managed server takes minutes to fail over. */
const retryTargetForMs = 600_000;

/** Opens the journal and compares it with catalog, slot and target. Throws `journal-damaged`, `slot-lost`, `slot-ahead`, … */
export async function openStreamRun(options: StreamRunOptions): Promise<StreamRun> {
  const { source, target, stream, log, signal } = options;
  const watch = new SentinelWatch(options.directory, log);
  let ahead: TargetAhead | null = null;
  try {
    const { flushLsn: onceDurable, apply: isEnabled } = watch.sentinel;
    const session = target === null ? null : await connectApplier(target, { log, signal });
    if (session !== null) ahead = new TargetAhead(session);
    const standing = session === null ? null : await fetchStanding(session, stream);
    const applied = standing?.applied ?? watch.sentinel.replayLsn;
    if (!options.appliesAtOnce) await ahead?.close();
    const writer = source === null ? null : await openWriter(options, onceDurable);
    // Of files that another process received it is not known here how far they must go.
    if (writer === null && options.input === undefined)
      await expectJournalEnd(options.journalDirectory, onceDurable, signal);
    try {
      if (source !== null && writer !== null) await checkSlot(source, stream, writer, applied, log, signal);
      const { journalDirectory, tuning } = options;
      const cap =
        writer === null
          ? (options.input?.capBytes ?? Infinity)
          : await journalCap(tuning.maxJournalBytes, journalDirectory, writer.bytes, log);
      // While tables are copied, here or by another process, there may be a later one.
      const through = options.appliesAtOnce && isEnabled ? (standing?.through ?? null) : null;
      return new StreamRun(options, { watch, writer, applied, through, capBytes: cap, ahead });
    } catch (error) {
      await writer?.close();
      throw error;
    }
  } catch (error) {
    await ahead?.close();
    watch.close();
    throw error;
  }
}

/** What an opened stream begins with. */
type Opened = {
  readonly watch: SentinelWatch;
  readonly writer: JournalWriter | null;
  readonly applied: Lsn;
  /** Behind the last snapshot that tables were copied from, where none is copied any more; else null. */
  readonly through: Lsn | null;
  readonly capBytes: number;
  readonly ahead: TargetAhead | null;
};

/** The stream of a work directory that must have one. */
export function requireStream(catalog: Catalog): StreamRecord {
  const stream = loadStream(catalog);
  if (stream !== null) return stream;
  throw new Failure('source-setup', `no stream was set up in ${catalog.directory}`, {
    remedy: 'Run `walferry stream setup` first, or name the directory of the stream with --dir.',
  });
}

function openWriter(
  { stream, journalDirectory, log, signal }: StreamRunOptions,
  onceDurable: Lsn,
): Promise<JournalWriter> {
  return JournalWriter.open({
    directory: journalDirectory,
    timeline: stream.timeline,
    segmentBytes: stream.walSegmentBytes,
    header: {
      systemIdentifier: stream.key.systemIdentifier,
      database: stream.key.database,
      slot: stream.slot,
      plugin: stream.plugin,
    },
    onceDurable,
    log,
    signal,
  });
}

/** An opened stream. `receive` and `apply` may run side by side, each once at a time. */
export class StreamRun {
  readonly watch: SentinelWatch;
  readonly #options: StreamRunOptions;
  readonly #writer: JournalWriter | null;
  readonly #acknowledge: Acknowledge;
  readonly #capBytes: number;
  readonly #meter: StreamMeter;
  #reader: JournalReader | null = null;
  readonly #beginning = new Beginning();
  #sourceWatch: SourceWatch | null = null;
  /** Null where nothing is received. */
  readonly #publications: PublicationWatch | null;
  #resting = false;
  #touches: TouchTracker | null = null;
  readonly #spare: SpareTarget;
  readonly #ahead: TargetAhead | null;
  readonly #through: Lsn | null;
  #source: Lsn;
  /** The end of the last whole transaction in the files. */
  #lastCommit: Lsn;
  #applied: Lsn;
  readonly #pruning: Pruning;

  constructor(options: StreamRunOptions, { watch, writer, applied, through, capBytes, ahead }: Opened) {
    this.#options = options;
    this.#ahead = ahead;
    this.#through = through;
    this.#spare = options.spare ?? new SpareTarget();
    this.#capBytes = capBytes;
    this.watch = watch;
    this.#writer = writer;
    this.#applied = applied;
    const { journalDirectory, source, log } = options;
    this.#pruning = new Pruning({
      directory: journalDirectory,
      writer,
      capBytes,
      applied: () => this.#appliedNow(),
      log,
    });
    const applies = options.target !== null;
    this.#publications =
      source === null ? null : new PublicationWatch({ ...options, source, sentinel: watch, applies });
    const durable = laterLsn(writer?.durable ?? options.stream.startLsn, options.stream.startLsn);
    this.#source = durable;
    this.#lastCommit = durable;
    this.#acknowledge = new Acknowledge(options.tuning.acknowledge, { durable, applied });
    this.#meter = new StreamMeter({
      durable,
      applied,
      receives: writer !== null,
      applies,
    });
    // Without a target it is another process that knows, and tells the sentinel.
    if (applies) watch.record({ replayLsn: applied });
  }

  get applied(): Lsn {
    return this.#applied;
  }

  /** Whether the applier has taken every line that is there, and waits for more. */
  get starves(): boolean {
    return this.#reader?.starves === true;
  }

  /** Removes applied transform files now. */
  readonly prune = (): Promise<void> => this.#pruning.begin();

  /** For whoever tells how far the run is. */
  get report(): StreamReport {
    return {
      standing: () =>
        this.#meter.standing({
          endpos: this.watch.endpos() === zeroLsn ? null : formatLsn(this.watch.endpos()),
          journalBytes: this.#writer?.bytes ?? null,
          resting: this.#resting,
        }),
      slot: () => this.#sourceWatch?.slot ?? null,
    };
  }

  /** Whether the source will drop what the slot needs soon: time for others to hold back. */
  readonly slotInDanger = (): boolean => this.#sourceWatch?.inDanger === true;

  /**
   * Reads the slot into the journal until the end position is reached. Beside an applier in this process, which may
   * still be far behind, it does not end by itself: it waits there, and goes on when the end position is taken back or
   * moved, until the signal says that all is applied.
   */
  async receive(signal: AbortSignal): Promise<void> {
    const { source, stream, log } = this.#options;
    const writer = this.#writer;
    if (source === null || writer === null || this.#publications === null)
      throw new Failure('internal', 'a stream without a source cannot receive');
    const publications = this.#publications;
    const stop = AbortSignal.any([signal, publications.altered]);
    this.#sourceWatch = new SourceWatch({
      source,
      slot: stream.slot,
      meter: this.#meter,
      heartbeatMs: this.#options.tuning.heartbeatMs,
      ending: () => this.watch.endpos() !== zeroLsn,
      log,
    });
    try {
      for (;;) {
        await publications.receives(laterLsn(writer.written, stream.startLsn), stop);
        const reached = await this.#receiveToEnd(source, writer, stop);
        await publications.received(reached, stop);
        const decide = () => decideAtEnd(this.watch.endpos(), reached, this.watch.cutover);
        if (this.#options.target !== null) await this.watch.until(() => decide() === 'go-on', stop);
        if (decide() !== 'go-on') return;
      }
    } catch (error) {
      throw publications.altered.aborted ? publications.altered.reason : error;
    } finally {
      publications.close();
      await this.#sourceWatch[Symbol.asyncDispose]();
    }
  }

  /** Returns the end position that was reached. */
  async #receiveToEnd(source: Conninfo, writer: JournalWriter, signal: AbortSignal): Promise<Lsn> {
    const { stream, tuning, log } = this.#options;
    return receive({
      stream: {
        conninfo: source,
        slot: stream.slot,
        publications: stream.publications,
        ...(stream.tables === null ? {} : { tables: stream.tables }),
        systemIdentifier: stream.key.systemIdentifier,
        timeline: stream.timeline,
        startLsn: laterLsn(stream.startLsn, this.#startOfEmptyJournal(writer)),
      },
      plugin: pluginInScope(this.#options.directory, await tuning.loadPlugin(stream.plugin)),
      journal: this.#notingCommits(writer),
      acknowledge: this.#acknowledge,
      endpos: this.watch.endpos,
      brake: () => {
        // Where another process applies, the sentinel tells how far it is.
        this.#acknowledge.applied(this.#appliedNow());
        return (this.#resting = this.#mustRest(writer));
      },
      pace: () => this.#beginning.awaited ?? writer.untilReaderIsNear(),
      onProgress: ({ written, durable, source: position }) => {
        this.#source = position;
        this.#meter.receivedUpTo({ written, durable, source: position });
        this.watch.record({ writeLsn: written, flushLsn: durable });
        this.#tell();
      },
      signal,
      log,
    });
  }

  /** As `receive`; prints the lines of the transform files besides, from the oldest on. */
  async receiveAndPrint(signal: AbortSignal, write: WriteText): Promise<void> {
    const writer = this.#writer;
    if (writer === null) throw new Failure('internal', 'a stream without a source cannot receive');
    const ended = new AbortController();
    await together(signal, [
      async (stop) => {
        try {
          await this.receive(stop);
        } finally {
          ended.abort();
        }
      },
      (stop) =>
        printLines({
          directory: this.#options.journalDirectory,
          writer,
          write,
          ended: ended.signal,
          signal: stop,
        }),
    ]);
  }

  /**
   * Applies what the journal holds, once the sentinel allows it. With a receiver in this process it goes on until the
   * end position; without, until the end of the files or the end position. Returns whether the end position was reached.
   */
  async apply(signal: AbortSignal): Promise<boolean> {
    const { target, stream, log } = this.#options;
    if (target === null) throw new Failure('internal', 'a stream without a target cannot apply');
    await this.#waitUntilEnabled(signal);
    this.watch.expectComplete({ ofClone: this.#options.ofClone === true });
    const touches = new TouchTracker(this.#options.directory, log);
    this.#touches = touches;
    const pruning = setInterval(() => void this.#pruning.begin(), pruneEveryMs);
    try {
      this.#beginning.expect(applierBeginsMs);
      for (;;) {
        this.watch.forgetWritable();
        this.#options.onApplying?.();
        const reached = await this.#applyToEnd(target, signal);
        if (reached === null) return false;
        // Where nothing is received, whoever does says what is lost.
        await this.#publications?.expectCarried(reached, signal);
        this.watch.recordReached(reached);
        if ((await this.#hold(target, reached, signal)) === 'go-on') continue;
        // The last change is applied: what would have done it again may do its own work now.
        this.#options.onApplied?.();
        const { key } = stream;
        const { watch } = this;
        const whole = this.#options.ofClone !== true;
        const spare = this.#spare;
        const work = { target, key, watch, reached, whole, spare, log, signal };
        const completed = await completeFollowed(work);
        if (completed === 'finish') return true;
        log.info(goesOn);
      }
    } finally {
      this.#beginning.over();
      clearInterval(pruning);
      this.#touches = null;
      touches.close();
      await this.#pruning.settled();
      await this.#pruning.begin();
    }
  }

  /** Returns the end position that was reached; null at the end of the files. */
  async #applyToEnd(target: Conninfo, signal: AbortSignal): Promise<Lsn | null> {
    const { stream, log } = this.#options;
    const { session, through } = await askThrough(this.#ahead, this.#through, {
      target,
      key: stream.key,
      log,
      signal,
    });
    const endpos = new LastAsked(() => expectBehind(this.watch.endpos(), through));
    try {
      if (endposReached(endpos.ask(), this.#applied)) {
        log.info(
          `Current endpos ${formatLsn(endpos.last)} was previously reached at ${formatLsn(this.#applied)}`,
        );
        await session?.close();
        return endpos.last;
      }
    } catch (error) {
      await session?.close();
      throw error;
    }
    log.info(`applying changes from ${formatLsn(this.#applied)} on`, { stream: stream.key.stream });
    const { reason, applied } = await apply({
      openSource: async (from) => {
        this.#touches?.opened(from);
        return meteredReader(await this.#openReader(from), this.#meter);
      },
      ...(this.#touches === null ? {} : { touches: this.#touches }),
      awaited: () => this.#touches?.eager ?? false,
      target,
      session,
      key: stream.key,
      endpos: endpos.ask,
      signal,
      log,
      guard: true,
      onApplied: (lsn) => this.#noteApplied(lsn),
      retryForMs: retryTargetForMs,
    });
    this.#noteApplied(applied);
    if (reason !== 'endpos') return null;
    log.info(`Current endpos ${formatLsn(endpos.last)} has been reached at replay_lsn ${formatLsn(applied)}`);
    return endpos.last;
  }

  /** The applier's wait at the end position for a cutover, which is told that everything is on the target. */
  async #hold(target: Conninfo, reached: Lsn, signal: AbortSignal): Promise<'go-on' | 'finish'> {
    const { log } = this.#options;
    const decide = () => decideAtEnd(this.watch.endpos(), reached, this.watch.cutover);
    let preparing: Promise<void> | null = null;
    if (decide() === 'hold') {
      log.info('at the end position: waiting for `walferry cutover`, which is at work');
      this.#touches?.save();
      this.watch.recordDrained(reached);
      // While the cutover compares. What keeps us from it is told by whoever needs the session.
      preparing = this.#spare.prepare({ target, log, signal }).catch(() => {});
    }
    {
      using _reminder = this.watch.sayWhenAbandoned();
      await this.watch.until(() => decide() !== 'hold', signal);
    }
    await preparing;
    if (decide() !== 'go-on') return 'finish';
    await this.#spare.close();
    log.info(goesOn);
    return 'go-on';
  }

  async close(): Promise<void> {
    await this.#pruning.settled();
    await this.#ahead?.close();
    await this.#writer?.close();
    // A clone goes on with its own.
    if (this.#options.spare === undefined) await this.#spare.close();
    this.watch.close();
  }

  /** A journal that was begun behind a position row: what lies before it is applied and need not come again. */
  #startOfEmptyJournal(writer: JournalWriter): Lsn {
    return writer.recovered === null ? this.#applied : this.#options.stream.startLsn;
  }

  async #waitUntilEnabled(signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    if (this.watch.sentinel.apply) return;
    log.info('Waiting until the sentinel apply is enabled (`walferry stream sentinel set apply`)');
    await this.watch.until(
      (sentinel) => sentinel.apply || endposReached(sentinel.endpos, this.#applied),
      signal,
    );
    if (this.watch.sentinel.apply) log.info('The sentinel has enabled applying changes');
  }

  async #openReader(from: Lsn): Promise<JournalReader> {
    const { journalDirectory, input } = this.#options;
    const receives = this.#writer !== null;
    const reader = await JournalReader.open({
      directory: journalDirectory,
      get follow() {
        return receives || input?.ended === false;
      },
      from,
      ...(this.#writer === null ? {} : { writer: this.#writer }),
    });
    const oldest = reader.oldestLsn;
    if (oldest !== null && from < oldest) {
      await reader.close();
      // DESIGN 11.15: a target that failed over may come back with an older position row.
      throw new Failure(
        'target-set-back',
        `the target's position is ${formatLsn(from)}, and the transform files reach back only to ${formatLsn(oldest)}: the target was set back`,
      );
    }
    this.#reader = reader;
    this.#beginning.over();
    // The position row is the truth, also where it went back: what lies behind it is needed again, and must not be pruned.
    this.#applied = from;
    this.watch.record({ replayLsn: from });
    this.#meter.appliedUpTo(from);
    return reader;
  }

  #noteApplied(lsn: Lsn): void {
    this.#applied = laterLsn(this.#applied, lsn);
    this.#acknowledge.applied(this.#applied);
    this.#meter.appliedUpTo(this.#applied);
    this.#touches?.applied(lsn);
    this.watch.record({ replayLsn: this.#applied });
    this.#tell();
  }

  /**
   * The brake: the files have reached their cap. Resting helps as long as a whole transaction is still to be applied, so
   * that files become free. It would never end
   *   1. when every whole transaction is applied: what is left is a part of one, or the newest file, which stays;
   *   2. in the middle of a transaction whose changes the applier waits for. Then both go in step, however large it is.
   */
  #mustRest(writer: JournalWriter): boolean {
    if (writer.bytes <= this.#capBytes) return false;
    void this.#pruning.begin();
    if (this.#appliedNow() >= this.#lastCommit) return false; // 1
    return !(writer.unfinished && this.#reader?.level === true); // 2
  }

  /** The writer, with an eye on the last whole transaction: keepalives, which move `written` too, prove nothing here. */
  #notingCommits(writer: JournalWriter): JournalSink {
    return {
      append: (batch) => {
        const commit = batch.findLast((message) => message.kind === 'commit');
        if (commit?.kind === 'commit') this.#lastCommit = commit.endLsn;
        this.#meter.receiving(batch);
        return writer.append(batch);
      },
      sync: () => writer.sync(),
      get written() {
        return writer.written;
      },
      get durable() {
        return writer.durable;
      },
    };
  }

  /** What the target holds, as far as it is known here. */
  #appliedNow(): Lsn {
    if (this.#options.target !== null) return this.#applied;
    return laterLsn(this.#applied, this.watch.sentinel.replayLsn);
  }

  #tell(): void {
    const { durable, written } = this.#writer ?? { durable: this.#applied, written: this.#applied };
    this.#options.onProgress?.({
      source: this.#source,
      written,
      durable,
      applied: this.#applied,
      endpos: this.watch.endpos(),
    });
  }
}
