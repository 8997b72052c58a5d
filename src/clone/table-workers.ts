/**
 * The table workers of the copy phase. Each holds a pair of sessions and takes the next piece, the largest first: a
 * whole table, a part of a large one, or small ones together. A table whose last piece is done is handed on.
 *
 * Who loses the connection tries again, up to five times. Who cannot get inside the snapshot any more, or gets no
 * connection, hands its piece to those who are at work, and ends.
 */
import type { TaskRecorder } from '../catalog/tasks.js';
import { asFailure, type Failure } from '../failure.js';
import { failpoint } from '../failpoint.js';
import { silentLog } from '../log.js';
import type { Session } from '../postgres/connect.js';
import type { CopyResult } from '../postgres/copy-exchange.js';
import { fetchDoneTasks } from '../postgres/task-table.js';
import { hasNoConnection } from '../postgres/too-many-connections.js';
import { restWhileBraked } from './brake.js';
import type { CopyPhase } from './copy-phase.js';
import { copyPart, copyTogether, expectEmpty, type CopySessions, type CopyWays } from './copy-table.js';
import type { Failures } from './failures.js';
import { chooseFormat } from './plan.js';
import type { CopyFormat, PartPlan, TablePlan } from './plan.js';
import { planPieces, type CopyPiece } from './pieces.js';
import { FewerConnections, isConnectionLost, retrying } from './retry.js';
import { HeldSession, openBulkTarget, openInSnapshot } from './sessions.js';
import { WalWriterCalls } from './wal-writer.js';
import { runWorkers, WorkQueue } from './work-queue.js';

/** Told as soon as all rows of tables are on the target. */
export type TablesAreIn = (tables: readonly TablePlan[]) => void;

/** Copies what is not done yet. Failures are noted; tables of which a piece failed are not handed on. */
export async function runTableWorkers(
  phase: CopyPhase,
  failures: Failures,
  recorder: TaskRecorder,
  tablesAreIn: TablesAreIn,
): Promise<void> {
  await new TableWork(phase, failures, recorder, tablesAreIn).run();
}

class TableWork {
  readonly phase: CopyPhase;
  readonly failures: Failures;
  readonly recorder: TaskRecorder;
  readonly #tablesAreIn: TablesAreIn;
  readonly #queue = new WorkQueue<CopyPiece>();
  readonly #fewer: FewerConnections;
  /** Per table, the parts that are not on the target. */
  readonly #left = new Map<TablePlan, number>();
  /** Per split table of which nothing is on the target: that it is empty there. */
  readonly #looks = new Map<TablePlan, Promise<void> | null>();
  readonly #formats = new Map<TablePlan, CopyFormat>();
  readonly #walWriter: WalWriterCalls;
  /** Pieces that are neither done nor failed. */
  #open = 0;
  #working = 0;
  /** Workers that have a piece in hand. */
  #busy = 0;

  constructor(phase: CopyPhase, failures: Failures, recorder: TaskRecorder, tablesAreIn: TablesAreIn) {
    this.phase = phase;
    this.failures = failures;
    this.recorder = recorder;
    this.#tablesAreIn = tablesAreIn;
    const { target, jobs, log } = phase.options;
    this.#fewer = new FewerConnections(log);
    this.#walWriter = new WalWriterCalls({
      open: (end) => {
        const signal = AbortSignal.any([failures.signal, end]);
        return openBulkTarget(target, 'wal', { log: silentLog, signal, dispensable: true });
      },
      jobs,
      log,
    });
  }

  /** How many workers are at work: whoever is the only one has nobody to hand a piece to. */
  get working(): number {
    return this.#working;
  }

  async run(): Promise<void> {
    const { options } = this.phase;
    const { signal } = this.failures;
    const pieces = planPieces(this.#findLeft(), options.jobs.table);
    this.#open = pieces.length;
    for (const piece of pieces) this.#queue.push(piece);
    if (pieces.length === 0) return;
    const stop = () => this.#queue.close();
    signal.addEventListener('abort', stop);
    this.#working = Math.min(options.jobs.table, pieces.length);
    await using _walWriter = this.#walWriter;
    try {
      await runWorkers(this.#working, async () => {
        await using worker = new TableWorker(this);
        for (let piece = await this.#next(); piece !== null; piece = await this.#next()) {
          if (signal.aborted || !(await this.#work(worker, piece))) return;
        }
      });
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async #next(): Promise<CopyPiece | null> {
    await restWhileBraked(this.phase.options.braked, () => this.#busy > 0, this.failures.signal);
    return await this.#queue.next();
  }

  /** The parts that are not on the target; what is there is noted and handed on. */
  #findLeft(): Map<TablePlan, readonly PartPlan[]> {
    const { plan, done, progress } = this.phase;
    const left = new Map<TablePlan, readonly PartPlan[]>();
    for (const table of plan.tables) {
      const parts = table.withRows ? table.parts.filter(({ task }) => !done.has(task)) : [];
      for (const { task } of table.withRows ? table.parts : []) {
        const earlier = done.get(task);
        if (earlier === undefined) continue;
        this.recorder.done(task, { durationMs: 0, bytes: earlier.bytes, rows: earlier.rows });
        progress.found(earlier.bytes);
      }
      if (parts.length === 0) {
        progress.tableDone();
        this.#tablesAreIn([table]);
        continue;
      }
      left.set(table, parts);
      this.#left.set(table, parts.length);
      if (table.parts.length > 1 && parts.length === table.parts.length) this.#looks.set(table, null);
    }
    return left;
  }

  /** False when this worker is to end. */
  async #work(worker: TableWorker, piece: CopyPiece): Promise<boolean> {
    this.#busy += 1;
    try {
      await worker.copy(piece);
      this.#settle(piece);
      return true;
    } catch (error) {
      return this.#fail(asFailure(error), piece);
    } finally {
      this.#busy -= 1;
    }
  }

  #settle(piece: CopyPiece): void {
    const whole: TablePlan[] = [];
    for (const { table } of piece.parts) {
      const left = (this.#left.get(table) ?? 0) - 1;
      this.#left.set(table, left);
      if (left > 0) continue;
      this.phase.progress.tableDone();
      whole.push(table);
    }
    if (whole.length > 0) this.#tablesAreIn(whole);
    this.#close(1);
  }

  #fail(failure: Failure, piece: CopyPiece): boolean {
    const outside = failure.code === 'snapshot-lost';
    const refused = hasNoConnection(failure);
    if (outside || refused) this.#working -= 1;
    if ((outside || refused) && this.#working > 0) {
      // Workers that are inside of the snapshot still see it, and those who have connections keep them.
      if (refused) this.#fewer.say(failure);
      this.#queue.push(piece);
      return false;
    }
    if (piece.parts.length > 1 && !outside && !refused && !isConnectionLost(failure)) {
      // One by one it turns out which it was, and the others are copied.
      const single = piece.parts.map((one) => ({ parts: [one] }));
      this.#open += single.length;
      for (const one of single) this.#queue.push(one);
      this.#close(1);
      return true;
    }
    this.failures.add(failure);
    this.#close(1);
    if (outside) this.#queue.close();
    return !outside && !refused;
  }

  #close(settled: number): void {
    this.#open -= settled;
    if (this.#open === 0) this.#queue.close();
  }

  /** Before the first part of a table is copied, nothing may be in it; the others wait until that is seen. */
  async expectEmptyBefore(table: TablePlan, target: Session): Promise<void> {
    const look = this.#looks.get(table);
    if (look === undefined) return;
    if (look !== null) return look;
    const looking = expectEmpty(target, table, this.phase.targets.get(table.qualified));
    this.#looks.set(table, looking);
    try {
      await looking;
    } catch (error) {
      // Nobody has copied anything yet: the next one looks.
      this.#looks.set(table, null);
      throw error;
    }
  }

  /** Copies one piece, with what only a large one is worth. */
  async copying<Result>(piece: CopyPiece, copy: () => Promise<Result>): Promise<Result> {
    const bytes = piece.parts.reduce((total, { part }) => total + part.bytes, 0);
    return bytes < wakeFromBytes ? await copy() : await this.#walWriter.during(copy);
  }

  formatOf(table: TablePlan): CopyFormat {
    const known = this.#formats.get(table);
    if (known !== undefined) return known;
    const { schema, targets, format, options } = this.phase;
    const source = schema.binary?.[String(table.table.oid)];
    const chosen = chooseFormat(format, source, targets.get(table.qualified));
    if (format.binaryAsked && chosen === 'text' && table.columns.length > 0) {
      options.log.notice(
        `${table.label} is copied as text: not all of its types have a binary format that is sure`,
      );
    }
    this.#formats.set(table, chosen);
    return chosen;
  }
}

// Several times what a COPY holds in its buffers: below this there is nothing to wait for.
const wakeFromBytes = 64 * 1024 * 1024;

// Often enough for somebody who looks on, too seldom to cost anything.
const noteEveryBytes = 8 * 1024 * 1024;

class TableWorker {
  readonly #work: TableWork;
  readonly #source: HeldSession;
  readonly #target: HeldSession;

  constructor(work: TableWork) {
    const { source, target, snapshot, log } = work.phase.options;
    const { signal } = work.failures;
    this.#work = work;
    const open = { log, signal, dispensable: true };
    const bytes = work.phase.schema.encoding === 'SQL_ASCII';
    this.#source = new HeldSession(async () => {
      const session = await openInSnapshot(source, snapshot, 'copy', { ...open, bulk: true });
      return bytes ? await asBytes(session, `'SQL_ASCII'`) : session;
    }, signal);
    this.#target = new HeldSession(async () => {
      const session = await openBulkTarget(target, 'copy', open);
      return bytes ? await asBytes(session, 'pg_catalog.getdatabaseencoding()') : session;
    }, signal);
  }

  async copy(piece: CopyPiece): Promise<void> {
    const { log } = this.#work.phase.options;
    const { recorder } = this.#work;
    const began = performance.now();
    for (const { part } of piece.parts) recorder.started(part.task);
    const results = await this.#copyAndRetry(piece);
    const durationMs = (performance.now() - began) / piece.parts.length;
    piece.parts.forEach(({ table, part }, index) => {
      const { bytes, rows } = results[index] ?? { bytes: 0, rows: 0 };
      recorder.done(part.task, { durationMs, bytes, rows });
      failpoint('clone.table-recorded');
      log.notice(`copied ${part.label}`, { rows, bytes, format: this.#work.formatOf(table) });
    });
  }

  async #copyAndRetry(piece: CopyPiece): Promise<readonly CopyResult[]> {
    const { log } = this.#work.phase.options;
    const [first] = piece.parts;
    const others = piece.parts.length === 1 ? '' : ` and ${piece.parts.length - 1} others`;
    return await retrying(
      async (attempt) => {
        const committed = attempt === 1 ? null : await this.#committed(piece);
        return committed ?? (await this.#copyOnce(piece));
      },
      {
        what: `copying ${first?.part.label}${others}`,
        log,
        signal: this.#work.failures.signal,
        // Together: one may wait for a server that is not there.
        again: async () => void (await Promise.all([this.#source.discard(), this.#target.discard()])),
        waitForConnection: () => this.#work.working === 1,
      },
    );
  }

  /** What an attempt whose COMMIT was not answered has done after all; its pieces are all there, or none. */
  async #committed(piece: CopyPiece): Promise<readonly CopyResult[] | null> {
    const done = await fetchDoneTasks(await this.#target.get(), this.#work.phase.options.key);
    const results = piece.parts.flatMap(({ part }) => done.get(part.task) ?? []);
    return results.length === piece.parts.length ? results : null;
  }

  async #copyOnce(piece: CopyPiece): Promise<readonly CopyResult[]> {
    const { options, progress, targets } = this.#work.phase;
    const [first] = piece.parts;
    if (first === undefined) return [];
    let moved = 0;
    let noted = 0;
    const ways: CopyWays = {
      key: options.key,
      generation: options.generation,
      follow: options.follow,
      targets,
      formatOf: (table) => this.#work.formatOf(table),
      log: options.log,
      signal: this.#work.failures.signal,
      onBytes: (bytes) => {
        moved += bytes;
        progress.moved(bytes);
        if (moved - noted < noteEveryBytes) return;
        noted = moved;
        this.#work.recorder.moved(first.part.task, moved);
      },
    };
    const sessions = await this.#sessions();
    try {
      if (piece.parts.length > 1) {
        return await copyTogether(
          piece.parts.map(({ table }) => table),
          sessions,
          ways,
        );
      }
      await this.#work.expectEmptyBefore(first.table, sessions.target);
      return [await this.#work.copying(piece, () => copyPart(first.table, first.part, sessions, ways))];
    } catch (error) {
      progress.takeBack(moved);
      throw error;
    }
  }

  /** Opened together, since each costs several round trips; both are waited for, so that none is left behind. */
  async #sessions(): Promise<CopySessions> {
    const [source, target] = await Promise.allSettled([this.#source.get(), this.#target.get()]);
    if (source.status === 'rejected') throw source.reason;
    if (target.status === 'rejected') throw target.reason;
    return { source: source.value, target: target.value };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#source[Symbol.asyncDispose](), this.#target[Symbol.asyncDispose]()]);
  }
}

/**
 * A source without an encoding is copied as bytes, which must be the target's own encoding. Its session has to say so:
 * what a COPY is told to be SQL_ASCII is not checked at all, and a database in UTF8 would then hold what is none (shown
 * on 15.20; statements other than COPY are checked either way).
 */
async function asBytes(session: Session, encoding: string): Promise<Session> {
  await session.query(`select pg_catalog.set_config('client_encoding', ${encoding}, false)`);
  return session;
}
