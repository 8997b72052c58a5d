/**
 * The comparison inside of the pause: both sides stand still, the target at the end position. Behind it is whatever
 * compare/ can do; a cutover wants to know whether the sides are equal, and if not, which rows are not.
 */
import { rowLines, sidesDiffer } from '../compare/comparison.js';
import { compareData } from '../compare/data.js';
import type { Failure } from '../failure.js';
import type { Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { VerifyMode } from './choices.js';

export type VerifyOptions = {
  readonly mode: VerifyMode;
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly jobs: number;
  readonly keeps: Keeps | null;
  readonly log: Log;
  readonly signal: AbortSignal;
};

export type Verification = {
  readonly mode: VerifyMode;
  readonly tables: number;
  readonly rows: bigint;
  /** Null where both sides are equal. */
  readonly difference: Failure | null;
};

/** A difference is looked at once more, for the rows: what differs is known by its keys then. */
export async function verify(options: VerifyOptions): Promise<Verification> {
  const { mode, source, target, jobs, keeps, log, signal } = options;
  if (mode === 'none') return { mode, tables: 0, rows: 0n, difference: null };
  const compare = { source, target, jobs, keeps, log, signal };
  const depth = mode === 'counts' ? 'counts' : 'checksums';
  const comparison = await compareData({ ...compare, depth });
  const different = comparison.tables.filter(({ difference }) => difference !== null);
  const result = {
    mode,
    tables: comparison.tables.length,
    rows: comparison.tables.reduce((sum, table) => sum + (table.source?.rows ?? 0n), 0n),
  };
  if (different.length === 0) return { ...result, difference: null };
  const named = await compareData({ ...compare, tables: different, depth: 'rows' });
  // The rows one by one; the failure has their numbers.
  for (const table of named.tables) {
    if (table.rows === undefined) continue;
    for (const line of rowLines(table.rows)) log.error(`${relationLabel(table)}: ${line}`);
  }
  return { ...result, difference: sidesDiffer(named) ?? sidesDiffer(comparison) };
}
