/**
 * The run's view of the sentinel: what a second terminal sets is seen within a tenth of a second, and the positions
 * of the run are shown to it just as often. The hot loops ask and tell this object; only its timer touches the disk.
 */
import { closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import { loadCutoverHold, recordDrained, type CutoverHold } from '../catalog/cutover.js';
import { catalogDataVersion, recordPositions, requireSentinel, type Positions } from '../catalog/sentinel.js';
import { phaseDone, reopenPhases, saveReached } from '../catalog/setup.js';
import { loadCarried, saveCarried } from '../catalog/stream.js';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';
import { zeroLsn, type Lsn } from '../model/lsn.js';
import type { Sentinel } from '../model/progress.js';
import { endUnlessTakenBack, sayWhenAbandoned } from './cutover-back.js';
import { expectCompleted, expectCopied } from './expect-complete.js';

/** Short enough for a person who set the end position to see it taken at once; each look costs microseconds. */
const lookEveryMs = 100;
/** While a cutover is at work nobody can write, and waits for what this run does next. */
const lookInPauseEveryMs = 10;

const nothingPending: Positions = {};

export class SentinelWatch {
  readonly #catalog: Catalog;
  readonly #log: Log;
  readonly #waiting = new Set<() => void>();
  #timer: NodeJS.Timeout;
  #everyMs = lookEveryMs;
  #dataVersion = -1;
  #sentinel: Sentinel;
  #cutover: CutoverHold | null = null;
  #pending: Positions = nothingPending;
  #troubled = false;

  /** Opens a connection of its own to the catalog in `directory`. Throws as `requireSentinel` does. */
  constructor(directory: string, log: Log) {
    this.#catalog = openCatalog(directory, 'status');
    this.#log = log;
    try {
      [this.#sentinel, this.#cutover] = this.#load();
    } catch (error) {
      closeCatalog(this.#catalog);
      throw error;
    }
    this.#timer = setInterval(this.#tick, lookEveryMs);
  }

  /** What the sentinel said at the last look. */
  get sentinel(): Sentinel {
    return this.#sentinel;
  }

  /** The end position, `zeroLsn` when none is set. */
  readonly endpos = (): Lsn => this.#sentinel.endpos;

  /** What the last look said of a cutover; null where there was none. */
  get cutover(): CutoverHold | null {
    return this.#cutover;
  }

  /** Throws `work-directory-used` where changes cannot be applied behind the clone of this directory (expect-complete.ts). */
  expectComplete({ ofClone }: { readonly ofClone: boolean }): void {
    expectCopied(this.#catalog);
    if (!ofClone) expectCompleted(this.#catalog);
  }

  /** Remembers which end position was reached: one that is set later is another one, also for whoever resumes. */
  recordReached(endpos: Lsn): void {
    saveReached(this.#catalog, endpos);
  }

  /** Remembers that the stream's publications carried everything up to this end position, also for whoever resumes. */
  recordCarried(endpos: Lsn): void {
    try {
      saveCarried(this.#catalog, endpos);
    } catch (error) {
      this.#log.warn(
        `that the publications were looked at cannot be remembered, the next run looks again: ${String(error)}`,
      );
    }
  }

  /** Up to where that is remembered. */
  loadCarried(): Lsn {
    return loadCarried(this.#catalog);
  }

  /** Tells a cutover that everything up to its end position is on the target, at once: it counts milliseconds. */
  recordDrained(endpos: Lsn): void {
    recordDrained(this.#catalog, endpos);
  }

  /** While it waits at the end position for a cutover. */
  sayWhenAbandoned(): Disposable {
    return sayWhenAbandoned(this.#catalog, this.#log);
  }

  /** Tells that the application may write to the target; false when the cutover was taken back before. */
  recordWritable(): boolean {
    return endUnlessTakenBack(this.#catalog, 'writable');
  }

  /** Changes are applied: whatever was said at an earlier end position, nobody else may write now. */
  forgetWritable(): void {
    if (phaseDone(this.#catalog, 'writable')) reopenPhases(this.#catalog, ['writable']);
  }

  /** Tells positions; they are written at the next look. */
  record(positions: Positions): void {
    this.#pending = { ...this.#pending, ...positions };
  }

  /**
   * Resolves as soon as `condition` holds of the sentinel and the cutover; rejects with `stopped` when the signal is set
   * first.
   */
  async until(
    condition: (sentinel: Sentinel, cutover: CutoverHold | null) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    while (!condition(this.#sentinel, this.#cutover)) {
      await new Promise<void>((resolve, reject) => {
        const wake = () => {
          signal.removeEventListener('abort', stop);
          resolve();
        };
        const stop = () => {
          this.#waiting.delete(wake);
          reject(
            signal.reason instanceof Failure ? signal.reason : new Failure('stopped', 'stopped as asked'),
          );
        };
        if (signal.aborted) return stop();
        this.#waiting.add(wake);
        signal.addEventListener('abort', stop, { once: true });
      });
    }
  }

  /** Has conditions tested that depend on something else besides. */
  wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** The next look is as soon as what this one has seen asks for. */
  readonly #tick = (): void => {
    this.#look();
    const inPause = this.#cutover?.state === 'running' || this.#cutover?.state === 'finalizing';
    const everyMs = inPause ? lookInPauseEveryMs : lookEveryMs;
    if (everyMs === this.#everyMs) return;
    clearInterval(this.#timer);
    this.#everyMs = everyMs;
    this.#timer = setInterval(this.#tick, everyMs);
  };

  /** Looks again right now: after this run itself has written to the sentinel. */
  refresh(): void {
    this.#dataVersion = -1;
    this.#look();
  }

  /** Writes what is still to be told and closes. */
  close(): void {
    clearInterval(this.#timer);
    this.#look();
    closeCatalog(this.#catalog);
  }

  /** Both from one moment: an end position without the cutover that it belongs to would end the run. */
  #load(): [Sentinel, CutoverHold | null] {
    const load = (): [Sentinel, CutoverHold | null] => [
      requireSentinel(this.#catalog),
      loadCutoverHold(this.#catalog),
    ];
    return this.#catalog.database.transaction(load)();
  }

  /** Trouble with the catalog must not stop a stream: it is said once, and tried again at the next look. */
  #look(): void {
    try {
      if (this.#pending !== nothingPending) {
        recordPositions(this.#catalog, this.#pending);
        this.#pending = nothingPending;
      }
      const dataVersion = catalogDataVersion(this.#catalog);
      if (dataVersion !== this.#dataVersion) {
        [this.#sentinel, this.#cutover] = this.#load();
        this.#dataVersion = dataVersion;
        this.wake();
      }
      this.#troubled = false;
    } catch (error) {
      if (!this.#troubled) this.#log.warn(`the sentinel cannot be read or written now: ${String(error)}`);
      this.#troubled = true;
    }
  }
}

/**
 * What a run does that has reached `reached`:
 *   1. go on: no end position is set any more, or a later one;
 *   2. hold: a cutover is at work, and says what follows; until then the target stays as the stream left it;
 *   3. finish.
 */
export function decideAtEnd(
  endpos: Lsn,
  reached: Lsn,
  cutover: CutoverHold | null,
): 'go-on' | 'hold' | 'finish' {
  if (!endposReached(endpos, reached)) return 'go-on'; // 1
  return cutover?.state === 'running' ? 'hold' : 'finish'; // 2, 3
}

/**
 * What a run does that has reached `reached` and has put back on the target what was switched off:
 *   1. go on: no end position is set any more, or a later one, or the next cutover is at work already;
 *   2. hold: a cutover has still to open the target, and may be undone until then;
 *   3. finish.
 */
export function decideWhenComplete(
  endpos: Lsn,
  reached: Lsn,
  cutover: CutoverHold | null,
): 'go-on' | 'hold' | 'finish' {
  if (!endposReached(endpos, reached) || cutover?.state === 'running') return 'go-on'; // 1
  return cutover?.state === 'finalizing' ? 'hold' : 'finish'; // 2, 3
}

/** Whether an end position is set and reached. */
export function endposReached(endpos: Lsn, applied: Lsn): boolean {
  return endpos !== zeroLsn && endpos <= applied;
}

/** The end position, and what it was when it was last asked for: the one that a job has worked for when it returns. */
export class LastAsked {
  readonly #endpos: () => Lsn;
  last: Lsn = zeroLsn;
  readonly ask = (): Lsn => (this.last = this.#endpos());

  constructor(endpos: () => Lsn) {
    this.#endpos = endpos;
  }
}
