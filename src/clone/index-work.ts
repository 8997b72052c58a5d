/**
 * The index workers of the copy phase: what is done to a table whose rows are in. They share one queue:
 *
 *     index, index, … of a table, side by side ─▶ finishing (each step takes the table exclusively) ─▶ analyze
 *     all of many small tables, as one string of statements ─▶ analyze of many tables, in one statement
 *
 * Table workers who have nothing left to copy help with small tables. When the string of statements fails, its tables go the first way, one by one. What is there already is left.
 */
import { loadDoneTaskNames, type TaskRecorder } from '../catalog/tasks.js';
import { asFailure } from '../failure.js';
import { failpoint } from '../failpoint.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import { sqlState } from '../postgres/sqlstate.js';
import { hasNoConnection } from '../postgres/too-many-connections.js';
import { analyze, analyzeOnlyFrom } from './analyze.js';
import { StatisticsCarrier } from './carry-statistics.js';
import type { CopyPhase } from './copy-phase.js';
import type { Failures } from './failures.js';
import { isFrozen, isLarge, maintenanceWorkMemKb } from './plan.js';
import type { FinishingStep, IndexPlan, TablePlan } from './plan.js';
import { fetchPresentIndexes } from './present-indexes.js';
import { attemptAlone, recordProblems } from './problems.js';
import { FewerConnections, isConnectionLost, Patience, pauseBefore } from './retry.js';
import { HeldSession, openBulkTarget } from './sessions.js';
import { runWorkers, WorkQueue } from './work-queue.js';

type IndexPiece =
  | { readonly kind: 'index'; readonly table: TablePlan; readonly index: IndexPlan }
  | { readonly kind: 'finish'; readonly table: TablePlan }
  | { readonly kind: 'analyze'; readonly table: TablePlan }
  | { readonly kind: 'together'; readonly tables: readonly TablePlan[] }
  | { readonly kind: 'analyze-together'; readonly tables: readonly TablePlan[] };

/**
 * What takes longest comes first, or it would be waited for alone at the end. Finishing is quick and lets statistics
 * follow; these come last, since nothing waits for them.
 */
function weightOf(piece: IndexPiece): number {
  switch (piece.kind) {
    case 'finish':
      return Infinity;
    case 'index':
      return piece.index.cost;
    case 'together':
      return bytesOf(piece.tables);
    case 'analyze':
      return -1 / (1 + piece.table.table.bytes);
    case 'analyze-together':
      return -1 / (1 + bytesOf(piece.tables));
  }
}

function bytesOf(tables: readonly TablePlan[]): number {
  return tables.reduce((total, { table }) => total + table.bytes, 0);
}

/** What is left of a table's indexes. */
type OpenTable = { left: number; failed: boolean };

/** Many tables are analysed by one statement, each in a transaction of its own. */
const analyzedTogether = 200;

/** COPY FREEZE fills the visibility map from this version on. */
const freezeSparesVacuumFrom = 140_000;

export class IndexWork {
  readonly #phase: CopyPhase;
  readonly #failures: Failures;
  readonly #recorder: TaskRecorder;
  readonly #queue = new WorkQueue<IndexPiece>(weightOf);
  readonly #fewer: FewerConnections;
  readonly #analyzed: ReadonlySet<string>;
  readonly #statistics: StatisticsCarrier;
  /** Tables that go the long way. */
  readonly #open = new Map<TablePlan, OpenTable>();
  /** Pieces of small tables that are in the queue or at work. */
  #together = 0;
  /** Small tables that are complete but for their statistics. */
  #toAnalyze: TablePlan[] = [];
  #tablesToCome = true;
  #working = 0;

  constructor(phase: CopyPhase, failures: Failures, recorder: TaskRecorder) {
    this.#phase = phase;
    this.#failures = failures;
    this.#recorder = recorder;
    this.#fewer = new FewerConnections(phase.options.log);
    this.#statistics = new StatisticsCarrier(phase, failures.signal);
    this.#analyzed = loadDoneTaskNames(phase.options.catalog, 'analyze');
  }

  /** The rows of these tables are on the target: small ones that came together, or one. */
  tablesAreIn(tables: readonly TablePlan[]): void {
    const isSmall = (table: TablePlan) => canGoTogether(table) && !this.#isAboveForeign(table);
    const together = tables.length > 1 ? tables.filter(isSmall) : [];
    if (together.length > 0) this.#pushTogether({ kind: 'together', tables: together });
    const others = new Set(together);
    for (const table of tables) if (!others.has(table)) this.#begin(table);
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
    this.#working = options.jobs.index;
    await runWorkers(options.jobs.index, async () => {
      await using held = new HeldSession(() => this.#openSession(), signal);
      for (let piece = await this.#queue.next(); piece !== null; piece = await this.#queue.next()) {
        if (signal.aborted || !(await this.#work(piece, held))) break;
      }
    });
    signal.removeEventListener('abort', stop);
    await this.#statistics[Symbol.asyncDispose]();
    const { carried } = this.#statistics;
    if (carried > 0)
      options.log.info(`statistics of ${carried} tables are the source's; the others were analyzed`);
  }

  /**
   * More workers, for those whose connections are free because there is nothing left to copy: they take small tables,
   * as long as there are some. Their indexes are built in no time, but for the disk, which takes several at once; large
   * ones are for as many as --index-jobs says.
   */
  async help(helpers: number): Promise<void> {
    const { signal } = this.#failures;
    const takeSmall = () =>
      this.#queue.take(({ kind }) => kind === 'together' || kind === 'analyze-together');
    await runWorkers(helpers, async () => {
      let piece = takeSmall();
      if (piece === null) return;
      this.#working += 1;
      await using held = new HeldSession(() => this.#openSession(), signal);
      for (; piece !== null && !signal.aborted; piece = takeSmall()) {
        // Who has no connection has left already.
        if (!(await this.#work(piece, held))) return;
      }
      this.#working -= 1;
    });
  }

  #begin(table: TablePlan): void {
    this.#open.set(table, { left: table.indexes.length, failed: false });
    for (const index of table.indexes) this.#queue.push({ kind: 'index', table, index });
    if (table.indexes.length === 0) this.#queue.push({ kind: 'finish', table });
  }

  #pushTogether(piece: IndexPiece & { readonly tables: readonly TablePlan[] }): void {
    this.#together += 1;
    this.#queue.push(piece);
  }

  async #openSession(): Promise<Session> {
    const { target, log, jobs, noTablespaces } = this.#phase.options;
    const session = await openBulkTarget(target, 'index', {
      log,
      signal: this.#failures.signal,
      dispensable: true,
    });
    await setMaintenanceMemory(session, jobs.index);
    // As pg_restore does for tables: what names no tablespace is in the database's own, whatever its settings say.
    if (!noTablespaces) await session.query(`set default_tablespace to ''`);
    return session;
  }

  /** False when this worker is to end, because there is no connection for it. */
  async #work(piece: IndexPiece, held: HeldSession): Promise<boolean> {
    const patience = new Patience();
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#do(piece, await held.get());
        this.#next(piece, false);
        return true;
      } catch (error) {
        await held.discard();
        const failure = asFailure(error);
        const refused = hasNoConnection(failure);
        if (refused && this.#working > 1) {
          this.#working -= 1;
          this.#fewer.say(failure);
          this.#queue.push(piece);
          return false;
        }
        // The only worker waits for what table workers leave.
        const waits = refused && this.#tablesToCome;
        if (!this.#failures.signal.aborted && (waits || patience.allows(failure))) {
          this.#phase.options.log.warn(`${failure.message}; trying again`, { attempt });
          await pauseBefore(attempt, this.#failures.signal);
          continue;
        }
        this.#fail(failure, piece);
        return true;
      }
    }
  }

  async #do(piece: IndexPiece, session: Session): Promise<void> {
    switch (piece.kind) {
      case 'index':
        return await this.#build(session, piece.table, piece.index);
      case 'finish':
        return await this.#finish(session, piece.table);
      case 'analyze':
        return await this.#analyze(session, piece.table);
      case 'together':
        return await this.#buildTogether(session, piece.tables);
      case 'analyze-together':
        return await this.#analyzeTogether(session, piece.tables);
    }
  }

  #fail(failure: ReturnType<typeof asFailure>, piece: IndexPiece): void {
    if ('tables' in piece && !isConnectionLost(failure) && !this.#failures.signal.aborted) {
      // One by one it turns out which it was, and the others are made.
      if (piece.kind === 'together') {
        for (const table of piece.tables) this.#begin(table);
      } else {
        for (const table of piece.tables) {
          this.#open.set(table, { left: 0, failed: false });
          this.#queue.push({ kind: 'analyze', table });
        }
      }
      this.#together -= 1;
      this.#closeWhenDone();
      return;
    }
    this.#failures.add(failure);
    this.#next(piece, true);
  }

  /** What the end of a piece releases. Nothing more happens to a table of which something failed. */
  #next(piece: IndexPiece, failed: boolean): void {
    if ('tables' in piece) {
      if (!failed && piece.kind === 'together') this.#toAnalyze.push(...piece.tables);
      if (this.#toAnalyze.length >= analyzedTogether) this.#pushAnalyze();
      this.#together -= 1;
      this.#closeWhenDone();
      return;
    }
    const { table } = piece;
    const open = this.#open.get(table);
    if (open === undefined) return;
    open.failed ||= failed;
    if (piece.kind === 'index') {
      open.left -= 1;
      if (open.left > 0) return;
    }
    if (open.failed || piece.kind === 'analyze') this.#open.delete(table);
    else this.#queue.push({ kind: piece.kind === 'index' ? 'finish' : 'analyze', table });
    this.#closeWhenDone();
  }

  #pushAnalyze(): void {
    const tables = this.#toAnalyze.filter((table) => this.#isToBeAnalyzed(table));
    this.#toAnalyze = [];
    if (tables.length > 0) this.#pushTogether({ kind: 'analyze-together', tables });
  }

  #closeWhenDone(): void {
    if (this.#tablesToCome || this.#open.size > 0) return;
    if (this.#together === 0 && this.#toAnalyze.length > 0) this.#pushAnalyze();
    if (this.#together === 0) this.#queue.close();
  }

  async #build(session: Session, table: TablePlan, index: IndexPlan): Promise<void> {
    const { present, progress, options } = this.#phase;
    if (!present.hasIndex(index)) {
      const began = performance.now();
      this.#recorder.started(index.task);
      await this.#inTablespace(session, index, async () => {
        try {
          await session.query(index.sql, [], `could not build index ${index.label}`);
        } catch (error) {
          // 42P07: a session of an earlier run, which had not noticed yet that we were gone, has finished it.
          if (sqlState(error) !== '42P07') throw error;
          if (!(await fetchPresentIndexes(session, [table])).hasIndex(index)) throw error;
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

  /** Neither pg_get_indexdef nor pg_get_constraintdef tells the tablespace. */
  async #inTablespace(
    session: Session,
    index: Pick<IndexPlan, 'schema' | 'name' | 'label' | 'tablespace'>,
    build: () => Promise<void>,
  ): Promise<void> {
    const { noTablespaces, directory } = this.#phase.options;
    if (index.tablespace === null || noTablespaces) return build();
    const [row] = await session.query(
      'select exists (select from pg_catalog.pg_tablespace where spcname = $1) as there',
      [index.tablespace],
    );
    if (row?.['there'] !== 't') {
      const object = `tablespace of INDEX ${index.label}`;
      const message = `the target has no tablespace ${index.tablespace}: it is built in the default one`;
      const name = quoteQualified(index.schema, index.name);
      const sql = `ALTER INDEX ${name} SET TABLESPACE ${quoteIdentifier(index.tablespace)};`;
      recordProblems(directory, [{ object, message, sql }]);
      return build();
    }
    await session.query(`select pg_catalog.set_config('default_tablespace', $1, false)`, [index.tablespace]);
    try {
      await build();
    } finally {
      if (session.lost === null) await session.query(`set default_tablespace to ''`);
    }
  }

  async #finish(session: Session, table: TablePlan): Promise<void> {
    if (table.finishing.length === 0) return;
    const task = `constraints ${table.qualified}`;
    const began = performance.now();
    this.#recorder.started(task);
    for (const { constraint, sql, builds, mayFail } of this.#stepsLeft(table)) {
      if (mayFail !== null) {
        const message = await attemptAlone(session, sql);
        if (message !== null) {
          recordProblems(this.#phase.options.directory, [{ ...mayFail, message, sql: `${sql};` }]);
        }
        continue;
      }
      const run = async () => {
        await session.query(sql, [], `could not finish the indexes of ${table.label}`);
      };
      try {
        if (builds === null) await run();
        else await this.#inTablespace(session, builds, run);
      } catch (error) {
        // As with indexes: it is there after all.
        if (constraint === null || session.lost !== null) throw error;
        const present = await fetchPresentIndexes(session, [{ ...table, indexes: [] }]);
        if (!present.hasConstraint(table, constraint)) throw error;
      }
    }
    this.#recorder.done(task, { durationMs: performance.now() - began, bytes: 0, rows: 0 });
  }

  #stepsLeft(table: TablePlan): FinishingStep[] {
    const { present } = this.#phase;
    return table.finishing.filter(
      ({ constraint }) => constraint === null || !present.hasConstraint(table, constraint),
    );
  }

  /** All statements of all tables in one query, which is one transaction. */
  async #buildTogether(session: Session, tables: readonly TablePlan[]): Promise<void> {
    const { present, progress, options } = this.#phase;
    const statements = tables.flatMap((table) =>
      statementsTogether(
        table.indexes.filter((index) => !present.hasIndex(index)),
        this.#stepsLeft(table),
      ),
    );
    const began = performance.now();
    const indexes = tables.flatMap((table) => table.indexes);
    const tasks = [
      ...indexes.map(({ task }) => task),
      ...tables
        .filter(({ finishing }) => finishing.length > 0)
        .map(({ qualified }) => `constraints ${qualified}`),
    ];
    for (const task of tasks) this.#recorder.started(task);
    if (statements.length > 0) {
      await session.run(
        statements.join(';\n'),
        [],
        `could not build the indexes of ${tables[0]?.label} and others`,
      );
    }
    const durationMs = (performance.now() - began) / Math.max(tasks.length, 1);
    for (const task of tasks) this.#recorder.done(task, { durationMs, bytes: 0, rows: 0 });
    for (const { label } of indexes) {
      options.log.notice(`built index ${label}`);
      failpoint('clone.index-built');
      progress.indexDone();
    }
  }

  #isToBeAnalyzed(table: TablePlan): boolean {
    return !this.#phase.options.skipVacuum && !this.#analyzed.has(`analyze ${table.qualified}`);
  }

  /** ANALYZE would read foreign tables: who analyzes parents says so. */
  #isAboveForeign(table: TablePlan): boolean {
    return this.#phase.targets.get(table.qualified)?.foreignBelow === true;
  }

  async #analyze(session: Session, table: TablePlan): Promise<void> {
    if (!this.#isToBeAnalyzed(table)) return;
    const task = `analyze ${table.qualified}`;
    const began = performance.now();
    this.#recorder.started(task);
    const [toAnalyze] = this.#isAboveForeign(table) ? [] : await this.#statistics.carry(session, [table]);
    const vacuum = this.#wantsVacuum(session, table);
    if (vacuum || toAnalyze !== undefined) {
      const statement = toAnalyze === undefined ? 'vacuum' : vacuum ? 'vacuum (analyze)' : 'analyze';
      await analyze(session, `${statement} ${alone(session)}${table.qualified}`, {
        label: table.label,
        log: this.#phase.options.log,
      });
    }
    this.#recorder.done(task, { durationMs: performance.now() - began, bytes: 0, rows: 0 });
  }

  /** A table that was not loaded frozen has no visibility map yet; for a small one that does not matter. */
  #wantsVacuum(session: Session, table: TablePlan): boolean {
    if (!table.withRows || !isLarge(table.table)) return false;
    const frozen = isFrozen(table, this.#phase.targets.get(table.qualified));
    return !frozen || session.serverVersion < freezeSparesVacuumFrom;
  }

  async #analyzeTogether(session: Session, tables: readonly TablePlan[]): Promise<void> {
    const began = performance.now();
    const tasks = tables.map(({ qualified }) => `analyze ${qualified}`);
    for (const task of tasks) this.#recorder.started(task);
    const left = await this.#statistics.carry(session, tables);
    const names = left.map(({ qualified }) => `${alone(session)}${qualified}`).join(', ');
    if (left.length > 0) await session.query(`analyze ${names}`, [], 'could not analyze small tables');
    const durationMs = (performance.now() - began) / tables.length;
    for (const task of tasks) this.#recorder.done(task, { durationMs, bytes: 0, rows: 0 });
  }
}

/** The children of a table have their own turn. Before 18 they are visited with it, and cannot be left out. */
function alone(session: Session): string {
  return session.serverVersion >= analyzeOnlyFrom ? 'only ' : '';
}

/** Whether all that a table needs are plain statements. */
function canGoTogether(table: TablePlan): boolean {
  const inDefault = (index: Pick<IndexPlan, 'tablespace'> | null) => (index?.tablespace ?? null) === null;
  const { indexes, finishing } = table;
  if (isLarge(table.table) || !indexes.every(inDefault)) return false;
  return finishing.every(({ builds, mayFail }) => inDefault(builds) && mayFail === null);
}

/** A key's index and the key by one statement: two look up, lock and tell the others of the table twice. Pure. */
function statementsTogether(indexes: readonly IndexPlan[], steps: readonly FinishingStep[]): string[] {
  const toBuild = new Set(indexes.map(({ task }) => task));
  const atOnce = steps.map(({ withIndex }) =>
    withIndex !== null && toBuild.has(withIndex.task) ? withIndex : null,
  );
  const made = new Set(atOnce.map((one) => one?.task));
  return [
    ...indexes.filter(({ task }) => !made.has(task)).map(({ sql }) => sql),
    ...steps.map(({ sql }, at) => atOnce[at]?.sql ?? sql),
  ];
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
