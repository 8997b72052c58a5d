/**
 * How far a clone is, read from the work directory of a run that goes on, has ended, or was killed. Reading disturbs
 * nothing: the catalog's readers do not block its writer.
 */
import type { Catalog } from '../catalog/database.js';
import { loadRelations, loadTasks, type PlannedRelation, type TaskRow } from '../catalog/tasks.js';

/** A table or index that is worked on now. */
export type TaskInProgress = {
  readonly object: string;
  readonly relation: PlannedRelation;
  /** ISO 8601. */
  readonly startedAt: string;
  /** Copied so far; 0 for an index. */
  readonly bytes: number;
};

export type TaskCounts = {
  readonly total: number;
  readonly done: number;
  readonly inProgress: readonly TaskInProgress[];
};

export type CloneStanding = {
  readonly tables: TaskCounts;
  readonly indexes: TaskCounts;
  /** `total` is the tables' size on the source's disk; the others are bytes on the wire. */
  readonly bytes: { readonly total: number; readonly done: number; readonly inProgress: number };
};

/** Reads it from an open catalog; all counts are 0 before a clone has planned its tasks. */
export function loadCloneStanding(catalog: Catalog): CloneStanding {
  const relations = loadRelations(catalog);
  const tasks = loadTasks(catalog);
  const byOid = new Map(relations.map((relation) => [relation.oid, relation]));
  const copies = tasks.filter(({ kind }) => kind === 'copy');
  const running = copies.filter(isRunning);
  return {
    tables: countByRelation(copies, byOid),
    indexes: count(
      tasks.filter(({ kind }) => kind === 'index'),
      byOid,
    ),
    bytes: {
      total: relations.reduce((sum, { bytes }) => sum + bytes, 0),
      done: copies.filter(({ doneAt }) => doneAt !== null).reduce((sum, { bytes }) => sum + bytes, 0),
      inProgress: running.reduce((sum, { bytes }) => sum + bytes, 0),
    },
  };
}

/** How fast the tables that are copied now arrive together, and how long the rest takes at that pace. */
export type CopyPace = {
  readonly bytesPerSecond: number;
  /** Null while nothing arrives. */
  readonly secondsLeft: number | null;
};

/** Reckoned from the tables in progress alone, so that the pause before a resumed run does not count. */
export function copyPace({ tables, bytes }: CloneStanding, nowMs: number): CopyPace {
  const bytesPerSecond = tables.inProgress.reduce((sum, task) => {
    const seconds = (nowMs - Date.parse(task.startedAt)) / 1000;
    return seconds > 0 ? sum + task.bytes / seconds : sum;
  }, 0);
  if (bytesPerSecond === 0) return { bytesPerSecond, secondsLeft: null };
  const left = Math.max(0, bytes.total - bytes.done - bytes.inProgress);
  return { bytesPerSecond, secondsLeft: left / bytesPerSecond };
}

function isRunning(task: TaskRow): boolean {
  return task.startedAt !== null && task.doneAt === null;
}

type RelationsByOid = ReadonlyMap<number, PlannedRelation>;

function count(tasks: readonly TaskRow[], relations: RelationsByOid): TaskCounts {
  return {
    total: tasks.length,
    done: tasks.filter(({ doneAt }) => doneAt !== null).length,
    inProgress: tasks.filter(isRunning).map((task) => inProgress(task, relations)),
  };
}

/** A table that is copied in parts counts as one, and is done with its last part. */
function countByRelation(copies: readonly TaskRow[], relations: RelationsByOid): TaskCounts {
  const parts = new Map<number, TaskRow[]>();
  for (const copy of copies) {
    const others = parts.get(copy.relationOid);
    if (others === undefined) parts.set(copy.relationOid, [copy]);
    else others.push(copy);
  }
  const tables = [...parts.values()];
  return {
    total: tables.length,
    done: tables.filter((own) => own.every(({ doneAt }) => doneAt !== null)).length,
    inProgress: tables.flatMap((own) => {
      const running = own.filter(isRunning);
      const [first] = running;
      if (first === undefined) return [];
      const bytes = running.reduce((sum, part) => sum + part.bytes, 0);
      return [{ ...inProgress(first, relations), bytes }];
    }),
  };
}

function inProgress(task: TaskRow, relations: RelationsByOid): TaskInProgress {
  const { object, relationOid, startedAt, bytes } = task;
  const relation = relations.get(relationOid) ?? {
    oid: relationOid,
    schema: '',
    name: object,
    bytes: 0,
    estimatedRows: -1,
  };
  return { object, relation, startedAt: startedAt ?? '', bytes };
}
