/**
 * Statistics that the target need not gather, since the source has them and a server from 18 on takes them. A table's
 * are carried over where they are sure to be as good as new ones:
 *   1 nobody may say that they are old: few rows were changed since the source's last ANALYZE (as autovacuum counts),
 *     and as many rows were copied as the source thinks there are
 *   2 none are lacking: of every column and of every expression of an index
 *   3 there are no statistics objects, no children, and no ranges that the source's version does not show
 *   4 what is sorted is sorted alike on both sides, and the columns are of the same types
 * All others are analyzed, and so are those whose values the target did not take. The number of rows is what was copied.
 */
import { asFailure } from '../failure.js';
import type { Session } from '../postgres/connect.js';
import {
  fetchSortOrder,
  fetchStatistics,
  restoreStatistics,
  takesStatisticsFrom,
  type StatisticsTarget,
  type TableStatistics,
} from '../postgres/table-statistics.js';
import { fetchDoneTasks } from '../postgres/task-table.js';
import type { CopyPhase } from './copy-phase.js';
import { isFrozen, type TablePlan } from './plan.js';
import { isConnectionLost } from './retry.js';
import { openSource } from './sessions.js';

/** What a table's statistics are held against. */
export type CarryFacts = {
  /** How many rows were copied. */
  readonly rows: number;
  readonly sortedAlike: boolean;
  /** As CopyTarget.columns, of the target. */
  readonly columns: string | null;
};

// autovacuum_analyze_threshold and autovacuum_analyze_scale_factor as PostgreSQL sets them.
const changedRows = 50;
const changedShare = 0.1;

/** Whether a table's statistics may be carried over. */
export function mayCarry(statistics: TableStatistics, { rows, sortedAlike, columns }: CarryFacts): boolean {
  const { estimatedRows, modified, lacking, extended, parent, collated } = statistics;
  if (modified === null || modified > changedRows + changedShare * estimatedRows) return false; // 1
  if (Math.abs(rows - estimatedRows) > changedRows + changedShare * rows) return false; // 1
  if (lacking > 0 || rows === 0) return false; // 2
  if (extended || parent) return false; // 3
  return (sortedAlike || !collated) && statistics.columns === columns; // 4
}

// The statistics of so many tables are in memory at a time; each column may have some ten kilobytes.
const tablesAtOnce = 25;

/** One for all index workers: a single session on the source, opened when it is first needed. */
export class StatisticsCarrier implements AsyncDisposable {
  readonly #phase: CopyPhase;
  readonly #signal: AbortSignal;
  /** One after the other: they share the session. */
  #last: Promise<unknown> = Promise.resolve();
  #source: Session | null = null;
  #sortedAlike: boolean | null = null;
  #over = false;
  #carried = 0;

  constructor(phase: CopyPhase, signal: AbortSignal) {
    this.#phase = phase;
    this.#signal = signal;
    // Statistics of bytes that nobody knows the encoding of cannot be read.
    this.#over = phase.schema.encoding === 'SQL_ASCII';
  }

  /** How many tables' statistics the target has from the source. */
  get carried(): number {
    return this.#carried;
  }

  /** Carries over what may be; gives the tables that are to be analyzed. Throws only what the target's connection did. */
  async carry(target: Session, tables: readonly TablePlan[]): Promise<TablePlan[]> {
    const left: TablePlan[] = [];
    for (let from = 0; from < tables.length; from += tablesAtOnce) {
      const some = tables.slice(from, from + tablesAtOnce);
      const done = await this.#carrySome(target, some);
      this.#carried += done.size;
      left.push(...some.filter(({ table }) => !done.has(table.oid)));
    }
    return left;
  }

  async #carrySome(target: Session, tables: readonly TablePlan[]): Promise<ReadonlySet<number>> {
    if (this.#over || target.serverVersion < takesStatisticsFrom) return new Set();
    const rows = await this.#countRows(target, tables);
    const wanted = tables.filter((plan) => {
      const place = this.#phase.targets.get(plan.qualified);
      return (
        place !== undefined && !place.partitioned && rows.has(plan.qualified) && this.#isCopiedWhole(plan)
      );
    });
    if (wanted.length === 0) return new Set();
    const statistics = await this.#fetch(target, wanted);
    const taken = wanted.flatMap((plan): StatisticsTarget[] => {
      const known = statistics.get(plan.table.oid);
      const place = this.#phase.targets.get(plan.qualified);
      const copied = rows.get(plan.qualified);
      if (known === undefined || place === undefined || copied === undefined) return [];
      const facts = { rows: copied, sortedAlike: this.#sortedAlike === true, columns: place.columns };
      if (!mayCarry(known, facts)) return [];
      const { schema, name } = plan.table;
      return [{ schema, name, rows: copied, frozen: isFrozen(plan, place), statistics: known }];
    });
    if (taken.length === 0) return new Set();
    try {
      return await restoreStatistics(target, taken, this.#phase.schema.serverVersion);
    } catch (error) {
      const failure = asFailure(error);
      if (isConnectionLost(failure) || this.#signal.aborted) throw failure;
      this.#phase.options.log.notice(`the target does not take statistics, and analyzes: ${failure.message}`);
      return new Set();
    }
  }

  /** A publication of somebody else may leave out rows, or columns, which are then null here. */
  #isCopiedWhole({ table, columns, rowFilter }: TablePlan): boolean {
    const all = this.#phase.schema.columns[table.oid] ?? [];
    return rowFilter === null && columns.length === all.filter(({ generated }) => !generated).length;
  }

  /** How many rows each table has on the target, by its copy tasks; those of which not all are there are left out. */
  async #countRows(target: Session, tables: readonly TablePlan[]): Promise<Map<string, number>> {
    const { key } = this.#phase.options;
    const names = tables.flatMap(({ withRows, parts }) => (withRows ? parts.map(({ task }) => task) : []));
    const done = await fetchDoneTasks(target, key, names);
    return new Map(
      tables.flatMap(({ qualified, withRows, parts }) => {
        const counts = parts.map(({ task }) => done.get(task)?.rows);
        if (!withRows || counts.includes(undefined)) return [];
        return [[qualified, counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)] as const];
      }),
    );
  }

  /** Nothing, for the rest of the run, once the source could not be asked: then the target analyzes. */
  async #fetch(target: Session, tables: readonly TablePlan[]): Promise<ReadonlyMap<number, TableStatistics>> {
    const { options } = this.#phase;
    const work = async () => {
      if (this.#over) return new Map<number, TableStatistics>();
      try {
        this.#source ??= await openSource(options.source, 'statistics', {
          log: options.log,
          signal: this.#signal,
          dispensable: true,
        });
        this.#sortedAlike ??= (await fetchSortOrder(this.#source)) === (await fetchSortOrder(target));
        return await fetchStatistics(
          this.#source,
          tables.map(({ table }) => table.oid),
        );
      } catch (error) {
        if (target.lost !== null || this.#signal.aborted) throw error;
        this.#over = true;
        options.log.notice(
          `statistics of the source cannot be read, and the target analyzes: ${asFailure(error).message}`,
        );
        return new Map<number, TableStatistics>();
      }
    };
    const own = this.#last.then(work);
    this.#last = own.catch(() => {});
    return await own;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source?.close();
  }
}
