/**
 * What a clone has done and how long it took, as data: the two tables of the summary (reference/pgcopydb.md 8) are
 * printed from this.
 */
import type { Catalog } from '../catalog/database.js';
import { loadRelations, sumTasks, sumTasksByRelation } from '../catalog/tasks.js';
import type { TaskKind } from '../catalog/tasks.js';
import { loadTimings } from '../catalog/timings.js';
import type { StepTiming } from '../catalog/timings.js';
import type { CloneJobs, Problem } from './options.js';

/** The peer's names for the steps; `timing` holds them under these. */
export const stepLabels = {
  catalog: 'Catalog Queries (table ordering, filtering, etc)',
  dump: 'Dump Schema',
  prepare: 'Prepare Schema',
  copyPhase: 'COPY, INDEX, CONSTRAINTS, VACUUM (wall clock)',
  copy: 'COPY (cumulative)',
  index: 'CREATE INDEX (cumulative)',
  constraints: 'CONSTRAINTS (cumulative)',
  vacuum: 'VACUUM (cumulative)',
  sequences: 'Reset Sequences',
  largeObjects: 'Large Objects (cumulative)',
  finalize: 'Finalize Schema',
  total: 'Total Wall Clock Duration',
} as const;

export type TableSummary = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly parts: number;
  readonly copyMs: number;
  readonly bytes: number;
  readonly rows: number;
  readonly indexes: number;
  readonly indexMs: number;
};

export type CloneSummary = {
  /** By OID. */
  readonly tables: readonly TableSummary[];
  /** In the order of the peer's table; the last one is the total. */
  readonly steps: readonly StepTiming[];
  /** What the role may not do on the target, in the order in which it came up. */
  readonly problems: readonly Problem[];
};

/** Reads the summary from a catalog, of a run that goes on or has ended. */
export function loadCloneSummary(
  catalog: Catalog,
  jobs: CloneJobs,
  problems: readonly Problem[] = [],
): CloneSummary {
  return { tables: tableSummaries(catalog), steps: stepTimings(catalog, jobs), problems };
}

const nothing = { tasks: 0, durationMs: 0, bytes: 0, rows: 0 };

function tableSummaries(catalog: Catalog): TableSummary[] {
  const allCopies = sumTasksByRelation(catalog, 'copy');
  const allIndexes = sumTasksByRelation(catalog, 'index');
  return loadRelations(catalog).map(({ oid, schema, name }) => {
    const copies = allCopies.get(oid) ?? nothing;
    const indexes = allIndexes.get(oid) ?? nothing;
    return {
      oid,
      schema,
      name,
      parts: copies.tasks,
      copyMs: copies.durationMs,
      bytes: copies.bytes,
      rows: copies.rows,
      indexes: indexes.tasks,
      indexMs: indexes.durationMs,
    };
  });
}

function stepTimings(catalog: Catalog, jobs: CloneJobs): StepTiming[] {
  const stored = new Map(loadTimings(catalog).map((timing) => [timing.step, timing]));
  const wall = (step: string, connection: StepTiming['connection'], concurrency: number): StepTiming =>
    stored.get(step) ?? { step, connection, durationMs: 0, bytes: 0, concurrency };
  const cumulative = (step: string, kind: TaskKind, connection: 'both' | 'target', concurrency: number) => {
    const { durationMs, bytes } = sumTasks(catalog, kind);
    return { step, connection, durationMs, bytes, concurrency };
  };
  return [
    wall(stepLabels.catalog, 'source', 1),
    wall(stepLabels.dump, 'source', 1),
    wall(stepLabels.prepare, 'target', 1),
    wall(stepLabels.copyPhase, 'both', jobs.table + jobs.index),
    cumulative(stepLabels.copy, 'copy', 'both', jobs.table),
    cumulative(stepLabels.index, 'index', 'target', jobs.index),
    cumulative(stepLabels.constraints, 'constraint', 'target', jobs.index),
    cumulative(stepLabels.vacuum, 'analyze', 'target', jobs.index),
    wall(stepLabels.sequences, 'both', 1),
    stored.get(stepLabels.largeObjects) ?? noLargeObjects,
    wall(stepLabels.finalize, 'both', jobs.restore),
    wall(stepLabels.total, 'both', jobs.table + jobs.index),
  ];
}

const noLargeObjects: StepTiming = {
  step: stepLabels.largeObjects,
  connection: null,
  durationMs: 0,
  bytes: 0,
  concurrency: 0,
};
