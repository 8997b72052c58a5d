/**
 * A clone from its beginning to its end. With `follow` it ends before finalize and sequences: whoever applies the
 * changes calls `finalizeTarget` and `setSequences` when the last one is applied.
 *
 *     catalog queries, dump      in the snapshot
 *     pre-data                   pg_restore
 *     copy phase                 rows, indexes, constraints, statistics
 *     before-changes             pg_restore: what is left for the target to be able to take changes
 *     sequences, finalize        without follow only
 *
 * A resumed run goes through the same steps; each looks at the target, or at the work directory's files, for what is
 * left to do. That pre-data is complete is a row of the target's task table like any copied table.
 */
import { planTasks, forgetTasks } from '../catalog/tasks.js';
import type { PlannedTask } from '../catalog/tasks.js';
import { addTiming } from '../catalog/timings.js';
import { Failure } from '../failure.js';
import { failpoint } from '../failpoint.js';
import { quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import { entryLabel } from '../postgres/dump.js';
import { fetchTargetObjects } from '../postgres/object-identity.js';
import { fetchTables } from '../postgres/schema.js';
import type { SourceSchema, TableFacts } from '../postgres/schema.js';
import { forgetGenerations } from '../postgres/generation.js';
import { ensureTargetSchema } from '../postgres/target-schema.js';
import {
  doneTasksStatement,
  fetchDoneTasks,
  forgetDoneTasks,
  recordDoneTask,
} from '../postgres/task-table.js';
import type { DoneTask } from '../postgres/task-table.js';
import { runCopyPhase } from './copy-phase.js';
import type { CopyPhase, WhenCopied } from './copy-phase.js';
import type { Failures } from './failures.js';
import { finalizeTarget, relaxAlwaysIdentities } from './finalize.js';
import { analyzeParents } from './analyze.js';
import { dropDatabaseObjects } from './drop-target.js';
import { setDatabaseProperties } from './database-properties.js';
import { distributeTables, firstExtensions, pauseTimescale } from './extension-hooks.js';
import { copyConfiguration, createExtensions } from './extensions.js';
import type { ExtensionRequirement } from './extensions.js';
import { copyLargeObjects, prepareLargeObjects } from './large-object-phase.js';
import { goOnLater, isOfSeveralMoments } from './later-snapshot.js';
import { runTask, type CloneOptions } from './options.js';
import { planClone } from './plan.js';
import type { ClonePlan } from './plan.js';
import { fetchPresentIndexes } from './present-indexes.js';
import { expectIndexNames, expectNoTables, listLabels } from './requirements.js';
import { forgetProblems, loadProblems, recordProblems } from './problems.js';
import { ProgressTeller } from './progress.js';
import { saveWhatIsThere } from './restore-owners.js';
import { lookAndRestoreStage, restoreOwners, restoreStage, splitStage } from './restore-stage.js';
import type { StageRestore } from './restore-stage.js';
import { copyRoles } from './roles.js';
import { makeSchemaFolder } from './schema-file.js';
import type { SchemaFile } from './schema-file.js';
import { setSequences } from './sequences.js';
import { openInSnapshot, openTarget, withoutWaiting } from './sessions.js';
import { lendTarget, SpareTarget } from './spare-target.js';
import { loadCloneSummary, stepLabels } from './summary.js';
import type { CloneSummary } from './summary.js';
import { timed } from './timed.js';
import { copyPhaseTask, prepareSchema } from './prepare-schema.js';

export { finalizeTarget } from './finalize.js';
export { seenAtTheBeginning } from './later-snapshot.js';
export { setSequences } from './sequences.js';

/** Tasks of the target's task table that are no table's rows. */
const lookTask = 'look at the target';
export const preDataTask = 'pre-data';

/** The tables that a clone copies, and the partitioned parents: read in the session's own snapshot. */
export function listRelations(session: Session): Promise<TableFacts[]> {
  return fetchTables(session);
}

/** Clones the source into the target, or goes on with it. */
export async function cloneDatabase(given: CloneOptions): Promise<CloneSummary> {
  const began = performance.now();
  await using spare = new SpareTarget();
  const options: CloneOptions = { ...given, spare };
  const { directory } = options;
  const progress = new ProgressTeller(options.onProgress);
  await makeSchemaFolder(directory);
  if (!options.resume) forgetProblems(directory);
  await copyAndComplete(options, progress);
  const { table, index } = options.jobs;
  addTiming(options.catalog, {
    step: stepLabels.total,
    connection: 'both',
    durationMs: performance.now() - began,
    bytes: 0,
    concurrency: table + index,
  });
  progress.enter('done');
  return loadCloneSummary(options.catalog, options.jobs, loadProblems(directory));
}

/** All of it, but for what is told of it: the source's schema, the largest thing in memory, is given up before. */
async function copyAndComplete(options: CloneOptions, progress: ProgressTeller): Promise<void> {
  const preparing = prepareTarget(options);
  // What is there decides how a resumed run goes on; another one does not wait for it.
  const done = options.resume ? await preparing : new Map<string, DoneTask>();
  const [, file] = await bothOf(preparing, prepareSchema(options, done, progress));
  options.onSchema?.(file.schema);
  const plan = planClone(file.schema, new Set(file.withoutRows));
  for (const remark of plan.remarks) options.log.warn(remark);
  storePlan(options, plan);
  if (options.generation !== undefined && !done.has(copyPhaseTask))
    await goOnLater(options, file, plan, done);
  progress.plan({
    tables: plan.tables.length,
    indexes: plan.tables.reduce((total, table) => total + table.indexes.length, 0),
    bytes: plan.tables.reduce((total, { table, withRows }) => total + (withRows ? table.bytes : 0), 0),
  });

  progress.enter('pre-data');
  if (!done.has(preDataTask)) {
    await timed(options, stepLabels.prepare, 'target', 1, () => restorePreData(options, file, plan, done));
  }
  progress.enter('copy');
  const { table, index } = options.jobs;
  await timed(options, stepLabels.copyPhase, 'both', table + index, () =>
    copyEverything(options, file, plan, progress),
  );
  progress.enter('post-data');
  await restoreBeforeChanges(options, file, plan);
  if (!options.follow) {
    progress.enter('sequences');
    await setSequences(options);
    progress.enter('finalize');
    await finalizeTarget(options, { file, plan });
  }
}

/** Waits for both, so that neither goes on behind a failure of the other. Throws the first one's failure first. */
async function bothOf<First, Second>(
  first: Promise<First>,
  second: Promise<Second>,
): Promise<[First, Second]> {
  const [one, other] = await Promise.allSettled([first, second]);
  if (one.status === 'rejected') throw one.reason;
  if (other.status === 'rejected') throw other.reason;
  return [one.value, other.value];
}

/** The target's own tables, and what it holds of this clone: nothing when the run starts from nothing. */
async function prepareTarget(options: CloneOptions): Promise<Map<string, DoneTask>> {
  await using lent = await lendTarget(options);
  const target = lent.session;
  await ensureTargetSchema(target);
  if (options.resume) return await fetchOwnTasks(target, options);
  forgetTasks(options.catalog);
  return new Map();
}

/**
 * The tasks that this run has done. Two work directories with the same source and target share their keys: what the
 * one has copied since is no reason for the other to be complete.
 */
async function fetchOwnTasks(target: Session, options: CloneOptions): Promise<Map<string, DoneTask>> {
  const done = await fetchDoneTasks(target, options.key);
  const { run, directory } = options;
  const marked = [...done.keys()].some((name) => name.startsWith(runTask));
  // Those of a walferry that made no mark are trusted.
  if (run === undefined || !marked || done.has(`${runTask}${run}`)) return done;
  throw new Failure(
    'target-not-empty',
    `the target holds what another run has copied, not the one in ${directory}`,
    { remedy: 'Choose another target, or begin anew with --restart, which drops the tables.' },
  );
}

export function storePlan(options: CloneOptions, plan: ClonePlan): void {
  const relations = plan.tables.map(({ table }) => table).toSorted((a, b) => a.oid - b.oid);
  const tasks = plan.tables.flatMap((one): PlannedTask[] => {
    const relationOid = one.table.oid;
    const about = { relationOid, object: one.label };
    return [
      ...(one.withRows ? one.parts : []).map(({ task, label }): PlannedTask => ({
        name: task,
        kind: 'copy',
        relationOid,
        object: label,
      })),
      ...one.indexes.map((index): PlannedTask => ({
        name: index.task,
        kind: 'index',
        relationOid,
        object: index.label,
      })),
      ...(one.finishing.length === 0
        ? []
        : [{ ...about, name: `constraints ${one.qualified}`, kind: 'constraint' } as const]),
      ...(options.skipVacuum
        ? []
        : [{ ...about, name: `analyze ${one.qualified}`, kind: 'analyze' } as const]),
    ];
  });
  planTasks(options.catalog, relations, tasks);
}

/**
 * Restores everything that the rows need. What was there before the run must not be taken for what the run has made:
 * so the target is looked at once, before anything is made, and that this is done is a task of its own. With
 * --drop-if-exists everything is dropped and made anew until pre-data is complete; nothing is copied before.
 */
export async function restorePreData(
  options: CloneOptions,
  file: SchemaFile,
  plan: ClonePlan,
  done: ReadonlyMap<string, DoneTask>,
): Promise<void> {
  await using lent = await lendTarget(options);
  const target = lent.session;
  // A statement for each of thousands of objects, each a commit: that pre-data is complete is recorded durably.
  const notWaiting = withoutWaiting(options.target, options);
  notWaiting.catch(() => {});
  const clean = options.dropIfExists;
  // Whoever is refused leaves all as it was, the tasks of another run too.
  if (!done.has(lookTask)) {
    const { tables, indexes } = file.schema;
    if (!clean) await expectNoTables(target, tables);
    await expectIndexNames(target, indexes, tables);
    if (!clean) await prepareLargeObjects(options, file, target);
  }
  options.onBegin?.();
  if (!options.resume) {
    await forgetDoneTasks(target, options.key);
    await forgetGenerations(target, options.key);
  }
  if (clean) {
    await dropDatabaseObjects(target, file);
    await dropTables(target, file.schema);
  }
  const objects = await fetchTargetObjects(target);
  const work = { ...options, target: await notWaiting };
  const { serverVersion: targetVersion } = target;
  const restore = { work, file, plan, stage: 'pre-data', target: objects, targetVersion, clean } as const;
  if (!done.has(lookTask)) {
    sayWhatIsThere(options, restore);
    saveWhatIsThere(options.directory, file, objects);
    if (clean) await prepareLargeObjects(options, file, target);
    const tasks = [lookTask, ...(options.run === undefined ? [] : [`${runTask}${options.run}`])];
    const statement = doneTasksStatement(
      options.key,
      tasks.map((name) => ({ name, bytes: 0, rows: 0 })),
    );
    await target.query(statement);
  }
  const { directory } = options;
  if (options.roles !== null && options.roles !== undefined) {
    const { serverVersion } = file.schema;
    recordProblems(directory, await copyRoles({ ...options, ...options.roles, serverVersion }));
  }
  // Sessions that are opened from here on have them.
  recordProblems(directory, await setDatabaseProperties(target, file.properties, 'before'));
  const requirements = options.requirements ?? [];
  let nowThere = objects;
  if (file.extensions.some(({ name }) => firstExtensions.has(name) || requires(requirements, name))) {
    await restoreStage({ ...restore, onlySchemas: true });
    const made = await createExtensions(target, file.extensions, requirements, firstExtensions);
    recordProblems(directory, [...made, ...(await pauseTimescale(target, file.extensions))]);
    nowThere = await fetchTargetObjects(target);
  }
  await restoreStage({ ...restore, target: nowThere });
  if (done.has(lookTask) && !clean) recordProblems(directory, await restoreOwners(restore, target));
  recordProblems(directory, await distributeTables(target, file.citusTables));
  if (options.follow) await relaxAlwaysIdentities(target, file);
  failpoint('clone.pre-data');
  await recordDoneTask(target, options.key, { name: preDataTask, bytes: 0, rows: 0 });
}

function requires(requirements: readonly ExtensionRequirement[], name: string): boolean {
  return requirements.some((one) => one.name === name);
}

// A statement that drops thousands of tables would need as many locks at once.
const dropAtOnce = 200;

async function dropTables(target: Session, schema: SourceSchema): Promise<void> {
  const names = schema.tables.map((table) => quoteQualified(table.schema, table.name));
  for (let from = 0; from < names.length; from += dropAtOnce) {
    const some = names.slice(from, from + dropAtOnce);
    await target.query(`drop table if exists ${some.join(', ')} cascade`, [], 'could not drop tables');
  }
}

/** Objects of others that take the place of the source's: their definitions are not compared. */
function sayWhatIsThere(options: CloneOptions, restore: StageRestore): void {
  const { present } = splitStage(restore);
  const others = present.filter((entry) => !['SCHEMA', 'EXTENSION', 'COMMENT'].includes(entry.kind));
  if (others.length === 0) return;
  options.log.warn(
    `the target has ${others.length} objects of these names already, which stay as they are: ${listLabels(others.map(entryLabel))}`,
  );
}

export async function copyEverything(
  options: CloneOptions,
  file: SchemaFile,
  plan: ClonePlan,
  progress: ProgressTeller,
): Promise<void> {
  const { schema } = file;
  const { done, present } = await lookUpCopied(options, plan);
  const afterTables = (failures: Failures, when: WhenCopied) =>
    copyLargeObjects(options, file, failures, when);
  await runCopyPhase({ options, schema, plan, progress, done, present, afterTables });
  if (done.has(copyPhaseTask)) return;
  await copyConfigurationRows(options, file);
  await using lent = await lendTarget(options);
  const target = lent.session;
  await expectAllCopied(target, options, plan);
  if (!options.skipVacuum) await analyzeParents(target, schema, options.log);
  // A commit that waits for the disk, after those of the workers that did not.
  await recordDoneTask(target, options.key, { name: copyPhaseTask, bytes: 0, rows: 0 });
  failpoint('clone.copied');
}

async function copyConfigurationRows(options: CloneOptions, { extensions }: SchemaFile): Promise<void> {
  if (extensions.every(({ configuration }) => configuration.length === 0)) return;
  await using source = await openInSnapshot(options.source, options.snapshot, 'extensions', options);
  await using target = await openTarget(options.target, 'extensions', options);
  const { key, generation, dropIfExists: replace, log, signal } = options;
  const copy = { source, target, key, generation, replace, log, signal };
  const problems = await copyConfiguration(extensions, copy);
  recordProblems(options.directory, problems);
}

async function lookUpCopied(
  options: CloneOptions,
  plan: ClonePlan,
): Promise<Pick<CopyPhase, 'done' | 'present'>> {
  await using lent = await lendTarget(options);
  return {
    done: await fetchDoneTasks(lent.session, options.key),
    present: await fetchPresentIndexes(lent.session, plan.tables),
  };
}

/** Whatever our workers believe: the target says that it holds every table. */
async function expectAllCopied(target: Session, options: CloneOptions, plan: ClonePlan): Promise<void> {
  const held = await fetchDoneTasks(target, options.key);
  const missing = plan.tables
    .filter((table) => table.withRows)
    .flatMap((table) => table.parts.filter(({ task }) => !held.has(task)).map(({ label }) => label));
  if (missing.length > 0) {
    throw new Failure('internal', `the target does not have the rows of ${listLabels(missing)}`);
  }
  const mixed = plan.tables.filter((table) => isOfSeveralMoments(table, held)).map(({ label }) => label);
  if (mixed.length === 0) return;
  throw new Failure('snapshot-lost', `parts of ${listLabels(mixed)} were copied from different snapshots`, {
    remedy: 'Run the same command with --resume: it copies them again, whole.',
  });
}

export async function restoreBeforeChanges(
  options: CloneOptions,
  file: SchemaFile,
  plan: ClonePlan,
): Promise<void> {
  await using lent = await lendTarget(options);
  const restore = { work: options, file, plan, stage: 'before-changes' } as const;
  await lookAndRestoreStage(restore, () => Promise.resolve(lent.session));
}
