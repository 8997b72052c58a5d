/**
 * The pieces of a clone, for whoever looks on (`list progress`) and for the summary. What the target holds is known
 * from the target alone; here a task may be missing that is done.
 */
import type { Catalog } from './database.js';

export type TaskKind = 'copy' | 'index' | 'constraint' | 'analyze' | 'foreign-key' | 'validate';

export type PlannedTask = {
  /** Unique, and the same in every run. */
  readonly name: string;
  readonly kind: TaskKind;
  readonly relationOid: number;
  /** The object, for people. */
  readonly object: string;
};

export type TaskRow = PlannedTask & {
  readonly startedAt: string | null;
  readonly doneAt: string | null;
  readonly durationMs: number;
  readonly bytes: number;
  readonly rows: number;
};

export type PlannedRelation = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly bytes: number;
  readonly estimatedRows: number;
};

/** Stores the relations of a clone and its tasks in one go; tasks that are there already stay as they are. */
export function planTasks(
  catalog: Catalog,
  relations: readonly PlannedRelation[],
  tasks: readonly PlannedTask[],
): void {
  const { database } = catalog;
  const putRelation = database.prepare(
    'insert or replace into relation (oid, schema, name, bytes, estimated_rows) values (?, ?, ?, ?, ?)',
  );
  const putTask = database.prepare(
    'insert or ignore into task (name, kind, relation_oid, object) values (?, ?, ?, ?)',
  );
  database.transaction(() => {
    for (const one of relations) putRelation.run(one.oid, one.schema, one.name, one.bytes, one.estimatedRows);
    for (const one of tasks) putTask.run(one.name, one.kind, one.relationOid, one.object);
  })();
}

/** Forgets relations, tasks and timings: for a run that starts from nothing. */
export function forgetTasks(catalog: Catalog): void {
  catalog.database.exec(
    'begin immediate; delete from task; delete from relation; delete from timing; commit',
  );
}

type StoredTask = {
  name: string;
  kind: TaskKind;
  relation_oid: number;
  object: string;
  started_at: string | null;
  done_at: string | null;
  duration_ms: number | null;
  bytes: number;
  rows: number;
};

/** Every task, in the order in which they were planned. */
export function loadTasks(catalog: Catalog): TaskRow[] {
  return catalog.database
    .prepare<[], StoredTask>('select * from task order by rowid')
    .all()
    .map((row) => ({
      name: row.name,
      kind: row.kind,
      relationOid: row.relation_oid,
      object: row.object,
      startedAt: row.started_at,
      doneAt: row.done_at,
      durationMs: row.duration_ms ?? 0,
      bytes: row.bytes,
      rows: row.rows,
    }));
}

/** The names of the tasks of a kind that are done. */
export function loadDoneTaskNames(catalog: Catalog, kind: TaskKind): Set<string> {
  const rows = catalog.database
    .prepare<[TaskKind], { name: string }>('select name from task where kind = ? and done_at is not null')
    .all(kind);
  return new Set(rows.map(({ name }) => name));
}

/** What tasks of one kind took together: all of them, or those of one relation. */
export type TaskSums = {
  readonly tasks: number;
  readonly durationMs: number;
  readonly bytes: number;
  readonly rows: number;
};

const sums = `count(*) as tasks, coalesce(sum(duration_ms), 0) as durationMs, coalesce(sum(bytes), 0) as bytes,
  coalesce(sum(rows), 0) as rows`;

/** Of all tasks of a kind. */
export function sumTasks(catalog: Catalog, kind: TaskKind): TaskSums {
  const row = catalog.database
    .prepare<[TaskKind], TaskSums>(`select ${sums} from task where kind = ?`)
    .get(kind);
  return row ?? { tasks: 0, durationMs: 0, bytes: 0, rows: 0 };
}

/** Of a kind, by relation. */
export function sumTasksByRelation(catalog: Catalog, kind: TaskKind): Map<number, TaskSums> {
  const rows = catalog.database
    .prepare<[TaskKind], TaskSums & { oid: number }>(
      `select relation_oid as oid, ${sums} from task where kind = ? group by relation_oid`,
    )
    .all(kind);
  return new Map(rows.map(({ oid, ...row }) => [oid, row]));
}

/** How long each task of a kind took, in milliseconds, by its name. */
export function loadDurations(catalog: Catalog, kind: TaskKind): Map<string, number> {
  const rows = catalog.database
    .prepare<[TaskKind], [string, number | null]>('select name, duration_ms from task where kind = ?')
    .raw()
    .all(kind);
  return new Map(rows.map(([name, durationMs]) => [name, durationMs ?? 0]));
}

/** The relations of the clone, by OID. */
export function loadRelations(catalog: Catalog): PlannedRelation[] {
  return catalog.database
    .prepare<[], { oid: number; schema: string; name: string; bytes: number; estimated_rows: number }>(
      'select oid, schema, name, bytes, estimated_rows from relation order by oid',
    )
    .all()
    .map(({ estimated_rows, ...rest }) => ({ ...rest, estimatedRows: estimated_rows }));
}

type Note =
  | { readonly kind: 'started'; readonly name: string; readonly at: string }
  | { readonly kind: 'moved'; readonly name: string; readonly bytes: number }
  | {
      readonly kind: 'done';
      readonly name: string;
      readonly at: string;
      readonly durationMs: number;
      readonly bytes: number;
      readonly rows: number;
    };

// How long a note may wait for others: every SQLite commit is an fsync, and thousands of small tables would each
// pay several. Losing the last moment's notes loses nothing (see the head of this file).
const flushAfterMs = 250;

/** Writes down how tasks go, several notes in one SQLite transaction. */
export class TaskRecorder {
  readonly #catalog: Catalog;
  #notes: Note[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  started(name: string): void {
    this.#note({ kind: 'started', name, at: new Date().toISOString() });
  }

  /** How many bytes a running task has copied so far. */
  moved(name: string, bytes: number): void {
    this.#note({ kind: 'moved', name, bytes });
  }

  done(
    name: string,
    result: { readonly durationMs: number; readonly bytes: number; readonly rows: number },
  ): void {
    this.#note({ kind: 'done', name, at: new Date().toISOString(), ...result });
  }

  /** Writes what is waiting. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const notes = this.#notes;
    this.#notes = [];
    if (notes.length === 0) return;
    const { database } = this.#catalog;
    const started = database.prepare(
      'update task set started_at = ?, done_at = null, bytes = 0, rows = 0 where name = ?',
    );
    const moved = database.prepare('update task set bytes = ? where name = ?');
    const done = database.prepare(
      `update task set started_at = coalesce(started_at, ?), done_at = ?, duration_ms = round(?), bytes = ?, rows = ?
       where name = ?`,
    );
    database.transaction(() => {
      for (const note of notes) {
        if (note.kind === 'started') started.run(note.at, note.name);
        else if (note.kind === 'moved') moved.run(note.bytes, note.name);
        else done.run(note.at, note.at, note.durationMs, note.bytes, note.rows, note.name);
      }
    })();
  }

  #note(note: Note): void {
    this.#notes.push(note);
    this.#timer ??= setTimeout(() => this.flush(), flushAfterMs).unref();
  }
}
