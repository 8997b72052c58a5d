/**
 * The one object that decides what the source is told. The slot moves up to the flush position and the source forgets
 * what lies before it, so that position is:
 *   1. with `durable`, the end of what the journal holds fsynced: a commit's end, or a keepalive's position that went
 *      through the journal in order, exactly;
 *   2. with `applied`, the same, but not beyond what the target has committed;
 *   3. never something only received or only written, never one byte more, and never back.
 */
import { Failure } from '../failure.js';
import { earlierLsn, formatLsn, laterLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import type { FeedbackPositions } from '../postgres/feedback.js';

/** What has to have happened to a change before the source may forget it. */
export type AcknowledgeMode = 'durable' | 'applied';

/** Where a stream stands when it is taken up. */
export type AcknowledgeStart = { readonly durable: Lsn; readonly applied: Lsn };

export class Acknowledge {
  readonly mode: AcknowledgeMode;
  #received: Lsn;
  #written: Lsn;
  #durable: Lsn;
  #applied: Lsn;
  #flushed: Lsn = zeroLsn;

  /** `start.durable` is what the journal was found to hold, `start.applied` what the position row says. */
  constructor(mode: AcknowledgeMode, start: AcknowledgeStart) {
    this.mode = mode;
    this.#received = start.durable;
    this.#written = start.durable;
    this.#durable = start.durable;
    this.#applied = start.applied;
    this.#decide();
  }

  /** The end of a commit, or a keepalive, has arrived. It moves nothing that is reported. */
  received(lsn: Lsn): void {
    this.#received = laterLsn(this.#received, lsn);
  }

  /** The operating system has everything up to here. */
  written(lsn: Lsn): void {
    if (lsn > this.#received) throw impossible('written', lsn, 'received', this.#received);
    this.#written = laterLsn(this.#written, lsn);
  }

  /** The disk has everything up to here: a commit's end, or a keepalive that was written in order. */
  durable(lsn: Lsn): void {
    if (lsn > this.#written) throw impossible('durable', lsn, 'written', this.#written);
    this.#durable = laterLsn(this.#durable, lsn);
    this.#decide();
  }

  /** The target has committed everything up to here, and its position row says so. */
  applied(lsn: Lsn): void {
    this.#applied = laterLsn(this.#applied, lsn);
    this.#decide();
  }

  /** What to report now. */
  positions(): FeedbackPositions {
    return { written: this.#written, flushed: this.#flushed, applied: this.#applied };
  }

  #decide(): void {
    const safe = this.mode === 'durable' ? this.#durable : earlierLsn(this.#durable, this.#applied);
    this.#flushed = laterLsn(this.#flushed, safe);
  }
}

function impossible(what: string, lsn: Lsn, before: string, limit: Lsn): Failure {
  return new Failure(
    'internal',
    `${formatLsn(lsn)} is said to be ${what}, and only ${formatLsn(limit)} was ${before}`,
  );
}
