/**
 * Large objects within a clone: after the tables, when their workers' connections are free, and while indexes are
 * built.
 */
import { addTiming } from '../catalog/timings.js';
import type { Session } from '../postgres/connect.js';
import { fetchDoneTasks, recordDoneTask } from '../postgres/task-table.js';
import type { Failures } from './failures.js';
import {
  clearLargeObjects,
  fetchLargeObjectRefusal,
  LargeObjectWork,
  refusedLargeObjects,
} from './large-objects.js';
import type { CloneOptions } from './options.js';
import { recordProblems } from './problems.js';
import type { SchemaFile } from './schema-file.js';
import { HeldSession, openBulkTarget, openInSnapshot, openTarget } from './sessions.js';
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

/** Copies what is left of them. What fails is added to the failures. */
export async function copyLargeObjects(
  options: CloneOptions,
  file: SchemaFile,
  failures: Failures,
): Promise<void> {
  if (!isWanted(options, file)) return;
  try {
    await copyAll(options, failures);
  } catch (error) {
    failures.add(error);
  }
}

async function copyAll(options: CloneOptions, failures: Failures): Promise<void> {
  const { log, key, directory, snapshot } = options;
  const open = { log, signal: failures.signal };
  await using target = await openTarget(options.target, 'large objects', open);
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
  // The first worker takes over the session that made the plan.
  const workers = Math.max(1, Math.min(options.largeObjectJobs ?? jobsUnlessTold, options.jobs.table));
  let first = true;
  let failed = false;
  await runWorkers(workers, async () => {
    await using own = new HeldSession(
      () => openInSnapshot(options.source, snapshot, 'large objects', open),
      failures.signal,
    );
    await using bulk = new HeldSession(
      () => openBulkTarget(options.target, 'large objects', open),
      failures.signal,
    );
    const sessions = { source: first ? source : own, target: bulk };
    first = false;
    try {
      await work.work(sessions, failures.signal);
    } catch (error) {
      failed = true;
      failures.add(error);
    }
  });
  const { objects, bytes } = work.copied;
  addTiming(options.catalog, {
    step: stepLabels.largeObjects,
    connection: 'both',
    durationMs: performance.now() - began,
    bytes,
    concurrency: workers,
  });
  if (failed || failures.signal.aborted) return;
  recordProblems(directory, await work.finish(await source.get(), target));
  await recordDoneTask(target, key, { name: phaseTask, bytes, rows: objects });
  log.info(`Copied ${objects} large objects`, { bytes });
}
