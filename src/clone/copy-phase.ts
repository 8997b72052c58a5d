/**
 * Rows, indexes, constraints and statistics of all tables, side by side.
 *
 * Table workers (table-workers.ts) each hold a pair of sessions and copy tables from the plan, in pieces, the largest
 * first. A table that is in releases its indexes to the index workers (index-work.ts), who share one queue:
 *
 *     copy ─▶ index, index, … (at once, while the rows are cached) ─▶ finishing (exclusive) ─▶ analyze
 *
 * Small tables go this way together, many statements to a round trip, and in the end with all hands. Connections: a pair for each table worker, and
 * one for each index worker.
 *
 * What is done already is looked up on the target: tables in the task table, indexes and constraints by name.
 */
import { TaskRecorder } from '../catalog/tasks.js';
import { fetchCopyTargets, type CopyTarget } from '../postgres/copy-target.js';
import type { SourceSchema } from '../postgres/schema.js';
import type { DoneTask } from '../postgres/task-table.js';
import { Failures } from './failures.js';
import { IndexWork } from './index-work.js';
import type { CloneOptions } from './options.js';
import type { ClonePlan, FormatChoice } from './plan.js';
import type { PresentIndexes } from './present-indexes.js';
import type { ProgressTeller } from './progress.js';
import { lendTarget } from './spare-target.js';
import { runTableWorkers } from './table-workers.js';

export type CopyPhase = {
  readonly options: CloneOptions;
  readonly schema: SourceSchema;
  readonly plan: ClonePlan;
  readonly progress: ProgressTeller;
  /** What the target holds at the beginning. */
  readonly done: ReadonlyMap<string, DoneTask>;
  readonly present: PresentIndexes;
  /** The target's tables, by qualified name. */
  readonly targets: ReadonlyMap<string, CopyTarget>;
  readonly format: FormatChoice;
  /**
   * What else is copied by table workers' connections, when they are free; adds to the failures itself. False where there
   * was no connection after all, and it is to be done when the indexes are there: then it waits for one.
   */
  readonly afterTables?: (failures: Failures, when: WhenCopied) => Promise<boolean>;
};

export type WhenCopied = 'beside indexes' | 'alone';

/** What the caller knows of the phase; the rest is looked up on the target. */
export type CopyPhaseInput = Omit<CopyPhase, 'targets' | 'format'>;

/** Does all of it. Throws the failures of all workers together. */
export async function runCopyPhase(input: CopyPhaseInput): Promise<void> {
  const phase: CopyPhase = { ...input, ...(await lookAtTarget(input)) };
  const { options } = phase;
  await options.spare?.close();
  const failures = new Failures({ failFast: options.failFast, log: options.log, signal: options.signal });
  const recorder = new TaskRecorder(options.catalog);
  const indexWork = new IndexWork(phase, failures, recorder);
  let others = true;
  try {
    await Promise.all([
      runTableWorkers(phase, failures, recorder, (tables) => indexWork.tablesAreIn(tables))
        .then(async () => (others = (await phase.afterTables?.(failures, 'beside indexes')) ?? true))
        .finally(() => indexWork.noMoreTables())
        .then(() => indexWork.help(options.jobs.table)),
      indexWork.run(),
    ]);
    if (!others) await phase.afterTables?.(failures, 'alone');
  } finally {
    recorder.flush();
  }
  failures.throwIfAny();
}

async function lookAtTarget({
  options,
  schema,
}: CopyPhaseInput): Promise<Pick<CopyPhase, 'targets' | 'format'>> {
  await using lent = await lendTarget(options);
  const target = lent.session;
  return {
    targets: await fetchCopyTargets(target),
    format: {
      binaryAsked: options.useCopyBinary === true,
      source: { version: schema.serverVersion, encoding: schema.encoding },
      target: { version: target.serverVersion, encoding: target.parameter('server_encoding') ?? '' },
    },
  };
}
