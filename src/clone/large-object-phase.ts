/**
 * Large objects within a clone: after the tables, when their workers' connections are free, and while indexes are
 * built.
 */
import { addTiming } from '../catalog/timings.js';
import type { Session } from '../postgres/connect.js';
import { fetchDoneTasks, recordDoneTask } from '../postgres/task-table.js';
import { asFailure } from '../failure.js';
import { hasNoConnection } from '../postgres/too-many-connections.js';
import type { WhenCopied } from './copy-phase.js';
import type { Failures } from './failures.js';
import {
  clearLargeObjects,
  fetchLargeObjectRefusal,
  LargeObjectWork,
  refusedLargeObjects,
  type LargeObjectSessions,
} from './large-objects.js';
import type { CloneOptions } from './options.js';
import { recordProblems } from './problems.js';
import type { SchemaFile } from './schema-file.js';
import { FewerConnections } from './retry.js';
import { HeldSession, openBulkTarget, openInSnapshot } from './sessions.js';
import { stepLabels } from './summary.js';
import { runWorkers } from './work-queue.js';

const phaseTask = 'large objects';
const jobsUnlessTold = 4;

function isWanted(options: CloneOptions, file: SchemaFile): boolean {
  return file.schema.largeObjects && options.skipLargeObjects !== true;
}

/** Before anything is made on the target: OIDs that are taken. Throws `target-not-empty`. */
export async function prepareLargeObjects(
  options: CloneOptions,
  file: SchemaFile,
  target: Session,
): Promise<void> {
  if (!isWanted(options, file)) return;
  await using source = await openInSnapshot(options.source, options.snapshot, 'clone', options);
  await clearLargeObjects(source, target, options.dropIfExists);
}

/**
 * Copies what is left of them. What fails is added to the failures. False when there was no connection for it beside
 * those of the index workers.
 */
export async function copyLargeObjects(
  options: CloneOptions,
  file: SchemaFile,
  failures: Failures,
  when: WhenCopied = 'alone',
): Promise<boolean> {
  if (!isWanted(options, file)) return true;
  try {
    await copyAll(options, failures, when);
  } catch (error) {
    if (when === 'beside indexes' && hasNoConnection(error)) {
      new FewerConnections(options.log).say(asFailure(error));
      return false;
    }
    failures.add(error);
  }
  return true;
}

async function copyAll(options: CloneOptions, failures: Failures, when: WhenCopied): Promise<void> {
  const { log, key, directory, snapshot } = options;
  const open = { log, signal: failures.signal };
  // The first worker's pair of sessions does all that is not copying: one of each is enough.
  let dispensable = when === 'beside indexes';
  await using bulk = new HeldSession(
    () => openBulkTarget(options.target, 'large objects', { ...open, dispensable }),
    failures.signal,
  );
  const target = await bulk.get();
  dispensable = false;
  if ((await fetchDoneTasks(target, key)).has(phaseTask)) return;
  const refusal = await fetchLargeObjectRefusal(target);
  if (refusal !== null) {
    recordProblems(directory, [refusedLargeObjects(refusal)]);
    await recordDoneTask(target, key, { name: phaseTask, bytes: 0, rows: 0 });
    return;
  }
  const began = performance.now();
  await using source = new HeldSession(
    () => openInSnapshot(options.source, snapshot, 'large objects', open),
    failures.signal,
  );
  const work = await LargeObjectWork.plan(await source.get(), target, { ...options, onBytes: () => {} });
  const workers = Math.max(1, Math.min(options.largeObjectJobs ?? jobsUnlessTold, options.jobs.table));
  const fewer = new FewerConnections(log);
  let failed = false;
  const copy = async (sessions: LargeObjectSessions, worker: { readonly dispensable: boolean }) => {
    try {
      await work.work(sessions, failures.signal, worker);
    } catch (error) {
      if (worker.dispensable && hasNoConnection(error)) return fewer.say(asFailure(error));
      failed = true;
      failures.add(error);
    }
  };
  await Promise.all([
    copy({ source, target: bulk }, { dispensable }),
    runWorkers(workers - 1, async () => {
      const own = { ...open, dispensable: true };
      await using others = new HeldSession(
        () => openInSnapshot(options.source, snapshot, 'large objects', own),
        failures.signal,
      );
      await using theirs = new HeldSession(
        () => openBulkTarget(options.target, 'large objects', own),
        failures.signal,
      );
      await copy({ source: others, target: theirs }, { dispensable: true });
    }),
  ]);
  const { objects, bytes } = work.copied;
  addTiming(options.catalog, {
    step: stepLabels.largeObjects,
    connection: 'both',
    durationMs: performance.now() - began,
    bytes,
    concurrency: workers,
  });
  if (failed || failures.signal.aborted) return;
  const last = await bulk.get();
  recordProblems(directory, await work.finish(await source.get(), last));
  // A commit that waits for the disk, after those that did not.
  await last.query('reset synchronous_commit');
  await recordDoneTask(last, key, { name: phaseTask, bytes, rows: objects });
  log.info(`Copied ${objects} large objects`, { bytes });
}
