/**
 * The stream commands that run a stream's jobs on their own: receive (prefetch), apply (catchup), both (replay, follow).
 */
import { rm } from 'node:fs/promises';
import { catalogExists, closeCatalog, openCatalog } from '../catalog/database.js';
import { takeLocks, type LockName } from '../catalog/lock.js';
import { phaseDone } from '../catalog/setup.js';
import { loadStream, type StreamRecord } from '../catalog/stream.js';
import { requireCatalog } from '../catalog/work-directory.js';
import { planControl, type ControlChoices } from '../control/server.js';
import { asFailure } from '../failure.js';
import type { FilterFile } from '../filter/parse.js';
import type { Log } from '../log.js';
import type { Lsn } from '../model/lsn.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { openControl } from './control.js';
import { takeEndposOption } from './endpos-option.js';
import { expectCompleted } from './expect-complete.js';
import { expectSameFilters } from './filter-scope.js';
import { openStreamRun, requireStream, type FollowProgress, type StreamTuning } from './stream-run.js';
import { cleanupStream, setupStream, type StreamChoices } from './stream-setup.js';
import { RunReporter, type ReportChoices } from './run-reporter.js';
import { removeSnapshotFile } from './snapshot-file.js';
import { journalCap } from './journal-cap.js';
import { LineBrake } from './line-brake.js';
import { LineSpool, type LineInput, type WriteText } from './line-pipe.js';
import { receiveAndApply } from './receive-and-apply.js';
import { together } from './together.js';
import { orWithoutSource } from './without-source.js';

type Common = {
  readonly directory: string;
  readonly journalDirectory: string;
  readonly log: Log;
  readonly signal: AbortSignal;
};

export type SetupCommandOptions = Omit<Common, 'journalDirectory'> & {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly choices: StreamChoices;
};

/** `stream setup`: publications, slot, sentinel, position row; what is there already stays. */
export async function runStreamSetup(options: SetupCommandOptions): Promise<void> {
  const locks = takeLocks(options.directory, ['receive', 'apply']);
  const catalog = openCatalog(options.directory);
  try {
    const { created } = await setupStream({ ...options, catalog });
    await created?.close();
  } finally {
    closeCatalog(catalog);
    locks.release();
  }
}

export type StreamCommandOptions = Common & {
  /** Null: nothing is received. */
  readonly source: Conninfo | null;
  /** Null: nothing is applied. */
  readonly target: Conninfo | null;
  /** Sets the stream up first where it is not; null: it must be there. */
  readonly choices: StreamChoices | null;
  /** What is followed, where the stream is set up; the same as then, where it was. */
  readonly filters?: FilterFile | null | undefined;
  readonly endpos: Lsn | null;
  readonly tuning: StreamTuning;
  /** Where the sentinel commands may ask; null: nowhere. */
  readonly control: ControlChoices | null;
  /** What whoever looks on is told besides; null: only how far the run is. */
  readonly report: ReportChoices | null;
  readonly onProgress?: ((progress: FollowProgress) => void) | undefined;
  /** Prints the lines of the transform files; without a target alone. */
  readonly print?: WriteText | undefined;
  /** Takes the lines of the transform files from here, in place of the directory's own; without a source alone. */
  readonly input?: LineInput | undefined;
};

/**
 * Runs the jobs that the given sides allow, until the end position; without a source, until the end of the transform
 * files. Sets neither `apply` nor sequences: those are the operator's.
 */
export async function runStream(options: StreamCommandOptions): Promise<void> {
  const { source, target, directory, choices, endpos } = options;
  const plan = options.control === null ? null : await planControl(options.control);
  const names: LockName[] = [];
  if (source !== null) names.push('receive');
  if (target !== null) names.push('apply');
  const locks = takeLocks(directory, names);
  try {
    const catalog = choices === null ? requireCatalog(directory) : openCatalog(directory);
    try {
      if (loadStream(catalog) !== null) expectSameFilters(catalog, options.filters ?? null);
      if (target !== null) expectCompleted(catalog);
      if (choices !== null && source !== null && (target !== null || loadStream(catalog) === null)) {
        // What a run that is opened asks of the target tells whether it is the right one.
        const isSetUp = loadStream(catalog) !== null && phaseDone(catalog, 'slot');
        const setup = { ...options, source, target: isSetUp ? null : target, catalog, choices };
        const { created } = await setupStream(setup);
        await created?.close();
      }
      takeEndposOption(catalog, endpos, options.log);
      await using _control = await openControl({ ...options, plan });
      const stream = requireStream(catalog);
      const role = target === null ? 'receive' : source === null ? 'apply' : 'follow';
      const reporter = new RunReporter({ ...options, role });
      await reporter.during(() =>
        options.input === undefined
          ? runJobs({ ...options, input: undefined, stream }, reporter)
          : applyInput({ ...options, stream }, options.input, reporter),
      );
    } catch (error) {
      throw target === null ? error : orWithoutSource(asFailure(error), catalog);
    } finally {
      closeCatalog(catalog);
    }
  } finally {
    locks.release();
  }
}

type Jobs = Omit<StreamCommandOptions, 'input'> & {
  readonly stream: StreamRecord;
  readonly input?: LineSpool | undefined;
  readonly brake?: LineBrake | undefined;
};

/** Applies the lines of a pipe. They are looked at first: where they begin decides whether they fit the target. */
async function applyInput(
  options: Omit<Jobs, 'input'>,
  input: LineInput,
  reporter: RunReporter,
): Promise<void> {
  const { tuning, log } = options;
  await using spool = await LineSpool.create(input, (directory) =>
    journalCap(tuning.maxJournalBytes, directory, 0, log),
  );
  const brake = new LineBrake(spool, log);
  const applied = new AbortController();
  await together(options.signal, [
    async (stop) => {
      try {
        const until = AbortSignal.any([stop, applied.signal]);
        await spool.fill(until, () => brake.untilRoom(until));
      } catch (error) {
        if (!applied.signal.aborted || stop.aborted) throw error;
      }
    },
    async (stop) => {
      await spool.begun;
      if (stop.aborted) return;
      const jobs = { ...options, journalDirectory: spool.directory, input: spool, brake, signal: stop };
      await runJobs(jobs, reporter);
      applied.abort();
    },
  ]);
}

async function runJobs(options: Jobs, reporter: RunReporter): Promise<void> {
  const { source, target, print, signal } = options;
  const run = await openStreamRun({
    ...options,
    appliesAtOnce: true,
    onApplying: () => reporter.enter({ kind: 'apply' }),
    onApplied: () => reporter.enter({ kind: 'finalize' }),
  });
  reporter.follow(run.report);
  if (options.brake !== undefined) options.brake.applier = run;
  try {
    reporter.enter({ kind: 'receive' });
    if (source !== null && target !== null) await receiveAndApply(run, signal);
    else if (source !== null && print !== undefined) await run.receiveAndPrint(signal, print);
    else if (source !== null) await run.receive(signal);
    else await run.apply(signal);
  } finally {
    reporter.follow(null);
    await run.close();
  }
}

export type CleanupCommandOptions = Common & {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly choices: StreamChoices;
};

/**
 * `stream cleanup`: also where the work directory is gone, by the names that were given. The transform files go too:
 * without slot and position row nothing can be done with them, and a later stream must not read them.
 */
export async function runCleanup(options: CleanupCommandOptions): Promise<void> {
  const { directory } = options;
  if (!catalogExists(directory)) {
    await cleanupStream({ ...options, catalog: null });
    return;
  }
  const locks = takeLocks(directory, ['receive', 'apply', 'snapshot']);
  const catalog = openCatalog(directory);
  try {
    await cleanupStream({ ...options, catalog });
    removeSnapshotFile(directory);
    await rm(options.journalDirectory, { recursive: true, force: true });
  } finally {
    closeCatalog(catalog);
    locks.release();
  }
}
