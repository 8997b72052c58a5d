/**
 * Asks the source every few seconds where it stands and how the slot does, over one connection of its own, and emits a
 * heartbeat while it is idle. Nothing of the stream depends on it: a source that does not answer is asked again later.
 *
 * What follows from the slot's headroom is said here, once when it changes and again while it lasts; the copy asks
 * `inDanger` before it takes its next table (clone/brake.ts).
 */
import type { SlotStanding } from '../catalog/run-status.js';
import type { Log } from '../log.js';
import { judgeSlot, slotWindowMs, type SlotReading, type SlotVerdict } from '../model/slot-headroom.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { emitHeartbeat } from '../postgres/logical-message.js';
import { fetchSourceStanding, type SourceStanding } from '../postgres/source-standing.js';
import { sayRetained, slotWarning } from './slot-warning.js';
import type { StreamMeter } from './stream-meter.js';

export type SourceWatchOptions = {
  readonly source: Conninfo;
  readonly slot: string;
  readonly meter: StreamMeter;
  /** After so long without a commit a heartbeat is emitted, in milliseconds; 0: never. */
  readonly heartbeatMs: number;
  /** Whether an end position is set: nothing is written to the source any more that would come after it. */
  readonly ending: () => boolean;
  readonly log: Log;
};

const lookEveryMs = 5000;

/** While the danger lasts it is said again this often: a line of an hour ago has scrolled away. */
const warnEveryMs = 300_000;

/** An answer that takes longer than this tells nothing about now, and over a network that was cut none ever comes. */
const answerMs = 10_000;

export class SourceWatch implements AsyncDisposable {
  readonly #options: SourceWatchOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #closed = new AbortController();
  readonly #readings: SlotReading[] = [];
  #session: Session | null = null;
  #looking: Promise<void> | null = null;
  #verdict: SlotVerdict | null = null;
  #warnedAtMs = 0;
  #saidRetained = 0;
  #troubled = false;
  #beatAtMs = 0;

  constructor(options: SourceWatchOptions, everyMs = lookEveryMs) {
    this.#options = options;
    this.#timer = setInterval(() => this.look(), everyMs).unref();
    this.look();
  }

  /** Whether the slot would be lost soon at this pace. */
  get inDanger(): boolean {
    return this.#verdict?.kind === 'danger';
  }

  /** What the source said last; null before it did. */
  get slot(): SlotStanding | null {
    const last = this.#readings.at(-1);
    const verdict = this.#verdict;
    if (last === undefined || verdict === null) return null;
    return {
      name: this.#options.slot,
      ...last,
      verdict: verdict.kind,
      secondsLeft: verdict.kind === 'safe' || verdict.kind === 'danger' ? verdict.secondsLeft : null,
    };
  }

  /** Begins a look, unless one is under way. */
  look(): void {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#closed.abort();
    // Closing cuts off what is still being asked: an end of the run must not wait for an answer that never comes.
    await this.#session?.close();
    await this.#looking;
    await this.#session?.close();
  }

  async #look(): Promise<void> {
    const { log, meter, slot } = this.#options;
    try {
      const session = await this.#connected();
      const late = setTimeout(() => void session.close(), answerMs);
      try {
        const standing = await fetchSourceStanding(session, slot);
        meter.asked(standing.lsn, standing.nowMs);
        this.#judge(standing);
        await this.#beat(session, standing);
      } finally {
        clearTimeout(late);
      }
      this.#troubled = false;
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      if (!this.#troubled) log.notice(`the source cannot be asked now: ${String(error)}`);
      this.#troubled = true;
      await this.#session?.close();
      this.#session = null;
    }
  }

  async #connected(): Promise<Session> {
    if (this.#session !== null && this.#session.lost === null) return this.#session;
    this.#session = await connect(this.#options.source, {
      side: 'source',
      applicationName: 'walferry watch',
      retryForMs: 0,
      signal: this.#closed.signal,
    });
    return this.#session;
  }

  async #beat(session: Session, { standby }: SourceStanding): Promise<void> {
    const { heartbeatMs, meter, ending } = this.#options;
    const due = heartbeatMs > 0 && !standby && !ending() && meter.quietMs >= heartbeatMs;
    if (!due || Date.now() - this.#beatAtMs < heartbeatMs) return;
    this.#beatAtMs = Date.now();
    await emitHeartbeat(session);
  }

  #judge({ slot }: SourceStanding): void {
    if (slot === null) return;
    const atMs = Date.now();
    this.#readings.push({ atMs, ...slot });
    while ((this.#readings[0]?.atMs ?? atMs) < atMs - slotWindowMs) this.#readings.shift();
    const before = this.#verdict;
    this.#verdict = judgeSlot(this.#readings);
    this.#say(before, this.#verdict, slot.retainedBytes);
  }

  #say(before: SlotVerdict | null, verdict: SlotVerdict | null, retainedBytes: number): void {
    const { log, slot } = this.#options;
    const warning = slotWarning(slot, verdict, retainedBytes);
    if (
      warning !== null &&
      (before?.kind !== verdict?.kind || Date.now() - this.#warnedAtMs >= warnEveryMs)
    ) {
      this.#warnedAtMs = Date.now();
      log.warn(warning);
    }
    if (before?.kind === 'danger' && verdict?.kind === 'safe') {
      log.info(`the replication slot "${slot}" has room again`);
    }
    const retained = sayRetained(slot, verdict, retainedBytes, this.#saidRetained);
    if (retained === null) return;
    this.#saidRetained = retained.saidBytes;
    log.warn(retained.message);
  }
}
