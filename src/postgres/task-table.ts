/**
 * The task table on the target, `walferry.task`: which pieces of the copy this target holds. A row is written in the
 * same transaction as the rows it speaks of, so that it is there if and only if they are. It alone decides what a
 * resumed run copies; the catalog in the work directory may lag behind it.
 */
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from './connect.js';

export type DoneTask = {
  readonly name: string;
  readonly bytes: number;
  readonly rows: number;
  /** The generation (generation.ts) that the rows were copied from; none: the snapshot that the run began with. */
  readonly generation?: number | undefined;
};

/** The task of copying a table's rows, or a part of them; `qualified` is the quoted name. */
export function copyTask(qualified: string, part?: { readonly number: number; readonly of: number }): string {
  return part === undefined ? `copy ${qualified}` : `copy ${qualified} part ${part.number} of ${part.of}`;
}

/** The task of copying what users wrote into a table of an extension. */
export function configurationTask(extension: string, qualified: string): string {
  return `extension ${quoteIdentifier(extension)} ${qualified}`;
}

/** The quoted name of the relation whose rows a task copies; null in any other. */
export function relationOfTask(name: string): string | null {
  const [, copied, configured] =
    /^(?:copy (".+"\.".+")(?: part \d+ of \d+)?|extension "(?:[^"]|"")*" (".+"\.".+"))$/su.exec(name) ?? [];
  return copied ?? configured ?? null;
}

const fetchQuery = `
  select name, bytes, rows, generation from walferry.task
  where stream = $1 and system_identifier = $2 and database = $3`;

/** The tasks of this stream that the target holds, by name: all of them, or those of these names. */
export async function fetchDoneTasks(
  session: Session,
  key: StreamKey,
  names: readonly string[] | null = null,
): Promise<Map<string, DoneTask>> {
  const rows =
    names === null
      ? await session.query(fetchQuery, keyValues(key))
      : await session.query(
          `${fetchQuery} and name in (select pg_catalog.json_array_elements_text($4::json))`,
          [...keyValues(key), JSON.stringify(names)],
        );
  const done = new Map<string, DoneTask>();
  for (const row of rows) {
    const name = row['name'] ?? '';
    const generation = row['generation'] ?? null;
    done.set(name, {
      name,
      bytes: Number(row['bytes']),
      rows: Number(row['rows']),
      ...(generation === null ? {} : { generation: Number(generation) }),
    });
  }
  return done;
}

const tableExists = `select pg_catalog.to_regclass('walferry.task')::text as found`;

/** Whether the target holds a task of this name, of whatever stream; also where it has no task table. */
export async function holdsTask(session: Session, name: string): Promise<boolean> {
  const [table] = await session.query(tableExists);
  if ((table?.['found'] ?? null) === null) return false;
  return (await session.query('select from walferry.task where name = $1 limit 1', [name])).length > 0;
}

const recordStatement = `
  insert into walferry.task (stream, system_identifier, database, name, bytes, rows, generation)
  values ($1, $2, $3, $4, $5::bigint, $6::bigint, $7::int)`;

/**
 * Writes the row of a task, inside the caller's transaction. Fails when the row exists already: somebody else has
 * done the task, and this transaction must not commit.
 */
export async function recordDoneTask(session: Session, key: StreamKey, task: DoneTask): Promise<void> {
  const { name, bytes, rows, generation } = task;
  await session.query(recordStatement, [
    ...keyValues(key),
    name,
    String(bytes),
    String(rows),
    generation === undefined ? null : String(generation),
  ]);
}

/** The same for several tasks, as a statement that can stand among others. */
export function doneTasksStatement(key: StreamKey, tasks: readonly DoneTask[]): string {
  const own = keyValues(key).map(quoteLiteral).join(', ');
  const rows = tasks.map(
    ({ name, bytes, rows, generation }) =>
      `(${own}, ${quoteLiteral(name)}, ${bytes}, ${rows}, ${generation ?? 'null'})`,
  );
  return `insert into walferry.task (stream, system_identifier, database, name, bytes, rows, generation) values ${rows.join(', ')}`;
}

const forgetStatement = `
  delete from walferry.task where stream = $1 and system_identifier = $2 and database = $3`;

/** Forgets every task of this stream: for a run that starts from nothing. */
export async function forgetDoneTasks(session: Session, key: StreamKey): Promise<void> {
  await session.query(forgetStatement, keyValues(key));
}

const forgetLikeStatement = `${forgetStatement} and name like any ($4::text[])`;

/** Forgets the tasks whose names are like one of these patterns: for a single step that starts from nothing. */
export async function forgetDoneTasksLike(
  session: Session,
  key: StreamKey,
  patterns: readonly string[],
): Promise<void> {
  const list = `{${patterns.map((pattern) => `"${pattern}"`).join(',')}}`;
  await session.query(forgetLikeStatement, [...keyValues(key), list]);
}

/** Forgets these tasks, inside the caller's transaction, which takes away what they did. */
export async function forgetTheseTasks(
  session: Session,
  key: StreamKey,
  names: readonly string[],
): Promise<void> {
  const list = names.map(quoteLiteral).join(', ');
  await session.query(`${forgetStatement} and name in (${list})`, keyValues(key));
}

function keyValues(key: StreamKey): string[] {
  return [key.stream, key.systemIdentifier, key.database];
}
