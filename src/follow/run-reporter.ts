/**
 * What a run tells of itself while it goes on: once a second, and with every phase, into the catalog (run-status.ts)
 * over a connection that waits for no disk. Trouble with it is said once and never troubles the run.
 */
import { closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import {
  saveLogLines,
  saveRun,
  saveSample,
  type RunRecord,
  type RunRole,
  type SlotStanding,
  type StreamStanding,
} from '../catalog/run-status.js';
import type { CloneProgress } from '../clone/options.js';
import { asFailure, isStop } from '../failure.js';
import type { Log, LogTail } from '../log.js';
import type { RunPhase } from '../model/run-phase.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { LockWatch } from './lock-watch.js';

/** What the program knows of the call, and the run does not. */
export type ReportChoices = {
  /** The command's words, for whoever looks on. */
  readonly command: string;
  readonly tail: LogTail;
};

export type RunReporterOptions = {
  readonly directory: string;
  readonly role: RunRole;
  /** Null where nobody keeps the log, as for users of the library. */
  readonly report: ReportChoices | null;
  /** Where somebody else's locks are looked for while the run goes on; null where it has nothing to do. */
  readonly source: Conninfo | null;
  readonly target: Conninfo | null;
  readonly log: Log;
};

/** Where a stream stands; asked once a second while it runs. */
export interface StreamReport {
  standing(): StreamStanding;
  slot(): SlotStanding | null;
}

const tellEveryMs = 1000;

/** Another process may hold the catalog's write lock: telling is left for the next second, but not how it all ended. */
const briefMs = 100;
const patientMs = 5000;

export class RunReporter {
  readonly #options: RunReporterOptions;
  readonly #catalog: Catalog;
  readonly #timer: NodeJS.Timeout;
  readonly #startedAtMs = Date.now();
  #phase: RunPhase = { kind: 'setup' };
  #phaseSinceMs = this.#startedAtMs;
  #stream: StreamReport | null = null;
  #lastStream: StreamStanding | null = null;
  #lastSlot: SlotStanding | null = null;
  #copied: number | null = null;
  #copyBraked: () => boolean = () => false;
  #told = 0;
  #troubled = false;

  /** Takes the place of what the process before it told. Throws as `openCatalog`. */
  constructor(options: RunReporterOptions) {
    this.#options = options;
    this.#catalog = openCatalog(options.directory, 'status');
    this.#catalog.database.pragma(`busy_timeout = ${briefMs}`);
    this.#timer = setInterval(() => this.#tell(), tellEveryMs).unref();
    this.#tell();
  }

  /** Runs `work` in this reporter's sight: how it ended is the last thing that is told. */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    const standing = () => ({ phase: this.#phase, applied: this.#lastStream?.applied ?? null });
    await using _locks = new LockWatch({ ...this.#options, standing });
    try {
      const result = await work();
      this.#end({ kind: 'done' });
      return result;
    } catch (error) {
      this.#end(endOf(error, this.#options.report));
      throw error;
    }
  }

  enter(phase: RunPhase): void {
    if (phase.kind !== this.#phase.kind) this.#phaseSinceMs = Date.now();
    this.#phase = phase;
    this.#tell();
  }

  /** From now on the stream is asked where it stands; null when it is over. */
  follow(stream: StreamReport | null): void {
    this.#tell();
    this.#stream = stream;
  }

  /** Takes a copy's progress and passes it on. */
  copying(onward: ((progress: CloneProgress) => void) | undefined): (progress: CloneProgress) => void {
    let step: CloneProgress['step'] | null = null;
    return (progress) => {
      this.#copied = progress.bytes.done;
      if (progress.step !== step) {
        step = progress.step;
        this.enter({ kind: 'copy', step });
      }
      onward?.(progress);
    };
  }

  copyBraked(braked: () => boolean): void {
    this.#copyBraked = braked;
  }

  #end(phase: RunPhase): void {
    clearInterval(this.#timer);
    this.#catalog.database.pragma(`busy_timeout = ${patientMs}`);
    this.enter(phase);
    closeCatalog(this.#catalog);
  }

  #tell(): void {
    const { role, report, log } = this.#options;
    try {
      if (this.#stream !== null) {
        this.#lastStream = this.#stream.standing();
        this.#lastSlot = this.#stream.slot();
      }
      const record: RunRecord = {
        role,
        command: report?.command ?? role,
        pid: process.pid,
        startedAtMs: this.#startedAtMs,
        atMs: Date.now(),
        phase: this.#phase,
        phaseSinceMs: this.#phaseSinceMs,
        stream: this.#lastStream,
        slot: this.#lastSlot,
        copyBraked: this.#copyBraked(),
      };
      const news = report?.tail.linesAfter(this.#told) ?? { lines: [], count: 0 };
      this.#catalog.database.transaction(() => {
        saveRun(this.#catalog, record);
        this.#saveSample(record);
        saveLogLines(this.#catalog, news.lines);
      })();
      this.#told = news.count;
      this.#troubled = false;
    } catch (error) {
      if (!this.#troubled) log.notice(`how far the run is cannot be written down now: ${String(error)}`);
      this.#troubled = true;
    }
  }

  #saveSample({ atMs, stream }: RunRecord): void {
    if (this.#stream === null && this.#copied === null) return;
    const of = (name: 'written' | 'applied') => stream?.[name]?.lsn ?? null;
    saveSample(this.#catalog, {
      atMs,
      source: stream?.source ?? null,
      written: of('written'),
      applied: of('applied'),
      lagMs: stream?.applied?.behindMs ?? null,
      behind: (stream?.source ?? null) === null ? null : (stream?.applied?.behindBytes ?? null),
      copied: this.#copied,
    });
  }
}

function endOf(error: unknown, report: ReportChoices | null): RunPhase {
  if (isStop(error)) return { kind: 'stopped' };
  const { code, message } = asFailure(error);
  return { kind: 'failed', code, message: report?.tail.redact(message) ?? message };
}
