/**
 * Rows from the snapshot into the target, with the row of the task table in the same transaction: one table, one part
 * of a large one, or many small ones together.
 *
 * What can have happened to the table on the source since the snapshot (DESIGN 11.5), seen once the lock is held, for
 * every part anew:
 * 1. nothing: it is copied;
 * 2. dropped: there is nothing to read; skipped, or an error where changes will follow;
 * 3. renamed, or another table has its name now: an error;
 * 4. truncated or rewritten: the snapshot would see no rows; an error.
 */
import { Failure, type Side } from '../failure.js';
import { failpoint } from '../failpoint.js';
import type { Log } from '../log.js';
import { quoteLiteral } from '../model/sql.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from '../postgres/connect.js';
import { joinCopy } from '../postgres/copy.js';
import { exchangeCopies, type CopyResult } from '../postgres/copy-exchange.js';
import type { CopyTarget } from '../postgres/copy-target.js';
import { sqlState } from '../postgres/sqlstate.js';
import { doneTasksStatement, recordDoneTask } from '../postgres/task-table.js';
import { copyInStatement, copyOutStatement, isFrozen } from './plan.js';
import type { CopyFormat, PartPlan, TablePlan } from './plan.js';

/** What the copies of one run share. */
export type CopyWays = {
  readonly key: StreamKey;
  /** The later generation that the snapshot is of, when it is not the one that the run began with. */
  readonly generation: number | undefined;
  /** Whether changes since the snapshot will be applied: then a table cannot be missing. */
  readonly follow: boolean;
  /** The target's tables, by qualified name. */
  readonly targets: ReadonlyMap<string, CopyTarget>;
  readonly formatOf: (table: TablePlan) => CopyFormat;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
};

export type CopySessions = {
  /** Inside the snapshot; outside of any savepoint. */
  readonly source: Session;
  /** Outside of any transaction. */
  readonly target: Session;
};

/** Copies a table or a part of it, and commits. After a failure both sessions are unfit for use. */
export async function copyPart(
  table: TablePlan,
  part: PartPlan,
  { source, target }: CopySessions,
  ways: CopyWays,
): Promise<CopyResult> {
  await source.query('savepoint walferry_table');
  if (!(await lockOnSource(table, source, ways))) {
    const nothing = { bytes: 0, rows: 0 };
    await recordDoneTask(target, ways.key, { name: part.task, generation: ways.generation, ...nothing });
    return nothing;
  }
  await target.query('begin');
  const onTarget = ways.targets.get(table.qualified);
  const freeze = isFrozen(table, onTarget);
  const format = ways.formatOf(table);
  // Whether the target was empty is known before the first of several parts: rows of the others may be there now.
  if (part.condition === null) await expectEmptyInside(target, table, onTarget, freeze);
  const result = await joinCopy({
    source,
    copyOut: copyOutStatement(table, part, format),
    target,
    copyIn: copyInStatement(table, format, freeze),
    label: part.label,
    signal: ways.signal,
    onBytes: ways.onBytes,
  });
  await recordDoneTask(target, ways.key, { name: part.task, generation: ways.generation, ...result });
  failpoint('clone.table-copied');
  await target.query('commit');
  failpoint('clone.table-committed');
  // Gives back the lock on the source's table, which would otherwise stay until the last table is copied.
  await source.query('rollback to savepoint walferry_table');
  return result;
}

/**
 * Copies small tables in one transaction and three round trips: all that is asked of the source in one query, all
 * that is asked of the target before its COMMIT in another. Anything out of the ordinary, in any of them, is a
 * failure of all; who then copies them one by one is told which it was. After a failure both sessions are unfit.
 */
export async function copyTogether(
  tables: readonly TablePlan[],
  { source, target }: CopySessions,
  ways: CopyWays,
): Promise<CopyResult[]> {
  const pieces = tables.flatMap((table) => table.parts.map((part) => ({ table, part })));
  const rowsOnTarget = tables.map(
    (table) => `exists (select from ${rowsOf(table, ways.targets.get(table.qualified))})`,
  );
  const results = await exchangeCopies({
    source,
    sourceSql: [
      'savepoint walferry_table',
      `lock table ${tables.map(({ qualified }) => `only ${qualified}`).join(', ')} in access share mode`,
      unchangedQuery(tables),
      ...pieces.map(({ table, part }) => copyOutStatement(table, part, ways.formatOf(table))),
      'rollback to savepoint walferry_table',
    ].join('; '),
    target,
    targetSql: [
      'begin',
      `select ${rowsOnTarget.join(' or ')} as filled`,
      ...pieces.map(({ table }) => copyInStatement(table, ways.formatOf(table), false)),
    ].join('; '),
    label: `${tables[0]?.label} and ${tables.length - 1} others`,
    signal: ways.signal,
    onBytes: ways.onBytes,
    onRow: expectOrdinary,
  });
  const tasks = results.map((result, index) => ({
    name: pieces[index]?.part.task ?? '',
    generation: ways.generation,
    ...result,
  }));
  failpoint('clone.table-copied');
  await target.query(`${doneTasksStatement(ways.key, tasks)}; commit`);
  failpoint('clone.table-committed');
  return results;
}

/** One row, `t` when case 1 holds for all of them. */
function unchangedQuery(tables: readonly TablePlan[]): string {
  const wanted = tables.map(({ table, qualified }) => `(${table.oid}, ${quoteLiteral(qualified)})`);
  return `select pg_catalog.count(*) = ${tables.length} and pg_catalog.bool_and(
      c.relfilenode = pg_catalog.pg_relation_filenode(c.oid) and pg_catalog.to_regclass(w.name)::oid = c.oid)
    from (values ${wanted.join(', ')}) as w (oid, name) join pg_catalog.pg_class c on c.oid = w.oid`;
}

function expectOrdinary(side: Side, [value]: readonly (string | null)[]): void {
  if (value === (side === 'source' ? 't' : 'f')) return;
  throw side === 'source'
    ? new Failure('table-rewritten', 'a table was changed on the source after the snapshot was taken')
    : new Failure('target-not-empty', 'a table on the target holds rows that this run did not copy');
}

const onlyRestart = 'The target was made for the tables of the beginning: start again with --restart.';

const stateQuery = `
  select c.relfilenode as seen, pg_catalog.pg_relation_filenode(c.oid) as now,
    pg_catalog.to_regclass($2)::oid = c.oid as same_name
  from pg_catalog.pg_class c where c.oid = $1::oid`;

/** False when the table was dropped and nothing has to be copied. */
async function lockOnSource(
  { table, qualified, label }: TablePlan,
  source: Session,
  ways: CopyWays,
): Promise<boolean> {
  try {
    await source.query(`lock table only ${qualified} in access share mode`, [], `could not lock ${label}`);
  } catch (error) {
    // 42P01 no such table, 3F000 no such schema: case 2 or 3, told apart below.
    if (!['42P01', '3F000'].includes(sqlState(error) ?? '')) throw error;
    await source.query('rollback to savepoint walferry_table');
  }
  const [state] = await source.query(stateQuery, [String(table.oid), qualified]);
  const now = state?.['now'] ?? null;
  if (now === null) {
    const words = `table ${label} was dropped on the source after the snapshot was taken`;
    if (ways.follow) throw new Failure('table-rewritten', words, { remedy: onlyRestart });
    ways.log.warn(`${words}: the target's stays empty`);
    await source.query('rollback to savepoint walferry_table');
    return false;
  }
  if (state?.['same_name'] !== 't') {
    throw new Failure(
      'table-rewritten',
      `table ${label} was renamed on the source after the snapshot was taken`,
      { remedy: onlyRestart },
    );
  }
  if (state['seen'] !== now) {
    throw new Failure(
      'table-rewritten',
      `table ${label} was truncated or rewritten on the source after the snapshot was taken: the snapshot does not see its rows`,
    );
  }
  return true;
}

/**
 * As `expectEmpty`, in the transaction of the copy. For FREEZE the table is emptied by a TRUNCATE, which changes
 * nothing: nobody else can write between the look and the TRUNCATE, since the lock is held.
 */
async function expectEmptyInside(
  target: Session,
  table: TablePlan,
  onTarget: CopyTarget | undefined,
  freeze: boolean,
): Promise<void> {
  if (freeze) {
    const lock = `lock table only ${table.qualified} in access exclusive mode`;
    await target.query(lock, [], `could not lock ${table.label}`);
  }
  await expectEmpty(target, table, onTarget);
  if (freeze) await target.query(`truncate only ${table.qualified}`);
}

/** Nothing may be in the table that we did not put there. Throws `target-not-empty`. */
export async function expectEmpty(
  target: Session,
  table: TablePlan,
  onTarget: CopyTarget | undefined,
): Promise<void> {
  const [row] = await target.query(`select exists (select from ${rowsOf(table, onTarget)}) as filled`);
  if (row?.['filled'] !== 't') return;
  throw new Failure(
    'target-not-empty',
    `table ${table.label} on the target holds rows that this run did not copy`,
  );
}

/** A table that is partitioned on the target has its rows in the partitions. */
function rowsOf(table: TablePlan, onTarget: CopyTarget | undefined): string {
  return onTarget?.partitioned === true ? table.qualified : `only ${table.qualified}`;
}
