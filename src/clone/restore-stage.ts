/**
 * Restores one stage of the dump: what is on the target already is left out, what may not be done is reported, what
 * must not fail ends the run.
 */
import { join } from 'node:path';
import { Failure, throwIfStopped } from '../failure.js';
import type { Session } from '../postgres/connect.js';
import { locateClientTools } from '../postgres/client-tools.js';
import { entryLabel, restoreEntries, scriptEntries } from '../postgres/dump.js';
import type { DumpEntry, RestoreError, RestoreOptions } from '../postgres/dump.js';
import { fetchTargetObjects } from '../postgres/object-identity.js';
import { loadProblems, recordProblems } from './problems.js';
import { attempt, restoreInBatches } from './restore-batches.js';
import { judgeRestoreErrors } from './restore-errors.js';
import { madeByTheRun, ownerStatements, setOwners } from './restore-owners.js';
import { isRefusedSetting, madeElsewhere, placedEntries, readPlacements } from './restore-placements.js';
import { isPresent, placeEntries, entriesOfStage, withShellTypes } from './restore-plan.js';
import type { RestoreStage, TargetObjects } from './restore-plan.js';
import { planWaves } from './restore-waves.js';
import { withSettings } from './sessions.js';
import { schemaPaths } from './schema-file.js';
import type { SchemaFile } from './schema-file.js';
import type { CloneJobs, Problem, TargetWork } from './options.js';
import type { ClonePlan } from './plan.js';

export type StageRestore = {
  readonly work: TargetWork;
  readonly file: SchemaFile;
  readonly plan: ClonePlan;
  readonly stage: RestoreStage;
  readonly target: TargetObjects;
  /** server_version_num of the target. */
  readonly targetVersion: number;
  /** Drop what is there and make it anew; only schemas and extensions that are there are left. */
  readonly clean?: boolean;
  /** Only schemas: what must be there before them comes with the next call. */
  readonly onlySchemas?: boolean;
  /** A session in which entries are restored together, where they can be: none is waited for alone. */
  readonly session?: Session;
};

/** Restores the stage and returns what was refused. Throws `target-statement` for what cannot be done without. */
export async function restoreStage(given: StageRestore): Promise<Problem[]> {
  const { wanted: all } = splitStage(given);
  const wanted = given.session === undefined ? all : await restoreTogether(given, given.session, all);
  const restore = wanted.length === 0 ? given : { ...given, work: await withoutTimeout(given) };
  const { work, file, stage } = restore;
  const errors: RestoreError[] = [];
  // DROPs of one program could meet what another has made.
  const inWaves = stage === 'pre-data' && restore.clean !== true;
  const waves = inWaves ? planWaves(wanted, preDataJobs(work.jobs)) : [{ lists: [wanted], together: false }];
  for (const [number, { lists, together }] of waves.entries()) {
    const restored = lists.map(async (entries, share) => {
      const alone = waves.length === 1 && lists.length === 1;
      const options = restoreOptions(restore, entries, alone ? stage : `${stage}-${number + 1}-${share + 1}`);
      return together ? await restoreInBatches(options, lists.length) : await restoreEntries(options);
    });
    // All are waited for, so that none goes on behind a failure.
    for (const result of await Promise.allSettled(restored)) {
      if (result.status === 'rejected') throw result.reason;
      errors.push(...result.value);
    }
  }
  const elsewhere = await findElsewhere(restore, wanted, errors);
  const { problems: refused, fatal } = judgeRestoreErrors(
    elsewhere === null ? errors : errors.filter((error) => !isRefusedSetting(error)),
    new Map(file.entries.map((one) => [one.dumpId, one])),
    new Set([...loadProblems(work.directory).map(({ object }) => object), ...leftOutExtensions(file)]),
  );
  const problems = [...refused, ...(elsewhere ?? [])];
  recordProblems(work.directory, problems);
  // Where the run ends for what a table needs, the reason may be among what was only refused.
  const level = fatal.length > 0 ? 'warn' : 'notice';
  for (const { object, message } of problems) work.log[level](`target: ${object}: ${message}`);
  for (const { object, message, sql } of fatal) {
    work.log.error(`target: ${object}: ${message}`, sql === null ? {} : { sql });
  }
  const [first] = fatal;
  if (first !== undefined) {
    const others = fatal.length === 1 ? '' : ` (and ${fatal.length - 1} more, see the log)`;
    throw new Failure(
      'target-statement',
      `target: ${first.object} could not be created: ${first.message}${others}`,
      {
        remedy:
          'Make it possible on the target (an extension, a right, a setting), then run the same command with --resume.',
      },
    );
  }
  return problems;
}

/** What pg_restore made in another tablespace than it should have, or with another access method; null: as it tells. */
async function findElsewhere(
  restore: StageRestore,
  wanted: readonly DumpEntry[],
  errors: readonly RestoreError[],
): Promise<Problem[] | null> {
  if (!errors.some(isRefusedSetting)) return [];
  const { file, stage, targetVersion } = restore;
  const entries = placedEntries(wanted);
  const script = await scriptEntries(restoreOptions(restore, entries, `${stage}-placed`));
  const placements = script === null ? null : readPlacements(script, entries);
  if (placements === null) return null;
  const identities = new Map(file.identities);
  return madeElsewhere(errors, { entries, placements, identities, schema: file.schema, targetVersion });
}

// The servers that have the setting, and the programs that switch it off, as they do with all the other ones.
const transactionTimeoutFrom = 170_000;

/** The target as pg_restore is to connect to it: no index or materialized view of the dump takes too long. */
async function withoutTimeout({ work, file, targetVersion }: StageRestore): Promise<TargetWork> {
  if (targetVersion < transactionTimeoutFrom) return work;
  const tools = await locateClientTools({ serverVersion: file.schema.serverVersion });
  if (tools.version >= transactionTimeoutFrom) return work;
  const target = await withSettings(work.target, new Map([['transaction_timeout', '0']]), work);
  return { ...work, target };
}

/** Extensions that a filter or an option leaves out: what depends on one, and can be done without, is told. */
function leftOutExtensions({ entries, leftOut }: SchemaFile): string[] {
  const out = new Set(leftOut);
  return entries.filter(({ kind, dumpId }) => kind === 'EXTENSION' && out.has(dumpId)).map(entryLabel);
}

/** In one transaction: each may lock a table, and a server has room for some thousands of locks. */
const entriesTogether = 500;

/**
 * pg_restore waits for the answer to each statement, after a login of its own: hundreds of privileges and triggers, on a
 * server far away, are many seconds. So they are sent as one script, in a transaction. What is left is returned:
 * everything of a script that fails, of which pg_restore says what the matter is.
 */
async function restoreTogether(
  restore: StageRestore,
  session: Session,
  entries: readonly DumpEntry[],
): Promise<DumpEntry[]> {
  const left: DumpEntry[] = [];
  for (let from = 0; from < entries.length; from += entriesTogether) {
    const some = entries.slice(from, from + entriesTogether);
    const script = await scriptEntries(restoreOptions(restore, some, `${restore.stage}-together`));
    if (script === null || !(await attempt(session, script))) left.push(...some);
    throwIfStopped(restore.work.signal);
  }
  return left;
}

/**
 * The owners of the stage's objects that a run which was killed has made: see restore-owners.ts. `restore.target` is
 * what was there when this run began.
 */
export async function restoreOwners(restore: StageRestore, session: Session): Promise<Problem[]> {
  const { work, file } = restore;
  if (work.noOwner) return [];
  const made = madeByTheRun(work.directory, file, splitStage(restore).present);
  if (made.length === 0) return [];
  const options = restoreOptions(restore, made, 'owners');
  const withOwners = await scriptEntries(options);
  const without = await scriptEntries({ ...options, noOwner: true });
  const statements = withOwners === null || without === null ? null : ownerStatements(withOwners, without);
  if (statements === null) {
    work.log.warn('whether all that the earlier run has made has its owner on the target is not known');
    return [];
  }
  return await setOwners(session, statements);
}

/** As many as will have connections once rows are copied. */
function preDataJobs({ restore, preData = restore, table, index }: CloneJobs): number {
  return Math.min(preData, table + index);
}

function restoreOptions(
  { work, file, clean }: StageRestore,
  entries: readonly DumpEntry[],
  name: string,
): RestoreOptions {
  const { folder, dump } = schemaPaths(work.directory);
  return {
    target: work.target,
    file: dump,
    serverVersion: file.schema.serverVersion,
    listFile: join(folder, `${name}.list`),
    entries,
    noOwner: work.noOwner,
    noAcl: work.noAcl,
    noComments: work.noComments,
    noTablespaces: work.noTablespaces,
    clean: clean === true,
    log: work.log,
    signal: work.signal,
  };
}

/** As `restoreStage`, after a look at what the target has: of a stage without entries it is not even asked. */
export async function lookAndRestoreStage(
  restore: Omit<StageRestore, 'target' | 'targetVersion'>,
  session: () => Promise<Session>,
): Promise<Problem[]> {
  const entries = stageEntries(restore);
  if (entries.length === 0) return [];
  const { serverVersion: targetVersion } = await session();
  const ofIndexes = entries.some(({ kind }) => kind === 'INDEX');
  const target = await fetchTargetObjects(await session(), { ofIndexes });
  // A refresh reads tables, and event triggers fire at what comes after them: both one by one.
  const quick = restore.stage === 'finalize' || restore.stage === 'privileges';
  const together = quick ? { session: await session() } : {};
  return await restoreStage({ ...restore, ...together, target, targetVersion });
}

/** The stage's entries: those to be restored, and those that the target has. */
export function splitStage(restore: StageRestore): { wanted: DumpEntry[]; present: DumpEntry[] } {
  const { file, target } = restore;
  const identities = withShellTypes(file.entries, file.identities);
  const wanted: DumpEntry[] = [];
  const present: DumpEntry[] = [];
  for (const entry of stageEntries(restore)) {
    if (restore.onlySchemas === true && entry.kind !== 'SCHEMA') continue;
    const mayStay = restore.clean !== true || entry.kind === 'SCHEMA' || entry.kind === 'EXTENSION';
    if (mayStay && isPresent(entry, identities, target, file.schema)) present.push(entry);
    else wanted.push(entry);
  }
  return { wanted, present };
}

function stageEntries({
  file,
  plan,
  work,
  stage,
}: Omit<StageRestore, 'target' | 'targetVersion'>): DumpEntry[] {
  const placements = placeEntries(file.entries, {
    schema: file.schema,
    ownIndexes: plan.ownIndexes,
    ownConstraints: plan.ownConstraints,
    ownPublications: new Set(work.leaveOut.publications),
    leftOut: new Set(file.leftOut),
  });
  return entriesOfStage(file.entries, placements, stage);
}
