/**
 * The parts of a clone as steps of their own, for whoever puts a clone together by hand: restore pre-data, copy rows,
 * build indexes, restore post-data. What there is to do follows from the schema in the work directory (`schema/`,
 * read and dumped by the first step that needs it) and from the target: a step that is run again does what is left.
 */
import { Failure } from '../failure.js';
import { quoteIdentifier } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { fetchTargetObjects } from '../postgres/object-identity.js';
import { fetchDoneTasks, forgetDoneTasksLike } from '../postgres/task-table.js';
import { ensureTargetSchema } from '../postgres/target-schema.js';
import { copyEverything, preDataTask, restoreBeforeChanges, restorePreData, storePlan } from './clone.js';
import { runCopyPhase } from './copy-phase.js';
import { fetchPresentIndexes } from './present-indexes.js';
import { copyConfiguration, createExtensions } from './extensions.js';
import { Failures } from './failures.js';
import { finalizeTarget } from './finalize.js';
import { copyLargeObjects, prepareLargeObjects } from './large-object-phase.js';
import type { CloneOptions, TargetWork } from './options.js';
import { planClone } from './plan.js';
import type { ClonePlan } from './plan.js';
import { recordProblems } from './problems.js';
import { copyPhaseTask, prepareSchema, type SchemaOptions } from './prepare-schema.js';
import { ProgressTeller } from './progress.js';
import { expectKeysHoldInParts } from './published-keys.js';
import { restoreStage, type StageRestore } from './restore-stage.js';
import { loadSchemaFile, makeSchemaFolder, saveSchemaFile } from './schema-file.js';
import type { SchemaFile } from './schema-file.js';
import { openInSnapshot, openTarget } from './sessions.js';
import { withoutSkipped } from './skipped.js';
import { withSplits } from './split-schema.js';
import { emptyTables, fetchRowTarget } from './row-target.js';

/** Reads and dumps the source's schema in the snapshot, in place of what the work directory held. */
export async function dumpSource(options: SchemaOptions): Promise<void> {
  await makeSchemaFolder(options.directory);
  await prepareSchema({ ...options, resume: false }, new Map(), new ProgressTeller(options.onProgress));
}

/** Whether the work directory holds a schema that the steps can go by. */
export async function holdsSchema(directory: string): Promise<boolean> {
  return (await loadSchemaFile(directory)) !== null;
}

/** With all that options left out of it, which a step may ask for anew. */
async function requireWhole(directory: string): Promise<SchemaFile> {
  const file = await loadSchemaFile(directory);
  if (file !== null) return file;
  throw new Failure('work-directory-broken', `${directory} does not hold a dump of the source's schema`, {
    remedy: 'Run `walferry dump schema` with this --dir first, or give --source too.',
  });
}

async function requireSchema(work: TargetWork): Promise<{ file: SchemaFile; plan: ClonePlan }> {
  const file = withoutSkipped(await requireWhole(work.directory), work);
  return { file, plan: planClone(file.schema, new Set(file.withoutRows)) };
}

/** A step's options in the shape of a clone's, for parts that read nothing from the source. */
function withoutSource(
  work: TargetWork,
  choices: Pick<CloneOptions, 'resume' | 'dropIfExists' | 'onBegin'>,
): CloneOptions {
  const nothingOfIt = { snapshot: '', follow: false, skipLargeObjects: true, roles: null };
  return { ...work, ...choices, source: work.target, ...nothingOfIt };
}

/**
 * Restores what rows need. `resume` trusts what the target's task table says; without it, the source's tables must not
 * be there. Large objects are left to `copyLargeObjectsOnly`. `source`: whose roles are copied, where that is asked for
 * and it is given.
 */
export async function restorePreDataOnly(
  work: TargetWork,
  source: Conninfo | null,
  choices: Pick<CloneOptions, 'resume' | 'dropIfExists' | 'onBegin'>,
): Promise<void> {
  const { file, plan } = await requireSchema(work);
  const alone = withoutSource(work, choices);
  const options = source === null ? alone : { ...alone, source, roles: work.roles };
  const done = await doneTasks(work, choices.resume);
  if (done.has(preDataTask)) {
    work.log.info('pre-data is on the target already: nothing to do');
    return;
  }
  await restorePreData(options, file, plan, done);
}

async function doneTasks(work: TargetWork, trusted: boolean): ReturnType<typeof fetchDoneTasks> {
  await using target = await openTarget(work.target, 'step', work);
  await ensureTargetSchema(target);
  return trusted ? await fetchDoneTasks(target, work.key) : new Map();
}

/** Everything behind the rows: what of the indexes and constraints is not there yet, then pg_restore's part. */
export async function restorePostDataOnly(work: TargetWork): Promise<void> {
  await buildIndexes(work, 'indexes and constraints');
  const { file, plan } = await requireSchema(work);
  await restoreBeforeChanges(withoutSource(work, { resume: true, dropIfExists: false }), file, plan);
  await finalizeTarget(work);
}

/** Builds the indexes that the target lacks, and adds the constraints; or these alone, from indexes that are there. */
export async function buildIndexes(
  work: TargetWork,
  what: 'indexes and constraints' | 'constraints',
): Promise<void> {
  const { file, plan } = await requireSchema(work);
  const options = { ...withoutSource(work, { resume: true, dropIfExists: false }), skipVacuum: true };
  const tables = plan.tables.map((table) => ({
    ...table,
    withRows: false,
    indexes: what === 'constraints' ? [] : table.indexes,
  }));
  const own: ClonePlan = { ...plan, tables };
  storePlan(options, own);
  const progress = new ProgressTeller(undefined);
  await using target = await openTarget(work.target, 'step', work);
  const present = await fetchPresentIndexes(target, tables);
  await runCopyPhase({ options, schema: file.schema, plan: own, progress, done: new Map(), present });
  work.log.info(`${what} are on the target`);
}

export type RowsChoices = {
  /** Also indexes, constraints, statistics, large objects and the rows of extensions. */
  readonly andTheRest: boolean;
};

// `copy "schema"."table"` with all its parts, and `copy phase`.
const rowTasks = 'copy %';
const largeObjectTasks = 'large object%';
const extensionTasks = 'extension %';

function isBegun(done: ReadonlyMap<string, unknown>, pattern: string): boolean {
  return [...done.keys()].some((name) => name.startsWith(pattern.slice(0, -1)));
}

/**
 * Copies rows into tables that are there. Without `resume` nothing may be in them, unless `dropIfExists` says that
 * they may be emptied. Throws `target-setup` when tables are missing, or have triggers that cannot be kept from firing.
 */
export async function copyRowsOnly(options: CloneOptions, { andTheRest }: RowsChoices): Promise<void> {
  if (!options.resume) await chooseRows(options);
  const { file, plan } = await requireSchema(options);
  const progress = new ProgressTeller(options.onProgress);
  const done = await doneTasks(options, options.resume);
  if (done.has(copyPhaseTask) && !andTheRest) {
    options.log.info('the rows of all tables are on the target already: nothing to do');
    return;
  }
  const withRows = plan.tables.filter((table) => table.withRows);
  const rowTarget = done.has(copyPhaseTask) ? options.target : await fetchRowTarget(options, withRows);
  if (!options.resume) {
    // Triggers that fire when a table is emptied are kept quiet, as those that fire at rows are.
    await using target = await openTarget(rowTarget, 'step', options);
    const patterns = andTheRest ? [rowTasks, largeObjectTasks, extensionTasks] : [rowTasks];
    await forgetDoneTasksLike(target, options.key, patterns);
    if (options.dropIfExists) await emptyTables(target, withRows);
  }
  if (andTheRest && !isBegun(done, largeObjectTasks)) {
    await using target = await openTarget(options.target, 'step', options);
    await prepareLargeObjects(options, file, target);
  }
  const own: ClonePlan = andTheRest
    ? plan
    : { ...plan, tables: plan.tables.map((table) => ({ ...table, indexes: [], finishing: [] })) };
  const ownOptions: CloneOptions = {
    ...options,
    target: rowTarget,
    ...(andTheRest ? {} : { skipVacuum: true, skipLargeObjects: true }),
  };
  storePlan(ownOptions, own);
  progress.plan({
    tables: own.tables.length,
    indexes: own.tables.reduce((total, table) => total + table.indexes.length, 0),
    bytes: withRows.reduce((total, { table }) => total + table.bytes, 0),
  });
  progress.enter('copy');
  await copyEverything(ownOptions, andTheRest ? file : { ...file, extensions: [] }, own, progress);
  const count = withRows.length;
  options.log.info(`the rows of ${count === 1 ? '1 table' : `${count} tables`} are on the target`);
}

/**
 * Which rows, and in what parts large tables are copied, is decided here, long after the schema was dumped: a stream may
 * have been set up since.
 */
async function chooseRows(options: CloneOptions): Promise<void> {
  const { split = null, published = [] } = options;
  const file = await requireWhole(options.directory);
  if (split === null && published.length === 0 && (file.schema.parts ?? []).length === 0) return;
  await using source = await openInSnapshot(options.source, options.snapshot, 'step', options);
  const schema = { ...(await withSplits(source, file.schema, split)), parts: published };
  await expectKeysHoldInParts(source, schema);
  await saveSchemaFile(options.directory, { ...file, schema });
}

/** Copies the large objects, with owners, comments and privileges. */
export async function copyLargeObjectsOnly(given: CloneOptions): Promise<void> {
  // This is what the command is for.
  const options = { ...given, skipLargeObjects: false };
  const { file } = await requireSchema(options);
  const done = await doneTasks(options, options.resume);
  if (!file.schema.largeObjects) {
    options.log.info('the source has no large objects');
    return;
  }
  if (!isBegun(done, largeObjectTasks)) {
    await using target = await openTarget(options.target, 'step', options);
    await forgetDoneTasksLike(target, options.key, [largeObjectTasks]);
    await prepareLargeObjects(options, file, target);
  }
  const failures = new Failures({ failFast: options.failFast, log: options.log, signal: options.signal });
  await copyLargeObjects(options, file, failures);
  failures.throwIfAny();
}

/**
 * Makes the extensions in their schemas, and copies the rows of their configuration tables: to be run before anything
 * else, by a role that may. Throws `target-statement` with all that was refused.
 */
export async function copyExtensionsOnly(options: CloneOptions): Promise<void> {
  // Those that the dump was made without are what this step is for.
  const file = await requireWhole(options.directory);
  await doneTasks(options, true);
  await using target = await openTarget(options.target, 'extensions', options);
  if (!options.resume) await forgetDoneTasksLike(target, options.key, [extensionTasks]);
  const schemas = await extensionSchemas(options, file, target);
  await restoreStage({ ...schemas, stage: 'pre-data' });
  const all = new Set(file.extensions.map(({ name }) => name));
  const problems = await createExtensions(target, file.extensions, options.requirements ?? [], all);
  await restoreStage({ ...schemas, stage: 'privileges' });
  if (problems.length === 0 && file.extensions.some(({ configuration }) => configuration.length > 0)) {
    await using source = await openInSnapshot(options.source, options.snapshot, 'extensions', options);
    const { key, dropIfExists: replace, log, signal } = options;
    const copy = { source, target, key, replace, log, signal };
    problems.push(...(await copyConfiguration(file.extensions, copy)));
  }
  recordProblems(options.directory, problems);
  if (problems.length === 0) return;
  const list = problems.map(({ object, message }) => `${object}: ${message}`).join('\n');
  throw new Failure('target-statement', list);
}

/** How to make the schemas that extensions are in, with owner, comment and privileges; one that is there stays as it is. */
async function extensionSchemas(
  work: TargetWork,
  file: SchemaFile,
  target: Session,
): Promise<Omit<StageRestore, 'stage'>> {
  const objects = await fetchTargetObjects(target);
  // As pg_identify_object prints them: in quotes where they need some.
  const wanted = new Set(
    file.extensions.flatMap(({ schema }) => [`schema ${schema}`, `schema ${quoteIdentifier(schema)}`]),
  );
  const missing = new Set(
    file.identities
      .filter(([, identity]) => wanted.has(identity) && !objects.identities.has(identity))
      .map(([dumpId]) => dumpId),
  );
  const entries = file.entries.filter(
    ({ dumpId, kind, dependencies }) =>
      missing.has(dumpId) ||
      (['ACL', 'COMMENT'].includes(kind) && dependencies.some((id) => missing.has(id))),
  );
  return {
    work,
    file: { ...file, entries, leftOut: [] },
    plan: planClone(file.schema),
    target: objects,
    targetVersion: target.serverVersion,
  };
}
