/**
 * A run as one statement (or a COPY and a look behind it). Pure: text and parameters; the text depends only on the plan and on which columns take part,
 * so that it is prepared once.
 *
 * Every statement counts its rows on the server and fails when they are not as many as the source changed, because its
 * COMMIT is already on the way (DESIGN 11.1). It fails by a cast that cannot succeed; see position-row.ts for why.
 *
 * Rows are found by `column = any (array[value])` and not by `column = value`: the planner then has no use for the
 * table in the order of an index. With `=`, and a table that was empty when the plan was made, it reads the whole
 * index once per statement and keeps doing so when the table is large.
 */
import { Failure } from '../failure.js';
import type { Delete, Insert, Update } from '../model/change.js';
import { cellAt, packedCells, packedOf } from '../model/packed-row.js';
import { relationLabel } from '../model/relation.js';
import { unchanged } from '../model/row.js';
import { quoteIdentifier, quoteLiteral, quoteQualified } from '../model/sql.js';
import { copyText } from '../postgres/copy-rows.js';
import type { WireParameter } from '../postgres/wire-protocol.js';
import type { PlannedColumn, RelationPlan, RowMatch } from './relation-plan.js';
import { oldCell, type Run } from './run.js';
import { firesIn, type TableName } from './target-table.js';

export type Statement = {
  readonly sql: string;
  readonly parameters: readonly WireParameter[];
  /** No key leads to the row: the server may have to read the whole table. */
  readonly scan: boolean;
  /** Where `sql` is a COPY FROM STDIN. */
  readonly copy?: Copy;
};

export type Copy = {
  readonly data: Iterable<Buffer>;
  /** To be executed behind it: fails when rows may have been left out or altered on their way. */
  readonly check: string;
  /** Once in a transaction is enough: the lock that the COPY has taken keeps every table as it is. */
  readonly once: boolean;
};

/**
 * From how many rows on an insert is a COPY. Below, the statement that has to follow a COPY costs more than it saves.
 */
export const copyFromRows = 50;

/** What the error of a COPY begins with that a trigger had a hand in. */
export const triggerWords = 'walferry triggers';

/** What the error of a failed count begins with; the number of rows follows. */
export const countWords = 'walferry rows';

/** The statement of one run. */
export function runStatement(run: Run): Statement {
  switch (run.kind) {
    case 'insert':
      return insertStatement(run.plan, run.changes);
    case 'update':
      return updateStatement(run.plan, run.changes, run.sent.left);
    case 'delete':
      return deleteStatement(run.plan, run.changes);
    case 'truncate':
      break;
  }
  return truncateStatement(run.plans, run.change.restartIdentity === true);
}

function insertStatement(plan: RelationPlan, changes: readonly Insert[]): Statement {
  const { columns } = plan;
  if (columns.length === 0) {
    const sql = counted(
      `insert into ${nameOf(plan)} select from generate_series(1, $1::pg_catalog.int4) returning 1`,
      '$1::pg_catalog.int4',
    );
    return { sql, parameters: [String(changes.length)], scan: false };
  }
  if (plan.copyable && changes.length >= copyFromRows) return copyStatement(plan, changes);
  const sql = textOf(plan, 'insert', () => {
    const names = columns.map(({ target }) => quoteIdentifier(target.name)).join(', ');
    const values = columns.map((column, n) => cast(`d.c${n}`, column)).join(', ');
    return counted(
      `insert into ${nameOf(plan)} (${names}) overriding system value ` +
        `select ${values} from ${arrays(columns.length)} returning 1`,
      'cardinality($1)',
    );
  });
  return { sql, parameters: newCells(plan, changes, columns), scan: false };
}

/** New values of changes, an array for each column. */
function newCells(
  plan: RelationPlan,
  changes: readonly (Insert | Update)[],
  columns: readonly PlannedColumn[],
): WireParameter[] {
  const cells = packedCells(changes);
  if (cells !== null) return columns.map(({ at }) => ({ cells, at }));
  return columns.map(({ at }) => changes.map(({ row }) => newCell(plan, row[at])));
}

/** What rows are found by, an array for each column. */
function oldCells(
  plan: RelationPlan,
  changes: readonly (Update | Delete)[],
  columns: readonly PlannedColumn[],
): WireParameter[] {
  return columns.map(({ at }) => changes.map((change) => oldCell(plan, change, at)));
}

/**
 * By COPY, which reads every cell with the type's input function and takes identity columns as given. Its rows cannot
 * be counted on the server inside of the statement. Only a trigger could change their number, so afterwards, under the
 * lock that the COPY has taken, it is made sure that there is none; one that comes later finds the rows there.
 */
function copyStatement(plan: RelationPlan, changes: readonly Insert[]): Statement {
  const { columns } = plan;
  const sql = textOf(plan, 'copy', () => {
    const names = columns.map(({ target }) => quoteIdentifier(target.name)).join(', ');
    return `copy ${nameOf(plan)} (${names}) from stdin`;
  });
  const check = textOf(plan, 'copied', () => {
    const table = `${quoteLiteral(nameOf(plan))}::pg_catalog.regclass`;
    const ofTable = plan.partitioned
      ? `g.tgrelid in (select t.relid from pg_catalog.pg_partition_tree(${table}) t)`
      : `g.tgrelid = ${table}`;
    return (
      `select case when count(*) = 0 then 1 else concat('${triggerWords} ', count(*))::pg_catalog.int4 end ` +
      // Bits of tgtype: for each row, before, on insert.
      `from pg_catalog.pg_trigger g where ${ofTable} and g.tgtype & 7 = 7 and ${firesIn('g.tgenabled')}`
    );
  });
  // A packed row is what COPY reads, where it has the columns of the statement.
  const isWhole = columns.length === plan.relation.columns.length;
  const data = copyText({
    count: changes.length,
    columns: columns.length,
    cellOf: (row, column) => newCell(plan, changes[row]?.row[(columns[column] as PlannedColumn).at]),
    packedOf: (row) => (isWhole ? packedOf(changes[row] as Insert) : undefined),
  });
  // Of a partitioned table only the partitions that rows went to are locked.
  return { sql, parameters: [], scan: false, copy: { data, check, once: !plan.partitioned } };
}

/** The columns that an update sets, and those that it only compares. */
type Assignments = { readonly set: readonly PlannedColumn[]; readonly same: readonly PlannedColumn[] };

/**
 * Per column:
 * 1. An unchanged TOAST value is left out.
 * 2. A column that rows are found by is set only where it changes: a run that changes a key is one update.
 * 3. GENERATED ALWAYS AS IDENTITY refuses to be set even to the same value (DESIGN 11.17): it is compared instead, so
 *    that an update that does change it finds no row and is reported, not lost. Where it is known to change it is set,
 *    and the server says why it cannot be.
 * 4. Every other column is set.
 */
function assignmentsOf(plan: RelationPlan, changes: readonly Update[]): Assignments {
  const [first] = changes;
  const { match } = plan;
  const set: PlannedColumn[] = [];
  const same: PlannedColumn[] = [];
  for (const column of plan.columns) {
    const { at, target } = column;
    if (first === undefined || cellAt(first, at) === unchanged) continue;
    const matched = match.kind !== 'none' && match.columns.some((other) => other.at === at);
    if (matched && (match.kind !== 'row' || target.identityAlways)) {
      if (cellAt(first, at) !== oldCell(plan, first, at)) set.push(column);
    } else if (target.identityAlways) {
      same.push(column);
    } else {
      set.push(column);
    }
  }
  return { set, same };
}

function updateStatement(plan: RelationPlan, changes: readonly Update[], left: string): Statement {
  const { match } = plan;
  const { set, same } = assignmentsOf(plan, changes);
  const names = set.map(({ at }) => at).join(',');
  if (match.kind !== 'key') return updateOne(plan, changes, set, same);
  const sent = [...set, ...same];
  const sql = textOf(plan, `update ${left}/${names}`, () => {
    const offset = match.columns.length;
    const value = (column: PlannedColumn) => cast(`d.c${offset + sent.indexOf(column)}`, column);
    const from = arrays(offset + sent.length);
    const where = [
      ...keyConditions(match),
      ...same.map((column) => `t.${quoteIdentifier(column.target.name)} = ${value(column)}`),
    ].join(' and ');
    return counted(updateText(plan, set, value, from, where), 'cardinality($1)');
  });
  // A packed row brings its identity, which did not change: one look for where its cells are serves for all.
  const parameters = changes.every((change) => packedOf(change) !== undefined)
    ? newCells(plan, changes, [...match.columns, ...sent])
    : [...oldCells(plan, changes, match.columns), ...newCells(plan, changes, sent)];
  return { sql, parameters, scan: false };
}

/** `update … set … from … where … returning 1`; where nothing is to be set, a look whether the row is there. */
function updateText(
  plan: RelationPlan,
  set: readonly PlannedColumn[],
  value: (column: PlannedColumn) => string,
  from: string | null,
  where: string,
): string {
  const table = `${tableOf(plan)} as t`;
  if (set.length === 0) return `select 1 from ${table}${from === null ? '' : `, ${from}`} where ${where}`;
  const assignments = set.map((column) => `${quoteIdentifier(column.target.name)} = ${value(column)}`);
  const source = from === null ? '' : ` from ${from}`;
  return `update ${table} set ${assignments.join(', ')}${source} where ${where} returning 1`;
}

function deleteStatement(plan: RelationPlan, changes: readonly Delete[]): Statement {
  const { match } = plan;
  if (match.kind !== 'key') return deleteOne(plan, changes);
  const sql = textOf(plan, 'delete', () =>
    counted(
      `delete from ${tableOf(plan)} as t using ${arrays(match.columns.length)} ` +
        `where ${keyConditions(match).join(' and ')} returning 1`,
      'cardinality($1)',
    ),
  );
  return { sql, parameters: oldCells(plan, changes, match.columns), scan: false };
}

function updateOne(
  plan: RelationPlan,
  changes: readonly Update[],
  set: readonly PlannedColumn[],
  same: readonly PlannedColumn[],
): Statement {
  const [change] = changes;
  if (change === undefined || changes.length > 1) throw new Error('not one update');
  const old = findOne(plan, change);
  const sent = [...set, ...same];
  const value = (column: PlannedColumn) =>
    cast(`$${old.parameters.length + 1 + sent.indexOf(column)}`, column);
  const sql = textOf(plan, `update ${old.label}/${set.map(({ at }) => at).join(',')}`, () => {
    const where = [
      old.where(),
      ...same.map((column) => `t.${quoteIdentifier(column.target.name)} = ${value(column)}`),
    ].join(' and ');
    return counted(updateText(plan, set, value, null, where), '1');
  });
  const parameters = [...old.parameters, ...sent.map(({ at }) => newCell(plan, change.row[at]))];
  return { sql, parameters, scan: true };
}

function deleteOne(plan: RelationPlan, changes: readonly Delete[]): Statement {
  const [change] = changes;
  if (change === undefined || changes.length > 1) throw new Error('not one delete');
  const old = findOne(plan, change);
  const sql = textOf(plan, `delete ${old.label}`, () =>
    counted(`delete from ${tableOf(plan)} as t where ${old.where()} returning 1`, '1'),
  );
  return { sql, parameters: old.parameters, scan: true };
}

/** How one row is found by its values; $1 and on are the old values. */
type OneRow = {
  /** Tells apart the texts that `where` gives. */
  readonly label: string;
  readonly parameters: readonly (string | null)[];
  readonly where: () => string;
};

/**
 * By all values of the identity. `*=` compares what is stored, so it serves every type, also those without an equality,
 * takes null as equal to null, and tells 1.0 from 1.00. Values come out of a sub-select to be read once, not per row.
 *
 * Among equal rows any one is right, but only one: `limit 1`. Should no stored value match (two ways to store what
 * prints the same), rows that print the same are taken; the second branch runs only when the first finds nothing.
 */
function findOne(plan: RelationPlan, change: Update | Delete): OneRow {
  const { match } = plan;
  if (match.kind === 'none' || match.kind === 'key') {
    throw new Failure(
      'message-unreadable',
      `an update or delete of ${relationLabel(plan.relation)} came without a replica identity`,
    );
  }
  const parameters = match.columns.map(({ at }) => oldCell(plan, change, at));
  const usable = match.hints.filter(({ column }) => oldCell(plan, change, column.at) !== null);
  const label = usable.map(({ column }) => column.at).join(',');
  const where = () => {
    const conditions = (alias: string) => [
      ...usable.map(({ column, equals }) => {
        const place = match.columns.indexOf(column) + 1;
        return `${alias}.${quoteIdentifier(column.target.name)} ${equals} (select ${cast(`$${place}`, column)})`;
      }),
    ];
    if (match.columns.length === 0) return match.kind === 'value' ? 'true' : address(plan, '');
    if (match.kind === 'value') return [...conditions('t'), sameImage(match, 't', '')].join(' and ');
    const exact = [...conditions('f'), sameImage(match, 'f', '')].join(' and ');
    return address(plan, ` where ${exact}`, ` where ${sameImage(match, 'f', '::pg_catalog.text')}`);
  };
  return { label, parameters, where };
}

function sameImage(
  match: Extract<RowMatch, { kind: 'value' | 'row' }>,
  alias: string,
  as: '' | '::pg_catalog.text',
): string {
  const wanted = match.columns.map((column, n) => `${cast(`$${n + 1}`, column)}${as}`).join(', ');
  const stored = match.columns
    .map(({ target }) => `${alias}.${quoteIdentifier(target.name)}${as}`)
    .join(', ');
  return `(select row(${wanted})) *= row(${stored})`;
}

/** The row's place as a condition on `t`: of the first row that any of the conditions finds. */
function address(plan: RelationPlan, ...wheres: readonly string[]): string {
  const place = (alias: string) => (plan.partitioned ? `${alias}.tableoid, ${alias}.ctid` : `${alias}.ctid`);
  const branches = wheres.map((where) => `(select ${place('f')} from ${tableOf(plan)} as f${where} limit 1)`);
  const found = `(select ${place('x')} from (${branches.join(' union all ')}) as x limit 1)`;
  return plan.partitioned ? `(${place('t')}) = ${found}` : `${place('t')} = ${found}`;
}

/**
 * One statement for all tables of the message, so that foreign keys among them do not object; never with CASCADE. The
 * message names no partitioned table, but one with a foreign key objects as any other: it is named too where all of its
 * leaves are emptied, so that nothing else is.
 */
function truncateStatement(plans: readonly RelationPlan[], restartIdentity: boolean): Statement {
  const named = new Set(plans.map(nameOf));
  const qualified = ({ schema, name }: TableName) => quoteQualified(schema, name);
  const roots = plans
    .flatMap(({ tied }) => tied)
    .filter(({ leaves }) => leaves.every((leaf) => named.has(qualified(leaf))))
    .map(qualified)
    .filter((root) => !named.has(root));
  const tables = [...plans.map(tableOf), ...new Set(roots)].join(', ');
  return {
    sql: `truncate ${tables}${restartIdentity ? ' restart identity' : ''}`,
    parameters: [],
    scan: false,
  };
}

/**
 * Texts kept of one table. Most need a handful; but an update leaves out the large values that it did not change, and of
 * many such columns there are more combinations than memory has room for.
 */
const keptTexts = 256;

/** Keeps the text of a statement in the plan. */
function textOf(plan: RelationPlan, label: string, make: () => string): string {
  let sql = plan.statements.get(label);
  if (sql === undefined) {
    sql = make();
    if (plan.statements.size >= keptTexts) plan.statements.clear();
    plan.statements.set(label, sql);
  }
  return sql;
}

/** Wraps a statement that returns one row per row it touched: fails unless there are as many as expected. */
function counted(statement: string, expected: string): string {
  return (
    `with m as (${statement}) select case when count(*) = ${expected} then 1 ` +
    `else concat('${countWords} ', count(*))::pg_catalog.int4 end from m`
  );
}

/** The arrays $1 to $n as rows of d (c0 …). */
function arrays(count: number): string {
  const numbers = Array.from({ length: count }, (_, n) => n);
  return `unnest(${numbers.map((n) => `$${n + 1}`).join(', ')}) as d (${numbers.map((n) => `c${n}`).join(', ')})`;
}

function keyConditions(match: Extract<RowMatch, { kind: 'key' }>): string[] {
  return match.columns.map((column, n) => {
    const name = `t.${quoteIdentifier(column.target.name)}`;
    const value = cast(`d.c${n}`, column);
    const equals = match.equals[n] ?? '=';
    return column.target.array ? `${name} ${equals} ${value}` : `${name} ${equals} any (array[${value}])`;
  });
}

function cast(value: string, { target }: PlannedColumn): string {
  return `${value}${target.via ?? ''}::${target.type}`;
}

function nameOf({ relation }: RelationPlan): string {
  return quoteQualified(relation.schema, relation.name);
}

/** With ONLY: tables that inherit are relations of their own in the stream. The leaves of a partitioned table are not. */
function tableOf(plan: RelationPlan): string {
  return plan.partitioned ? nameOf(plan) : `only ${nameOf(plan)}`;
}

function newCell(plan: RelationPlan, cell: Insert['row'][number] | undefined): string | null {
  if (typeof cell === 'string' || cell === null) return cell;
  throw new Failure(
    'message-unreadable',
    `a change of ${relationLabel(plan.relation)} came without a value it needs`,
  );
}
