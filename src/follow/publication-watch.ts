/**
 * Whether the publications carry everything that a stream receives:
 *
 *   begins ──▶ each minute, while it reads (new-tables.ts) ──▶ once, when everything up to the end position is received
 *
 * What is altered behind that, or a source that is gone by then, loses nothing before the end position, however long the
 * applier still needs, and also in the next run: so the last look is remembered, and nobody looks again until the stream
 * reads on. With a cutover it is the cutover that looks, once all is applied.
 */
import type { StreamRecord } from '../catalog/stream.js';
import { asFailure } from '../failure.js';
import type { Log } from '../log.js';
import { formatLsn, laterLsn, type Lsn } from '../model/lsn.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { expectUnaltered } from './altered-publications.js';
import { columnsThen, keptTables, leavesOut } from './filter-scope.js';
import { NewTables } from './new-tables.js';
import { decideAtEnd, endposReached, type SentinelWatch } from './sentinel-watch.js';

export type PublicationWatchOptions = {
  readonly source: Conninfo;
  readonly stream: StreamRecord;
  /** The work directory. */
  readonly directory: string;
  readonly sentinel: SentinelWatch;
  /** Whether this process applies too, and thus waits at the end position for a cutover. */
  readonly applies: boolean;
  readonly log: Log;
};

export class PublicationWatch {
  readonly #options: PublicationWatchOptions;
  readonly #altered = new AbortController();
  readonly #newTables: NewTables;
  #began = false;
  /** Up to here nothing is lost, as far as it could be asked. */
  #carried: Lsn;

  constructor(options: PublicationWatchOptions) {
    this.#options = options;
    const { source, stream, directory, sentinel, log } = options;
    this.#carried = sentinel.loadCarried();
    this.#newTables = new NewTables({
      source,
      stream,
      leavesOut: stream.ownPublications.length === 0 || leavesOut(directory),
      keeps: keptTables(directory),
      columns: columnsThen(directory),
      onAltered: (failure) => this.#altered.abort(failure),
      log,
    });
  }

  /** Set, with `publication-altered`, when that is found while the stream is read. */
  get altered(): AbortSignal {
    return this.#altered.signal;
  }

  /**
   * More is about to be read behind `held`, unless that is the end position. Throws `publication-altered`, and when it
   * begins why the source cannot be asked.
   */
  async receives(held: Lsn, signal: AbortSignal): Promise<void> {
    const begins = !this.#began;
    this.#began = true;
    if (endposReached(this.#options.sentinel.endpos(), held)) return;
    if (begins) await this.#ask(signal);
    this.#newTables.watch();
  }

  /**
   * Everything up to this end position is received. A source that cannot be asked any more keeps nobody from finishing
   * what is here. Throws `publication-altered`, and `stopped`.
   */
  async received(endpos: Lsn, signal: AbortSignal): Promise<void> {
    const { sentinel, applies, log } = this.#options;
    this.#newTables.rest();
    if (applies) await sentinel.until(() => this.#decide(endpos) !== 'hold', signal);
    if (this.#decide(endpos) === 'go-on' || this.#isCarried(endpos)) return;
    try {
      await this.#ask(signal);
      sentinel.recordCarried(endpos);
      log.debug(`the publications carried everything up to the end position ${formatLsn(endpos)}`);
    } catch (error) {
      const failure = asFailure(error);
      if (signal.aborted || !failure.code.startsWith('source-')) throw failure;
      log.warn(
        `everything up to the end position ${formatLsn(endpos)} is received, but it could not be looked whether the publications still carried it: ${failure.message}`,
      );
    }
    await this.#newTables.sayAtEnd(signal);
    this.#carried = laterLsn(this.#carried, endpos);
    sentinel.wake();
  }

  /**
   * Waits until it is known that nothing was lost up to this end position, which everything is applied to, or the stream
   * goes on, or waits for a cutover. What was lost ends the receiver, and its failure is the signal's.
   */
  async expectCarried(endpos: Lsn, signal: AbortSignal): Promise<void> {
    const known = () => this.#decide(endpos) !== 'finish' || this.#isCarried(endpos);
    await this.#options.sentinel.until(known, signal);
  }

  close(): void {
    this.#newTables.rest();
  }

  #ask(signal: AbortSignal): Promise<void> {
    const { source, stream, directory, log } = this.#options;
    return expectUnaltered({ source, stream, keeps: keptTables(directory), log, signal });
  }

  #decide(reached: Lsn): ReturnType<typeof decideAtEnd> {
    const { sentinel } = this.#options;
    return decideAtEnd(sentinel.endpos(), reached, sentinel.cutover);
  }

  /** A cutover that has gone further than `running` has looked at its end position. */
  #isCarried(endpos: Lsn): boolean {
    if (endpos <= this.#carried) return true;
    const { cutover } = this.#options.sentinel;
    const looked = cutover !== null && ['finalizing', 'open', 'done'].includes(cutover.state);
    return looked && cutover.endpos !== null && endpos <= cutover.endpos;
  }
}
