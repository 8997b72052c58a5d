/**
 * Which rows the applier writes, for whoever wants to know afterwards what was written since some position: a
 * comparison that need not read again what nobody touched. Pure.
 */
import type { Lsn } from '../model/lsn.js';
import { cellAt } from '../model/packed-row.js';
import { unchanged } from '../model/row.js';
import type { RelationPlan } from './relation-plan.js';
import { oldCell, type Run } from './run.js';

/** Told of everything that is written, before it can be committed. */
export interface TouchLog {
  /** A statement of the group under way. */
  add(run: Run): void;
  /** The group under way ends at `to`; its COMMIT is sent after this. It may fail: then it is sent again later. */
  end(to: Lsn): void;
}

/** Rows of one table, by the values of some of its columns: JSON arrays of text. */
export type TouchedRows = {
  readonly schema: string;
  readonly name: string;
  /** Names of the columns; null where rows cannot be named, and any may have been written. */
  readonly columns: readonly string[] | null;
  readonly keys: readonly string[];
};

/** The tables that a statement writes. */
export function runTables(run: Run): readonly { readonly schema: string; readonly name: string }[] {
  return run.kind === 'truncate' ? run.plans.map(({ relation }) => relation) : [run.plan.relation];
}

/** The rows that a statement writes: those it finds, and those it makes. */
export function touchedRows(run: Exclude<Run, { kind: 'truncate' }>): TouchedRows {
  const { plan } = run;
  const { schema, name } = plan.relation;
  const columns = keyColumns(plan);
  if (columns === null) return { schema, name, columns: null, keys: [] };
  const keys: string[] = [];
  for (const change of run.changes) {
    const before = change.kind === 'insert' ? null : columns.map(({ at }) => oldCell(plan, change, at));
    if (before !== null) keys.push(JSON.stringify(before));
    if (change.kind === 'delete') continue;
    const after = columns.map(({ at }, nth) => {
      const cell = cellAt(change, at);
      return cell === unchanged || cell === undefined ? (before?.[nth] ?? null) : cell;
    });
    // A key without a value names no row.
    if (after.includes(null) || before?.includes(null) === true)
      return { schema, name, columns: null, keys: [] };
    if (before === null || after.some((cell, nth) => cell !== before[nth])) keys.push(JSON.stringify(after));
  }
  return { schema, name, columns: columns.map(({ target }) => target.name), keys };
}

function keyColumns({ match }: RelationPlan) {
  return match.kind === 'key' || match.kind === 'value' ? match.columns : null;
}
