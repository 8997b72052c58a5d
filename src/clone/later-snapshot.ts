/**
 * A copy with a stream that goes on from a later snapshot than the one it began with (DESIGN 7). Its schema stays that
 * of the beginning: so the tables that are left must still be the ones that the target was made for. And a large table
 * that was copied in part is copied again as a whole, since its parts have to be of one moment.
 */
import { Failure } from '../failure.js';
import { readSeenTransactions, seesNarrow } from '../model/seen-transactions.js';
import type { Session } from '../postgres/connect.js';
import { fetchDoneTasks, forgetTheseTasks, type DoneTask } from '../postgres/task-table.js';
import type { CloneOptions } from './options.js';
import type { ClonePlan, TablePlan } from './plan.js';
import { listLabels } from './requirements.js';
import { loadSchemaFile, type SchemaFile } from './schema-file.js';
import { openInSnapshot } from './sessions.js';
import { lendTarget } from './spare-target.js';

/** What the snapshot saw that the copy in this work directory began with; null where it does not tell. */
export async function seenAtTheBeginning(directory: string): Promise<string | null> {
  return (await loadSchemaFile(directory))?.seen ?? null;
}

/** Whether a table that is on the target in parts has them from different snapshots. */
export function isOfSeveralMoments(
  { withRows, parts }: TablePlan,
  done: ReadonlyMap<string, DoneTask>,
): boolean {
  const found = withRows ? parts.flatMap(({ task }) => done.get(task) ?? []) : [];
  return new Set(found.map(({ generation }) => generation)).size > 1;
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
    (table) =>
      table.withRows && (table.parts.some(({ task }) => !done.has(task)) || isOfSeveralMoments(table, done)),
  );
  {
    await using source = await openInSnapshot(options.source, options.snapshot, 'clone', options);
    await expectUnaltered(source, left, seen);
  }
  await using lent = await lendTarget(options);
  for (const table of left) {
    if (table.parts.length > 1 && (await emptyHalfCopied(lent.session, options, table))) {
      options.log.info(
        `${table.label} was copied in part from the snapshot that is gone, and is copied anew as a whole`,
      );
    }
  }
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

/**
 * Takes away the rows of a table in parts, and the record of them. Locked first: a backend of the run before may still
 * be at work on the COMMIT of a part, which is on record then. What is not on record are not this run's rows.
 */
async function emptyHalfCopied(
  target: Session,
  { key }: CloneOptions,
  { qualified, label, parts }: TablePlan,
): Promise<boolean> {
  const names = parts.map(({ task }) => task);
  const [kind] = await target.query(isPartitionedQuery, [qualified]);
  const rows = kind?.['partitioned'] === 'true' ? qualified : `only ${qualified}`;
  await target.query('begin');
  try {
    await target.query(`lock table ${rows} in access exclusive mode`, [], `could not lock ${label}`);
    const done = await fetchDoneTasks(target, key);
    const found = names.some((name) => done.has(name));
    if (found) {
      await target.query(`truncate ${rows}`, [], `could not empty ${label}, which was copied in part`);
      await forgetTheseTasks(target, key, names);
    }
    await target.query('commit');
    return found;
  } catch (error) {
    await target.query('rollback').catch(() => {});
    throw error;
  }
}
