/**
 * The stream commands that run a stream's jobs on their own: receive (prefetch), apply (catchup), both (replay, follow).
 */
import { rm } from 'node:fs/promises';
import { catalogExists, closeCatalog, openCatalog } from '../catalog/database.js';
import { takeLocks, type LockName } from '../catalog/lock.js';
import { setEndpos } from '../catalog/sentinel.js';
import { loadStream, type StreamRecord } from '../catalog/stream.js';
import { requireCatalog } from '../catalog/work-directory.js';
import { planControl, type ControlChoices } from '../control/server.js';
import type { FilterFile } from '../filter/parse.js';
import type { Log } from '../log.js';
import type { Lsn } from '../model/lsn.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { openControl } from './control.js';
import { expectSameFilters } from './filter-scope.js';
import { openStreamRun, requireStream, type FollowProgress, type StreamTuning } from './stream-run.js';
import { cleanupStream, setupStream, type StreamChoices } from './stream-setup.js';
import { RunReporter, type ReportChoices } from './run-reporter.js';
import { removeSnapshotFile } from './snapshot-file.js';
import { receiveAndApply } from './receive-and-apply.js';

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
      if (choices !== null && source !== null && (target !== null || loadStream(catalog) === null)) {
        const { created } = await setupStream({ ...options, source, catalog, choices });
        await created?.close();
      }
      if (endpos !== null) setEndpos(catalog, endpos);
      await using _control = await openControl({ ...options, plan });
      const stream = requireStream(catalog);
      const role = target === null ? 'receive' : source === null ? 'apply' : 'follow';
      const reporter = new RunReporter({ ...options, role });
      await reporter.during(() => runJobs({ ...options, stream }, reporter));
    } finally {
      closeCatalog(catalog);
    }
  } finally {
    locks.release();
  }
}

async function runJobs(
  options: StreamCommandOptions & { readonly stream: StreamRecord },
  reporter: RunReporter,
): Promise<void> {
  const { source, target, signal } = options;
  const run = await openStreamRun({
    ...options,
    onApplying: () => reporter.enter({ kind: 'apply' }),
    onApplied: () => reporter.enter({ kind: 'finalize' }),
  });
  reporter.follow(run.report);
  try {
    reporter.enter({ kind: 'receive' });
    if (source !== null && target !== null) await receiveAndApply(run, signal);
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
