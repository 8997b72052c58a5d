/**
 * One table's rows, from the snapshot into the target, with the row of the task table in the same transaction.
 *
 * What can have happened to the table on the source since the snapshot (DESIGN 11.5), seen once the lock is held:
 * 1. nothing: it is copied;
 * 2. dropped: there is nothing to read; skipped, or an error where changes will follow;
 * 3. renamed, or another table has its name now: an error;
 * 4. truncated or rewritten: the snapshot would see no rows; an error.
 */
import { Failure } from '../failure.js';
import { failpoint } from '../failpoint.js';
import type { Log } from '../log.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from '../postgres/connect.js';
import { joinCopy } from '../postgres/copy.js';
import { sqlState } from '../postgres/sqlstate.js';
import { recordDoneTask } from '../postgres/task-table.js';
import { copyInStatement, copyOutStatement, isFrozen } from './plan.js';
import type { TablePlan } from './plan.js';

export type TableCopy = {
  readonly plan: TablePlan;
  readonly key: StreamKey;
  /** Inside the snapshot; outside of any savepoint. */
  readonly source: Session;
  /** Outside of any transaction. */
  readonly target: Session;
  /** Whether changes since the snapshot will be applied: then a table cannot be missing. */
  readonly follow: boolean;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
};

export type CopiedTable = { readonly bytes: number; readonly rows: number };

/** Copies the table and commits. After a failure both sessions are unfit for use. */
export async function copyTable(copy: TableCopy): Promise<CopiedTable> {
  const { plan, source, target } = copy;
  await source.query('savepoint walferry_table');
  if (!(await lockOnSource(copy))) {
    const nothing = { bytes: 0, rows: 0 };
    await recordDoneTask(target, copy.key, { name: plan.task, ...nothing });
    return nothing;
  }
  await target.query('begin');
  const freeze = isFrozen(plan.table);
  await expectEmpty(target, plan, freeze);
  const result = await joinCopy({
    source,
    copyOut: copyOutStatement(plan),
    target,
    copyIn: copyInStatement(plan, freeze),
    label: plan.label,
    signal: copy.signal,
    onBytes: copy.onBytes,
  });
  await recordDoneTask(target, copy.key, { name: plan.task, ...result });
  failpoint('clone.table-copied');
  await target.query('commit');
  failpoint('clone.table-committed');
  // Gives back the lock on the source's table, which would otherwise stay until the last table is copied.
  await source.query('rollback to savepoint walferry_table');
  return result;
}

const stateQuery = `
  select c.relfilenode as seen, pg_catalog.pg_relation_filenode(c.oid) as now,
    pg_catalog.to_regclass($2)::oid = c.oid as same_name
  from pg_catalog.pg_class c where c.oid = $1::oid`;

/** False when the table was dropped and nothing has to be copied. */
async function lockOnSource(copy: TableCopy): Promise<boolean> {
  const { plan, source } = copy;
  try {
    await source.query(
      `lock table only ${plan.qualified} in access share mode`,
      [],
      `could not lock ${plan.label}`,
    );
  } catch (error) {
    // 42P01 no such table, 3F000 no such schema: case 2 or 3, told apart below.
    if (!['42P01', '3F000'].includes(sqlState(error) ?? '')) throw error;
    await source.query('rollback to savepoint walferry_table');
  }
  const [state] = await source.query(stateQuery, [String(plan.table.oid), plan.qualified]);
  const now = state?.['now'] ?? null;
  if (now === null) {
    const words = `table ${plan.label} was dropped on the source after the snapshot was taken`;
    if (copy.follow) throw new Failure('table-rewritten', words);
    copy.log.warn(`${words}: the target's stays empty`);
    await source.query('rollback to savepoint walferry_table');
    return false;
  }
  if (state?.['same_name'] !== 't') {
    throw new Failure(
      'table-rewritten',
      `table ${plan.label} was renamed on the source after the snapshot was taken`,
    );
  }
  if (state['seen'] !== now) {
    throw new Failure(
      'table-rewritten',
      `table ${plan.label} was truncated or rewritten on the source after the snapshot was taken: the snapshot does not see its rows`,
    );
  }
  return true;
}

/**
 * Nothing may be in the table that we did not put there. For FREEZE it is emptied by a TRUNCATE, which changes
 * nothing: nobody else can write between the look and the TRUNCATE, since the lock is held.
 */
async function expectEmpty(target: Session, plan: TablePlan, freeze: boolean): Promise<void> {
  if (freeze) {
    await target.query(
      `lock table only ${plan.qualified} in access exclusive mode`,
      [],
      `could not lock ${plan.label}`,
    );
  }
  const [row] = await target.query(`select exists (select from only ${plan.qualified}) as filled`);
  if (row?.['filled'] === 't') {
    throw new Failure(
      'target-not-empty',
      `table ${plan.label} on the target holds rows that this run did not copy`,
    );
  }
  if (freeze) await target.query(`truncate only ${plan.qualified}`);
}
