/**
 * What is created on the target only after the last change (DESIGN 6). Every step looks first what is there, so the
 * whole may be run again at any time:
 *
 *     foreign keys, NOT VALID (from here on new rows are checked)
 *     identity columns back to GENERATED ALWAYS
 *     triggers, rules, policies, row security, publications
 *     privileges
 *     materialized views, which are filled with the rights of their owners: indexes, contents
 *     settings of the database that would have been in the way
 *   (here the application may write, where there are no event triggers)
 *     foreign keys validated, side by side, without keeping anybody from writing
 *     event triggers: last, they would fire at all of the above
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { planTasks, TaskRecorder } from '../catalog/tasks.js';
import { addTiming } from '../catalog/timings.js';
import { asFailure, Failure, throwIfStopped } from '../failure.js';
import { failpoint } from '../failpoint.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import { sqlState } from '../postgres/sqlstate.js';
import { hasNoConnection } from '../postgres/too-many-connections.js';
import { analyzeViews } from './analyze.js';
import { setDatabaseProperties } from './database-properties.js';
import { resumeTimescale } from './extension-hooks.js';
import { Failures } from './failures.js';
import type { Problem, TargetWork } from './options.js';
import { alwaysIdentities, planClone, planForeignKeys } from './plan.js';
import type { ClonePlan, ForeignKeyPlan } from './plan.js';
import { loadProblems, recordProblems } from './problems.js';
import type { RestoreStage } from './restore-plan.js';
import { FewerConnections } from './retry.js';
import { lookAndRestoreStage } from './restore-stage.js';
import { loadSchemaFile } from './schema-file.js';
import type { SchemaFile } from './schema-file.js';
import { HeldSession, openTarget } from './sessions.js';
import { withoutSkipped } from './skipped.js';
import { stepLabels } from './summary.js';
import { runWorkers, WorkQueue } from './work-queue.js';

/** What a run that has made the copy itself knows already: to load it once more would be to hold it twice. */
export type KnownClone = { readonly file: SchemaFile; readonly plan: ClonePlan };

async function loadClone(work: TargetWork): Promise<KnownClone> {
  const { directory } = work;
  const loaded = await loadSchemaFile(directory);
  if (loaded === null) {
    throw new Failure('work-directory-broken', `${directory} does not hold the schema of a clone`);
  }
  const file = withoutSkipped(loaded, work);
  return { file, plan: planClone(file.schema, new Set(file.withoutRows)) };
}

/**
 * Does all of it, or what is left of it. Returns what the role may not do, in this and all earlier steps of the
 * clone; throws what must not fail.
 */
export async function finalizeTarget(
  work: TargetWork,
  known?: KnownClone,
): Promise<{ readonly problems: Problem[] }> {
  const began = performance.now();
  const { file, plan } = known ?? (await loadClone(work));
  const failures = new Failures({ failFast: work.failFast, log: work.log, signal: work.signal });
  await using held = new HeldSession(
    async () =>
      work.spare?.take() ??
      (await openTarget(work.target, 'finalize', { log: work.log, signal: failures.signal })),
    failures.signal,
  );
  const step = async (what: () => Promise<Problem[] | void>) => {
    throwIfStopped(work.signal);
    if (failures.signal.aborted) return;
    try {
      recordProblems(work.directory, (await what()) ?? []);
    } catch (error) {
      failures.add(error);
    }
  };
  const restore = (stage: RestoreStage) => async () =>
    lookAndRestoreStage({ work, file, plan, stage }, () => held.get());
  const keys = planForeignKeys(file.schema.foreignKeys, (await held.get()).serverVersion);
  const recorder = new TaskRecorder(work.catalog);
  planTasks(
    work.catalog,
    [],
    keys.map((one) => ({ name: one.task, kind: 'foreign-key', relationOid: 0, object: one.label })),
  );
  await step(async () => addForeignKeys(await held.get(), keys, work, recorder, failures));
  failpoint('clone.finalize');
  await step(async () => restoreAlwaysIdentities(await held.get(), file));
  await step(restore('finalize'));
  await step(restore('privileges'));
  await step(restore('refresh'));
  if (!work.skipVacuum) await step(async () => analyzeViews(await held.get(), work.log));
  await step(async () => setDatabaseProperties(await held.get(), file.properties, 'after'));
  await step(async () => resumeTimescale(await held.get(), file.extensions));
  const writable = async () => {
    if (!failures.any && !failures.signal.aborted) await work.onWritable?.();
  };
  const eventTriggers = file.entries.some((entry) => entry.kind === 'EVENT TRIGGER');
  if (!eventTriggers) await writable();
  await step(async () => validateForeignKeys(await held.get(), keys, work, failures));
  await step(restore('event-triggers'));
  if (eventTriggers) await writable();
  recorder.flush();
  addTiming(work.catalog, {
    step: stepLabels.finalize,
    connection: 'both',
    durationMs: performance.now() - began,
    bytes: 0,
    concurrency: validatingJobs(work),
  });
  failures.throwIfAny();
  return { problems: loadProblems(work.directory) };
}

const foreignKeysQuery = `
  select n.nspname as schema, c.relname as table, k.conname as name, k.convalidated as validated
  from pg_catalog.pg_constraint k
  join pg_catalog.pg_class c on c.oid = k.conrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where k.contype = 'f'`;

/** The foreign keys on the target, and whether they are validated. */
async function fetchForeignKeys(target: Session): Promise<Map<string, boolean>> {
  const rows = await target.query(foreignKeysQuery);
  return new Map(
    rows.map((row) => [
      keyName({ schema: row['schema'] ?? '', table: row['table'] ?? '', name: row['name'] ?? '' }),
      row['validated'] === 't',
    ]),
  );
}

function keyName(key: { readonly schema: string; readonly table: string; readonly name: string }): string {
  return `${quoteQualified(key.schema, key.table)}.${quoteIdentifier(key.name)}`;
}

// Adding a key locks both tables against writing. While that waits for a long transaction, everybody queues up
// behind it: better to let them by and try again.
const lockTimeoutMs = 2000;
const lockTries = 30;
const longestPauseMs = 5000;

/** As many are added in one transaction: each alone would wait for an answer and for the disk. */
const keysAtOnce = 50;

async function addForeignKeys(
  target: Session,
  keys: readonly ForeignKeyPlan[],
  work: TargetWork,
  recorder: TaskRecorder,
  failures: Failures,
): Promise<void> {
  const present = await fetchForeignKeys(target);
  await target.query(`set lock_timeout to ${lockTimeoutMs}`);
  const missing = keys.filter((plan) => !present.has(keyName(plan.key)));
  // One that has to be added in full reads its tables: the others are not to be locked for so long.
  const quick = missing.filter(({ validate }) => validate !== null);
  for (let from = 0; from < quick.length; from += keysAtOnce) {
    throwIfStopped(failures.signal);
    const some = quick.slice(from, from + keysAtOnce);
    const began = performance.now();
    // Where it fails, one after the other says which.
    const done = await target.run(some.map(({ add }) => add).join(';\n')).catch(() => null);
    if (done === null) continue;
    const durationMs = (performance.now() - began) / some.length;
    for (const plan of some) {
      present.set(keyName(plan.key), false);
      recorder.done(plan.task, { durationMs, bytes: 0, rows: 0 });
    }
  }
  const added = new Set(quick.filter((plan) => present.has(keyName(plan.key))));
  for (const plan of keys) {
    if (added.has(plan)) continue;
    throwIfStopped(failures.signal);
    const began = performance.now();
    try {
      if (!present.has(keyName(plan.key))) await addForeignKey(target, plan, work);
      recorder.done(plan.task, { durationMs: performance.now() - began, bytes: 0, rows: 0 });
    } catch (error) {
      failures.add(error);
    }
  }
  await target.query('set lock_timeout to 0');
}

async function addForeignKey(target: Session, plan: ForeignKeyPlan, work: TargetWork): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await target.query(plan.add, [], `could not add foreign key ${plan.label}`);
      return;
    } catch (error) {
      // 55P03 lock_timeout, 40P01 deadlock.
      const locked = ['55P03', '40P01'].includes(sqlState(error) ?? '');
      if (!locked || tries === lockTries) throw error;
      work.log.notice(`foreign key ${plan.label} waits for a lock; trying again`, { tries });
      const pauseMs = Math.min(100 * 2 ** tries, longestPauseMs);
      await sleep(pauseMs, undefined, work.signal === undefined ? {} : { signal: work.signal }).catch(
        () => {},
      );
      throwIfStopped(work.signal);
    }
  }
}

/** No more sessions than the copy had. */
function validatingJobs({ jobs }: Pick<TargetWork, 'jobs'>): number {
  return Math.min(jobs.restore, jobs.table + jobs.index);
}

/**
 * Side by side, in the run's own session and in others. A server that has no connection for these is told, and the keys
 * are validated by those that there are.
 */
async function validateForeignKeys(
  target: Session,
  keys: readonly ForeignKeyPlan[],
  work: TargetWork,
  failures: Failures,
): Promise<void> {
  const present = await fetchForeignKeys(target);
  const queue = new WorkQueue<ForeignKeyPlan>();
  const open = keys.filter((plan) => plan.validate !== null && present.get(keyName(plan.key)) === false);
  for (const plan of open) queue.push(plan);
  queue.close();
  const validateAll = async (session: () => Promise<Session>) => {
    for (let plan = await queue.next(); plan !== null; plan = await queue.next()) {
      if (failures.signal.aborted) return;
      try {
        const within = await session();
        await within.query(plan.validate ?? '', [], `could not validate foreign key ${plan.label}`);
      } catch (error) {
        failures.add(error);
      }
    }
  };
  const fewer = new FewerConnections(work.log);
  const helpers = Math.min(validatingJobs(work), open.length) - 1;
  await Promise.all([
    validateAll(() => Promise.resolve(target)),
    runWorkers(Math.max(helpers, 0), async () => {
      await using held = new HeldSession(
        () =>
          openTarget(work.target, 'validate', {
            log: work.log,
            signal: failures.signal,
            dispensable: true,
          }),
        failures.signal,
      );
      try {
        await held.get();
      } catch (error) {
        if (hasNoConnection(error)) fewer.say(asFailure(error));
        else failures.add(error);
        return;
      }
      await validateAll(() => held.get());
    }),
  ]);
}

const identitiesQuery = `
  select n.nspname as schema, c.relname as table, a.attname as column, a.attidentity as identity
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where a.attidentity <> '' and not a.attisdropped`;

/** As many are changed in one transaction: each alone would wait for an answer and for the disk. */
const identitiesAtOnce = 200;

/** The statements that make the columns `always` or `by default`; none for columns that are so already. */
async function setIdentities(target: Session, file: SchemaFile, to: 'always' | 'by default'): Promise<void> {
  const other = to === 'always' ? 'd' : 'a';
  const rows = await target.query(identitiesQuery);
  const name = (table: string, column: string) => `${table}.${quoteIdentifier(column)}`;
  const toChange = new Set(
    rows
      .filter((row) => row['identity'] === other)
      .map((row) => name(quoteQualified(row['schema'] ?? '', row['table'] ?? ''), row['column'] ?? '')),
  );
  const changes = alwaysIdentities(file.schema).flatMap(({ schema, table, column }) => {
    const qualified = quoteQualified(schema, table);
    const label = name(qualified, column);
    const sql = `alter table ${qualified} alter column ${quoteIdentifier(column)} set generated ${to}`;
    return toChange.has(label) ? [{ label, sql }] : [];
  });
  for (let from = 0; from < changes.length; from += identitiesAtOnce) {
    const some = changes.slice(from, from + identitiesAtOnce);
    const all = some.map(({ sql }) => sql).join(';\n');
    // Where it fails, one after the other says which.
    if (some.length > 1 && (await target.run(all).catch(() => null)) !== null) continue;
    for (const { label, sql } of some) await target.query(sql, [], `could not set the identity of ${label}`);
  }
}

/** GENERATED ALWAYS refuses every UPDATE of the column, even to the same value (DESIGN 11.17). */
export function relaxAlwaysIdentities(target: Session, file: SchemaFile): Promise<void> {
  return setIdentities(target, file, 'by default');
}

function restoreAlwaysIdentities(target: Session, file: SchemaFile): Promise<void> {
  return setIdentities(target, file, 'always');
}
