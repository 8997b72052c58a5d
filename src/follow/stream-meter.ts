/**
 * Where the positions of one stream stand, in bytes and in time. Receiver and applier tell it what passes them, once a
 * batch; it computes nothing until somebody reads it. Lag itself is decided in model/lag.ts.
 */
import type { PositionStanding, StreamStanding } from '../catalog/run-status.js';
import { CommitClock, lagMs } from '../model/lag.js';
import { formatLsn, laterLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import type { StreamMessage } from '../model/message.js';

/** Times on the wire are microseconds since 2000-01-01 UTC. */
const epoch2000Ms = Date.UTC(2000, 0, 1);

function toMs(time: bigint): number {
  return Number(time / 1000n) + epoch2000Ms;
}

/** One of the three positions, and when it was last level with the source, by the source's clock. */
type Tracked = { lsn: Lsn; levelAtMs: number | null };

export type StreamMeterStart = {
  /** Everything up to here is on disk already, and on the target. */
  readonly durable: Lsn;
  readonly applied: Lsn;
  /** Whether this process receives, and whether it applies. */
  readonly receives: boolean;
  readonly applies: boolean;
};

export class StreamMeter {
  readonly #start: StreamMeterStart;
  /** Commits that were received, and commits that were read from the files by the applier. */
  readonly #received = new CommitClock();
  readonly #read = new CommitClock();
  readonly #written: Tracked;
  readonly #durable: Tracked;
  readonly #applied: Tracked;
  #source: Lsn;
  #heardAtMs: number;
  #clockOffsetMs = 0;
  #commitAtMs: number;
  /** When the last commit that arrived was made, by the source's clock. */
  #lastMadeAtMs: number | null = null;
  /** Whether the source itself told where it stands: what arrives says no more than how far it has sent. */
  #asked = false;
  /** The end of the last transaction that changes something: an applier that is there has nothing left to do. */
  #lastChange: Lsn;
  /** Changes have arrived whose commit has not. */
  #changing = false;
  #readUpTo: Lsn = zeroLsn;
  /** Up to here there was nothing left to apply at some time, whatever the position row says. */
  #nothingLeft: Lsn = zeroLsn;

  constructor(start: StreamMeterStart) {
    this.#start = start;
    this.#source = start.durable;
    this.#lastChange = start.durable;
    this.#written = { lsn: start.durable, levelAtMs: null };
    this.#durable = { lsn: start.durable, levelAtMs: null };
    this.#applied = { lsn: start.applied, levelAtMs: null };
    this.#heardAtMs = Date.now();
    this.#commitAtMs = this.#heardAtMs;
  }

  /** Milliseconds since a commit was received or applied. */
  get quietMs(): number {
    return Date.now() - this.#commitAtMs;
  }

  /** The source was asked: it stands here, at this time of its own clock, which is now. */
  asked(lsn: Lsn, sourceNowMs: number): void {
    this.#clockOffsetMs = sourceNowMs - Date.now();
    this.#source = laterLsn(this.#source, lsn);
    this.#asked = true;
    this.#hear();
  }

  /** A batch is about to be written to the journal. */
  receiving(batch: readonly StreamMessage[]): void {
    this.#look(batch, this.#received);
    this.#hear();
  }

  /** Where the receiver is; `source` is what the stream itself tells of the source. */
  receivedUpTo({ written, durable, source }: { written: Lsn; durable: Lsn; source: Lsn }): void {
    this.#source = laterLsn(this.#source, source);
    // An empty journal holds nothing, and what lies before its start was never asked for.
    this.#written.lsn = laterLsn(this.#written.lsn, written);
    this.#durable.lsn = laterLsn(this.#durable.lsn, durable);
    this.#hear();
  }

  /** A batch was read from the transform files. `level`: nothing more is in them now. */
  reading(batch: readonly StreamMessage[], level: boolean): void {
    const end = this.#look(batch, this.#read);
    if (end !== null) this.#readUpTo = end;
    // Without a receiver here, the files are all that is known of the source.
    if (!this.#start.receives && end !== null && level) this.#source = laterLsn(this.#source, end);
    this.#noteLevel();
  }

  /** What the position row says. It may go back: the target failed over to an older state. */
  appliedUpTo(lsn: Lsn): void {
    if (lsn < this.#applied.lsn) this.#nothingLeft = zeroLsn;
    this.#applied.lsn = lsn;
    this.#read.forget(lsn);
    this.#noteLevel();
  }

  /** Reads it. */
  standing(more: Pick<StreamStanding, 'endpos' | 'journalBytes' | 'resting'>): StreamStanding {
    this.#received.forget(this.#slowest());
    this.#noteLevel();
    const { receives, applies } = this.#start;
    return {
      source: receives ? formatLsn(this.#source) : null,
      written: receives ? this.#position(this.#written, this.#written.lsn) : null,
      durable: receives ? this.#position(this.#durable, this.#durable.lsn) : null,
      applied: applies ? this.#position(this.#applied, this.#effectivelyApplied()) : null,
      ...more,
    };
  }

  /** Notes the last commit of a batch; gives the last position in it that ends something. */
  #look(batch: readonly StreamMessage[], clock: CommitClock): Lsn | null {
    this.#noteLevel();
    const last = batch.at(-1);
    const commitAt = batch.findLastIndex(({ kind }) => kind === 'commit');
    const changeAt = batch.findLastIndex(({ kind }) => kind === 'change');
    const commit = batch[commitAt];
    if (commit?.kind === 'commit') {
      clock.note({ lsn: commit.endLsn, atMs: toMs(commit.commitTime) });
      this.#commitAtMs = Date.now();
      this.#lastMadeAtMs = Math.max(this.#lastMadeAtMs ?? 0, toMs(commit.commitTime));
      // The last commit of a batch with changes stands for the one that has them.
      if (this.#changing || changeAt !== -1) this.#lastChange = laterLsn(this.#lastChange, commit.endLsn);
      this.#changing = false;
    }
    if (changeAt > commitAt) this.#changing = true;
    if (last?.kind === 'keepalive') return last.lsn;
    return commit?.kind === 'commit' ? commit.endLsn : null;
  }

  /**
   * Behind the last change there is nothing to apply: the applier is as far as what it would read. That stays so when
   * the next change comes: what lay before it (a heartbeat) was nothing to be applied, and is not what it waits for.
   */
  #effectivelyApplied(): Lsn {
    if (this.#applied.lsn >= this.#lastChange) {
      const read = this.#start.receives ? this.#durable.lsn : this.#readUpTo;
      this.#nothingLeft = laterLsn(this.#nothingLeft, read);
    }
    return laterLsn(this.#applied.lsn, this.#nothingLeft);
  }

  #slowest(): Lsn {
    const applied = this.#start.applies ? this.#applied.lsn : this.#durable.lsn;
    return applied < this.#durable.lsn ? applied : this.#durable.lsn;
  }

  #hear(): void {
    this.#heardAtMs = Date.now();
    this.#noteLevel();
  }

  #noteLevel(): void {
    const applied = this.#effectivelyApplied();
    if (this.#start.receives && !this.#asked) return;
    const now = Date.now() + this.#clockOffsetMs;
    if (this.#written.lsn >= this.#source) this.#written.levelAtMs = now;
    if (this.#durable.lsn >= this.#source) this.#durable.levelAtMs = now;
    if (applied >= this.#source) this.#applied.levelAtMs = now;
  }

  #position(tracked: Tracked, position: Lsn): PositionStanding {
    const received = this.#received.firstBehind(position);
    const read = tracked === this.#applied ? this.#read.firstBehind(position) : null;
    const first = [received, read].filter((one) => one !== null).map(({ atMs }) => atMs);
    // Without a receiver nobody here hears of the source; its own row says how that is.
    const heardAtMs = this.#start.receives ? this.#heardAtMs : Date.now();
    return {
      lsn: formatLsn(tracked.lsn),
      behindBytes: Number(this.#source > position ? this.#source - position : 0n),
      behindMs: lagMs({
        position,
        source: this.#source,
        sourceHeardAtMs: heardAtMs + this.#clockOffsetMs,
        firstBehindAtMs: first.length === 0 ? null : Math.min(...first),
        levelAtMs: tracked.levelAtMs,
        passedAtMs: this.#lastMadeAtMs,
        nowMs: Date.now() + this.#clockOffsetMs,
      }),
    };
  }
}
