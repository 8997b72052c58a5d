/**
 * A target whose tables somebody else has made, before rows are copied into them: what is missing, what would fire.
 */
import { Failure } from '../failure.js';
import { relationLabel } from '../model/relation.js';
import { quoteQualified } from '../model/sql.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { Session } from '../postgres/connect.js';
import { cutOnAbort } from '../postgres/cut-session.js';
import { sqlState } from '../postgres/sqlstate.js';
import type { TargetWork } from './options.js';
import type { TablePlan } from './plan.js';
import { openTarget } from './sessions.js';

// A foreign key fires on both of its tables; one that another table has on ours only when ours lose rows.
const tablesQuery = `
  select t.name, c.oid is not null as there,
    exists (select from pg_catalog.pg_constraint k where k.conrelid = c.oid and k.contype = 'f') as foreign_key,
    exists (select from pg_catalog.pg_trigger g
      where g.tgrelid = c.oid and not g.tgisinternal and g.tgenabled = 'O') as fires,
    exists (select from pg_catalog.pg_trigger g
      where g.tgrelid = c.oid and not g.tgisinternal and g.tgenabled in ('A', 'R')) as always_fires
  from pg_catalog.json_array_elements_text($1::json) as t(name)
  left join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(t.name)`;

/**
 * How to reach the target for copying: where foreign keys and triggers are there already, with
 * session_replication_role = replica, so that they let rows in in any order and change nothing.
 * Throws `target-setup` when a table is missing, and when something fires that our role cannot keep quiet.
 */
export async function fetchRowTarget(
  work: Pick<TargetWork, 'target' | 'log' | 'signal'>,
  tables: readonly Pick<TablePlan, 'qualified'>[],
): Promise<Conninfo> {
  await using target = await openTarget(work.target, 'step', work);
  using _cut = cutOnAbort(target, work.signal);
  const names = JSON.stringify(tables.map(({ qualified }) => qualified));
  const rows = await target.query(tablesQuery, [names]);
  const those = (column: string, value: 't' | 'f') =>
    rows.filter((row) => row[column] === value).map((row) => row['name'] ?? '');
  const missing = those('there', 'f');
  if (missing.length > 0) {
    throw new Failure('target-setup', `the target has no table ${someOf(missing)}`, {
      remedy: 'Make the schema first, with `walferry copy schema` or `walferry restore pre-data`.',
    });
  }
  const always = those('always_fires', 't');
  if (always.length > 0) {
    throw new Failure(
      'target-setup',
      `the target has triggers that fire always or for replicas, on ${someOf(always)}`,
      { remedy: 'Disable them until the rows are copied.' },
    );
  }
  const firing = [...new Set([...those('foreign_key', 't'), ...those('fires', 't')])];
  if (firing.length === 0) return work.target;
  if (!(await mayBeReplica(target))) {
    throw new Failure(
      'target-setup',
      `the target has foreign keys and triggers already, on ${someOf(firing)}, and our role may not set session_replication_role`,
      {
        remedy:
          'Copy the rows before these are made: `walferry restore pre-data`, `walferry copy table-data`, `walferry restore post-data`.',
      },
    );
  }
  const { options } = work.target;
  const replica = '-c session_replication_role=replica';
  work.log.info('foreign keys and triggers are on the target already: they are not fired by the copy');
  return { ...work.target, options: options === null ? replica : `${options} ${replica}` };
}

async function mayBeReplica(target: Session): Promise<boolean> {
  try {
    await target.query('set session_replication_role to replica');
    await target.query('reset session_replication_role');
    return true;
  } catch (error) {
    if (sqlState(error) !== '42501') throw error;
    return false;
  }
}

// As many tables are looked into by one statement.
const lookAtOnce = 500;

const partitionedQuery = `
  select t.name
  from pg_catalog.json_array_elements_text($1::json) as t(name)
  join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(t.name)
  where c.relkind = 'p'`;

/**
 * Empties those that hold rows, in one statement with all tables whose foreign keys point at them: TRUNCATE asks for
 * that even where these are empty. Throws `target-not-empty` where one of them is not among ours, and holds rows.
 */
export async function emptyTables(target: Session, tables: readonly TablePlan[]): Promise<void> {
  const names = tables.map(({ qualified }) => qualified);
  const rows = await target.query(partitionedQuery, [JSON.stringify(names)]);
  const partitioned = new Set(rows.map((row) => row['name']));
  const filled: string[] = [];
  for (let from = 0; from < names.length; from += lookAtOnce) {
    const some = names.slice(from, from + lookAtOnce);
    const selects = some.map(
      (name, position) =>
        `select ${position} as position where exists (select from ${alone(name, partitioned.has(name))})`,
    );
    for (const row of await target.query(selects.join(' union all '))) {
      filled.push(some[Number(row['position'])] ?? '');
    }
  }
  if (filled.length === 0) return;
  const emptied = (await target.query(emptiedQuery, [JSON.stringify(names), JSON.stringify(filled)])).map(
    (row) => ({
      relation: alone(quoteQualified(row['schema'] ?? '', row['name'] ?? ''), row['kind'] === 'p'),
      label: relationLabel({ schema: row['schema'] ?? '', name: row['name'] ?? '' }),
      // A partitioned one holds nothing but what its partitions do, which are in the list.
      isOthers: row['own'] !== 't' && row['kind'] !== 'p',
    }),
  );
  await target.query('begin');
  try {
    await expectEmptyOthers(
      target,
      emptied.filter(({ isOthers }) => isOthers),
    );
    const list = emptied.map(({ relation }) => relation).join(', ');
    await target.query(`truncate ${list}`, [], 'could not empty the tables');
    await target.query('commit');
  } catch (error) {
    await target.query('rollback').catch(() => {});
    throw error;
  }
}

/** A plain table on the source may be partitioned here: its rows are then in the partitions, and ONLY is refused. */
function alone(name: string, partitioned: boolean): string {
  return partitioned ? name : `only ${name}`;
}

// Foreign keys on and to a partitioned table are in the catalog for each of its partitions too.
const emptiedQuery = `
  with recursive own as (
    select w.name, c.oid from pg_catalog.json_array_elements_text($1::json) as w(name)
    join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(w.name)
    union
    select w.name, p.relid::pg_catalog.oid from pg_catalog.json_array_elements_text($1::json) as w(name),
      lateral pg_catalog.pg_partition_tree(pg_catalog.to_regclass(w.name)) p
  ), emptied as (
    select o.oid from own o join pg_catalog.json_array_elements_text($2::json) as f(name) on f.name = o.name
    union
    select k.conrelid from emptied e
    join pg_catalog.pg_constraint k on k.confrelid = e.oid and k.contype = 'f'
  )
  select n.nspname as schema, c.relname as name, c.relkind as kind, c.oid in (select o.oid from own o) as own
  from emptied e
  join pg_catalog.pg_class c on c.oid = e.oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace`;

/** Inside of the transaction that empties them. */
async function expectEmptyOthers(
  target: Session,
  others: readonly { readonly relation: string; readonly label: string }[],
): Promise<void> {
  const filled: string[] = [];
  for (const { relation, label } of others) {
    await target.query(`lock table ${relation} in access exclusive mode`, [], `could not lock ${label}`);
    const [row] = await target.query(`select exists (select from ${relation}) as filled`);
    if (row?.['filled'] === 't') filled.push(label);
  }
  if (filled.length === 0) return;
  throw new Failure(
    'target-not-empty',
    `the tables cannot be emptied: on the target foreign keys point at them from tables that hold rows and are not copied: ${someOf(filled)}`,
    { remedy: 'Empty these tables, or drop their foreign keys, and run the same command again.' },
  );
}

const labelsShown = 10;

function someOf(names: readonly string[]): string {
  const shown = names.slice(0, labelsShown).join(', ');
  return names.length <= labelsShown ? shown : `${shown} and ${names.length - labelsShown} more`;
}
