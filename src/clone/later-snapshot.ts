/**
 * A copy with a stream that goes on from a later snapshot than the one it began with (DESIGN 7). Its schema stays that
 * of the beginning: so the tables that are left must still be the ones that the target was made for. And a large table
 * that was copied in part is copied again as a whole, since its parts have to be of one moment.
 */
import { Failure } from '../failure.js';
import { readSeenTransactions, seesNarrow } from '../model/seen-transactions.js';
import type { Session } from '../postgres/connect.js';
import { sqlState } from '../postgres/sqlstate.js';
import { forgetTheseTasks, type DoneTask } from '../postgres/task-table.js';
import type { CloneOptions } from './options.js';
import type { ClonePlan, TablePlan } from './plan.js';
import { listLabels } from './requirements.js';
import { loadSchemaFile, type SchemaFile } from './schema-file.js';
import { openInSnapshot } from './sessions.js';
import { lendTarget } from './spare-target.js';

/** Whether the copy in this work directory knows of its beginning what a later snapshot must be compared with. */
export async function canGoOnLater(directory: string): Promise<boolean> {
  return (await loadSchemaFile(directory))?.seen !== undefined;
}

/**
 * Before the first table is copied from the later snapshot. Throws `snapshot-lost` when the directory does not tell
 * what the first one saw, `table-rewritten` when a table that is left was altered since.
 */
export async function goOnLater(
  options: CloneOptions,
  { seen }: SchemaFile,
  plan: ClonePlan,
  done: ReadonlyMap<string, DoneTask>,
): Promise<void> {
  if (seen === undefined) {
    throw new Failure(
      'snapshot-lost',
      `${options.directory} does not tell what the snapshot of its beginning saw`,
    );
  }
  const left = plan.tables.filter(
    ({ withRows, parts }) => withRows && parts.some(({ task }) => !done.has(task)),
  );
  {
    await using source = await openInSnapshot(options.source, options.snapshot, 'clone', options);
    await expectUnaltered(source, left, seen);
  }
  const halves = left.filter(({ parts }) => parts.some(({ task }) => done.has(task)));
  if (halves.length === 0) return;
  options.log.info(
    `copied in part from the snapshot that is gone, and copied anew as a whole: ${listLabels(halves.map(({ label }) => label))}`,
  );
  await using lent = await lendTarget(options);
  for (const table of halves) await emptyHalfCopied(lent.session, options, table);
}

/**
 * Columns that were written since `$2`, the oldest transaction that the first snapshot did not see. What is older than
 * the xids that a server can tell apart is frozen; its xmin may then say anything and is not between the two.
 */
const columnsSinceQuery = `
  select a.attrelid::text as oid, a.attname as name, a.xmin::text as writer
  from pg_catalog.pg_attribute a
  where a.attrelid = any ($1::oid[]) and a.attnum > 0
    and pg_catalog.age(a.xmin) between 0 and pg_catalog.age($2::xid)`;

async function expectUnaltered(
  source: Session,
  tables: readonly TablePlan[],
  seenText: string,
): Promise<void> {
  const seen = readSeenTransactions(seenText);
  const oids = `{${tables.map(({ table }) => table.oid).join(',')}}`;
  const rows = await source.query(columnsSinceQuery, [oids, String(BigInt.asUintN(32, seen.xmin))]);
  const altered = new Set(
    rows.filter((row) => !seesNarrow(seen, BigInt(row['writer'] ?? '0'))).map((row) => Number(row['oid'])),
  );
  if (altered.size === 0) return;
  const labels = tables.filter(({ table }) => altered.has(table.oid)).map(({ label }) => label);
  throw new Failure(
    'table-rewritten',
    `columns of tables that are not copied yet were altered on the source after the copy began: ${listLabels(labels)}`,
    { remedy: 'The target was made for the columns of the beginning: start again with --restart.' },
  );
}

const isPartitionedQuery = `
  select (relkind = 'p')::text as partitioned from pg_catalog.pg_class where oid = pg_catalog.to_regclass($1)`;

/** Rows and the record of them go together; only rows that the task table says are this run's are there. */
async function emptyHalfCopied(
  target: Session,
  { key }: CloneOptions,
  { qualified, label, parts }: TablePlan,
): Promise<void> {
  const [kind] = await target.query(isPartitionedQuery, [qualified]);
  const rows = kind?.['partitioned'] === 'true' ? qualified : `only ${qualified}`;
  const empty = async (statement: string) => {
    await target.query('begin');
    try {
      await target.query(statement, [], `could not empty ${label}`);
      await forgetTheseTasks(
        target,
        key,
        parts.map(({ task }) => task),
      );
      await target.query('commit');
    } catch (error) {
      await target.query('rollback').catch(() => {});
      throw error;
    }
  };
  try {
    await empty(`truncate ${rows}`);
  } catch (error) {
    // 0A000: another table's foreign key points here. 42501: only rows may be deleted.
    if (!['0A000', '42501'].includes(sqlState(error) ?? '')) throw error;
    await empty(`delete from ${rows}`);
  }
}
