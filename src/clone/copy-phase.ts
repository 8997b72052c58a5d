/**
 * Rows, indexes, constraints and statistics of all tables, side by side.
 *
 * Table workers each hold a pair of sessions and take tables from the plan, largest first. A table that is in
 * releases its indexes to the index workers, who share one queue:
 *
 *     copy ─▶ index, index, … (at once, while the rows are cached) ─▶ finishing (exclusive) ─▶ analyze
 *
 * What is done already is looked up on the target: tables in the task table, indexes and constraints by name.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { loadTasks, TaskRecorder } from '../catalog/tasks.js';
import { asFailure, Failure } from '../failure.js';
import { failpoint } from '../failpoint.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { SourceSchema } from '../postgres/schema.js';
import { sqlState } from '../postgres/sqlstate.js';
import { fetchDoneTasks } from '../postgres/task-table.js';
import type { DoneTask } from '../postgres/task-table.js';
import { copyTable } from './copy-table.js';
import type { CopiedTable } from './copy-table.js';
import { Failures } from './failures.js';
import type { CloneOptions } from './options.js';
import { maintenanceWorkMemKb } from './plan.js';
import type { ClonePlan, IndexPlan, TablePlan } from './plan.js';
import type { ProgressTeller } from './progress.js';
import { HeldSession, openBulkTarget, openInSnapshot } from './sessions.js';
import { runWorkers, WorkQueue } from './work-queue.js';

export type CopyPhase = {
  readonly options: CloneOptions;
  readonly schema: SourceSchema;
  readonly plan: ClonePlan;
  readonly progress: ProgressTeller;
  /** What the target holds at the beginning. */
  readonly done: ReadonlyMap<string, DoneTask>;
  readonly present: PresentIndexes;
  /** What else is copied by table workers' connections, when they are free; adds to the failures itself. */
  readonly afterTables?: (failures: Failures) => Promise<void>;
};

/** Indexes and constraints on the target, by qualified and quoted names. */
export type PresentIndexes = {
  readonly indexes: ReadonlySet<string>;
  /** `"schema"."table"."constraint"`. */
  readonly constraints: ReadonlySet<string>;
};

const indexesQuery = `
  select n.nspname as schema, c.relname as name
  from pg_catalog.pg_index i
  join pg_catalog.pg_class c on c.oid = i.indexrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where i.indisvalid and n.nspname !~ '^pg_'`;

const constraintsQuery = `
  select n.nspname as schema, c.relname as table, k.conname as name
  from pg_catalog.pg_constraint k
  join pg_catalog.pg_class c on c.oid = k.conrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname !~ '^pg_'`;

/** Looks up what an earlier run has built. */
export async function fetchPresentIndexes(target: Session): Promise<PresentIndexes> {
  const indexes = await target.query(indexesQuery);
  const constraints = await target.query(constraintsQuery);
  return {
    indexes: new Set(indexes.map((row) => quoteQualified(row['schema'] ?? '', row['name'] ?? ''))),
    constraints: new Set(
      constraints.map((row) =>
        constraintName(quoteQualified(row['schema'] ?? '', row['table'] ?? ''), row['name'] ?? ''),
      ),
    ),
  };
}

function constraintName(table: string, name: string): string {
  return `${table}.${quoteIdentifier(name)}`;
}

/** Does all of it. Throws the failures of all workers together. */
export async function runCopyPhase(phase: CopyPhase): Promise<void> {
  const { options } = phase;
  const failures = new Failures({ failFast: options.failFast, log: options.log, signal: options.signal });
  const recorder = new TaskRecorder(options.catalog);
  const indexWork = new IndexWork(phase, failures, recorder);
  try {
    await Promise.all([
      runTableWorkers(phase, failures, recorder, indexWork)
        .then(() => phase.afterTables?.(failures))
        .finally(() => indexWork.noMoreTables()),
      indexWork.run(),
    ]);
  } finally {
    recorder.flush();
  }
  failures.throwIfAny();
}

async function runTableWorkers(
  phase: CopyPhase,
  failures: Failures,
  recorder: TaskRecorder,
  indexWork: IndexWork,
): Promise<void> {
  const { options, plan, done, progress } = phase;
  const queue = new WorkQueue<TablePlan>();
  let open = 0;
  for (const table of plan.tables) {
    if (!table.withRows) {
      progress.tableDone();
      indexWork.tableIsIn(table);
      continue;
    }
    const earlier = done.get(table.task);
    if (earlier === undefined) {
      queue.push(table);
      open += 1;
      continue;
    }
    recorder.done(table.task, { durationMs: 0, bytes: earlier.bytes, rows: earlier.rows });
    progress.found(earlier.bytes);
    progress.tableDone();
    indexWork.tableIsIn(table);
  }
  const workers = Math.min(options.jobs.table, open);
  let inSnapshot = workers;
  const settled = () => {
    open -= 1;
    if (open === 0) queue.close();
  };
  const stop = () => queue.close();
  failures.signal.addEventListener('abort', stop);
  await runWorkers(workers, async () => {
    await using worker = new TableWorker(phase, failures.signal, recorder);
    for (let table = await queue.next(); table !== null; table = await queue.next()) {
      if (failures.signal.aborted) return;
      try {
        await worker.copy(table);
        progress.tableDone();
        indexWork.tableIsIn(table);
        settled();
      } catch (error) {
        const outside = error instanceof Failure && error.code === 'snapshot-lost';
        if (outside) inSnapshot -= 1;
        if (outside && inSnapshot > 0) {
          // Workers that are inside of the snapshot still see it: they take the table over, and this one ends.
          queue.push(table);
          return;
        }
        failures.add(error);
        settled();
        if (outside) queue.close();
      }
    }
  });
  failures.signal.removeEventListener('abort', stop);
}

// A lost connection is tried again: the transaction is gone with it, or committed, which the task table tells.
const attempts = 4;
const pauseMs = 500;

class TableWorker {
  readonly #phase: CopyPhase;
  readonly #signal: AbortSignal;
  readonly #recorder: TaskRecorder;
  readonly #source: HeldSession;
  readonly #target: HeldSession;

  constructor(phase: CopyPhase, signal: AbortSignal, recorder: TaskRecorder) {
    const { source, target, snapshot, log } = phase.options;
    this.#phase = phase;
    this.#signal = signal;
    this.#recorder = recorder;
    const bytes = phase.schema.encoding === 'SQL_ASCII';
    this.#source = new HeldSession(
      async () => asBytes(await openInSnapshot(source, snapshot, 'copy', { log, signal, bulk: true }), bytes),
      signal,
    );
    this.#target = new HeldSession(
      async () => asBytes(await openBulkTarget(target, 'copy', { log, signal }), bytes),
      signal,
    );
  }

  async copy(plan: TablePlan): Promise<void> {
    const { log } = this.#phase.options;
    const began = performance.now();
    this.#recorder.started(plan.task);
    const result = await this.#copyAndRetry(plan);
    const durationMs = performance.now() - began;
    this.#recorder.done(plan.task, { durationMs, ...result });
    failpoint('clone.table-recorded');
    log.notice(`copied ${plan.label}`, { rows: result.rows, bytes: result.bytes });
  }

  async #copyAndRetry(plan: TablePlan): Promise<CopiedTable> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const committed = attempt === 1 ? undefined : await this.#committed(plan);
        return committed ?? (await this.#copyOnce(plan));
      } catch (error) {
        await Promise.all([this.#source.discard(), this.#target.discard()]);
        const failure = asFailure(error);
        const { retry } = failure.policy;
        if (!retry || this.#signal.aborted || attempt === attempts) throw failure;
        this.#phase.options.log.warn(`${failure.message}; copying ${plan.label} again`, { attempt });
        await sleep(pauseMs * 2 ** attempt, undefined, { signal: this.#signal }).catch(() => {});
      }
    }
  }

  /** What an attempt whose COMMIT was not answered has done after all. */
  async #committed(plan: TablePlan): Promise<DoneTask | undefined> {
    return (await fetchDoneTasks(await this.#target.get(), this.#phase.options.key)).get(plan.task);
  }

  async #copyOnce(plan: TablePlan): Promise<CopiedTable> {
    const { options, progress } = this.#phase;
    let moved = 0;
    let noted = 0;
    try {
      return await copyTable({
        plan,
        key: options.key,
        source: await this.#source.get(),
        target: await this.#target.get(),
        follow: options.follow,
        log: options.log,
        signal: this.#signal,
        onBytes: (bytes) => {
          moved += bytes;
          progress.moved(bytes);
          // Often enough for somebody who looks on, too seldom to cost anything.
          if (moved - noted < noteEveryBytes) return;
          noted = moved;
          this.#recorder.moved(plan.task, moved);
        },
      });
    } catch (error) {
      progress.takeBack(moved);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#source[Symbol.asyncDispose](), this.#target[Symbol.asyncDispose]()]);
  }
}

const noteEveryBytes = 8 * 1024 * 1024;

/** A source without an encoding is copied as bytes: the target's server checks them against its own. */
async function asBytes(session: Session, wanted: boolean): Promise<Session> {
  if (wanted) await session.query(`set client_encoding to 'SQL_ASCII'`);
  return session;
}

type IndexPiece =
  | { readonly kind: 'index'; readonly table: TablePlan; readonly index: IndexPlan }
  | { readonly kind: 'finish'; readonly table: TablePlan }
  | { readonly kind: 'analyze'; readonly table: TablePlan };

/** What is left of a table's indexes. */
type OpenTable = { left: number; failed: boolean };

class IndexWork {
  readonly #phase: CopyPhase;
  readonly #failures: Failures;
  readonly #recorder: TaskRecorder;
  readonly #queue = new WorkQueue<IndexPiece>();
  readonly #open = new Map<TablePlan, OpenTable>();
  readonly #analyzed: ReadonlySet<string>;
  #tablesToCome = true;

  constructor(phase: CopyPhase, failures: Failures, recorder: TaskRecorder) {
    this.#phase = phase;
    this.#failures = failures;
    this.#recorder = recorder;
    const tasks = loadTasks(phase.options.catalog);
    this.#analyzed = new Set(tasks.filter((task) => task.doneAt !== null).map((task) => task.name));
  }

  /** A table's rows are on the target. */
  tableIsIn(table: TablePlan): void {
    this.#open.set(table, { left: table.indexes.length, failed: false });
    for (const index of table.indexes) this.#queue.push({ kind: 'index', table, index });
    if (table.indexes.length === 0) this.#queue.push({ kind: 'finish', table });
  }

  noMoreTables(): void {
    this.#tablesToCome = false;
    this.#closeWhenDone();
  }

  async run(): Promise<void> {
    const { options } = this.#phase;
    const { signal } = this.#failures;
    const stop = () => this.#queue.close();
    signal.addEventListener('abort', stop);
    await runWorkers(options.jobs.index, async () => {
      await using held = new HeldSession(() => this.#openSession(), signal);
      for (let piece = await this.#queue.next(); piece !== null; piece = await this.#queue.next()) {
        if (signal.aborted) break;
        await this.#work(piece, held);
      }
    });
    signal.removeEventListener('abort', stop);
  }

  async #openSession(): Promise<Session> {
    const { target, log, jobs } = this.#phase.options;
    const session = await openBulkTarget(target, 'index', { log, signal: this.#failures.signal });
    await setMaintenanceMemory(session, jobs.index);
    return session;
  }

  async #work(piece: IndexPiece, held: HeldSession): Promise<void> {
    const { table } = piece;
    try {
      const session = await held.get();
      if (piece.kind === 'index') await this.#build(session, piece.index);
      else if (piece.kind === 'finish') await this.#finish(session, table);
      else await this.#analyze(session, table);
    } catch (error) {
      this.#failures.add(error);
      const open = this.#open.get(table);
      if (open !== undefined) open.failed = true;
      await held.discard();
    }
    this.#next(piece);
  }

  /** What the end of a piece releases. Nothing more happens to a table of which something failed. */
  #next(piece: IndexPiece): void {
    const { table } = piece;
    const open = this.#open.get(table);
    if (open === undefined) return;
    if (piece.kind === 'index') {
      open.left -= 1;
      if (open.left > 0) return;
    }
    if (open.failed || piece.kind === 'analyze') this.#open.delete(table);
    else this.#queue.push({ kind: piece.kind === 'index' ? 'finish' : 'analyze', table });
    this.#closeWhenDone();
  }

  #closeWhenDone(): void {
    if (!this.#tablesToCome && this.#open.size === 0) this.#queue.close();
  }

  async #build(session: Session, index: IndexPlan): Promise<void> {
    const { present, progress, options } = this.#phase;
    const qualified = quoteQualified(index.schema, index.name);
    if (!present.indexes.has(qualified)) {
      const began = performance.now();
      this.#recorder.started(index.task);
      await this.#inTablespace(session, index, async () => {
        try {
          await session.query(index.sql, [], `could not build index ${index.label}`);
        } catch (error) {
          // 42P07: a session of an earlier run, which had not noticed yet that we were gone, has finished it.
          if (sqlState(error) !== '42P07') throw error;
          if (!(await fetchPresentIndexes(session)).indexes.has(qualified)) throw error;
        }
      });
      this.#recorder.done(index.task, { durationMs: performance.now() - began, bytes: 0, rows: 0 });
      options.log.notice(`built index ${index.label}`);
      failpoint('clone.index-built');
    } else {
      this.#recorder.done(index.task, { durationMs: 0, bytes: 0, rows: 0 });
    }
    progress.indexDone();
  }

  /** pg_get_indexdef does not tell the tablespace. */
  async #inTablespace(session: Session, index: IndexPlan, build: () => Promise<void>): Promise<void> {
    if (index.tablespace === null || this.#phase.options.noTablespaces) return build();
    const [row] = await session.query(
      'select exists (select from pg_catalog.pg_tablespace where spcname = $1) as there',
      [index.tablespace],
    );
    if (row?.['there'] !== 't') {
      this.#phase.options.log.warn(
        `index ${index.label} is built in the default tablespace: the target has no tablespace ${index.tablespace}`,
      );
      return build();
    }
    await session.query(`select pg_catalog.set_config('default_tablespace', $1, false)`, [index.tablespace]);
    await build();
    await session.query('reset default_tablespace');
  }

  async #finish(session: Session, table: TablePlan): Promise<void> {
    if (table.finishing.length === 0) return;
    const task = `constraints ${table.qualified}`;
    const began = performance.now();
    this.#recorder.started(task);
    for (const step of table.finishing) {
      const there =
        step.constraint !== null &&
        this.#phase.present.constraints.has(constraintName(table.qualified, step.constraint));
      if (there) continue;
      await session.query(step.sql, [], `could not finish the indexes of ${table.label}`);
    }
    this.#recorder.done(task, { durationMs: performance.now() - began, bytes: 0, rows: 0 });
  }

  async #analyze(session: Session, table: TablePlan): Promise<void> {
    const task = `analyze ${table.qualified}`;
    if (this.#phase.options.skipVacuum || this.#analyzed.has(task)) return;
    const began = performance.now();
    this.#recorder.started(task);
    await session.query(`analyze ${table.qualified}`, [], `could not analyze ${table.label}`);
    this.#recorder.done(task, { durationMs: performance.now() - began, bytes: 0, rows: 0 });
  }
}

const memoryQuery = `
  select name, pg_catalog.pg_size_bytes(setting || case unit when '8kB' then '' else unit end)
    * case unit when '8kB' then 8192 else 1 end / 1024 as kb
  from pg_catalog.pg_settings where name in ('maintenance_work_mem', 'effective_cache_size')`;

async function setMaintenanceMemory(session: Session, indexJobs: number): Promise<void> {
  const rows = await session.query(memoryQuery);
  const kb = (name: string) => Number(rows.find((row) => row['name'] === name)?.['kb'] ?? 0);
  const chosen = maintenanceWorkMemKb({
    currentKb: kb('maintenance_work_mem'),
    effectiveCacheKb: kb('effective_cache_size'),
    indexJobs,
  });
  await session.query(`select pg_catalog.set_config('maintenance_work_mem', $1, false)`, [`${chosen}kB`]);
}
