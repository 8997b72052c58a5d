/**
 * What comes out of comparing the data of two databases, and every decision on the way to it. Pure.
 */
import { Failure } from '../failure.js';
import type { PartOf, PublishedPart } from '../model/published-part.js';
import { relationLabel } from '../model/relation.js';

/** A table's name, as the catalog has it. */
export type TableName = { readonly schema: string; readonly name: string };

/** A table as one side lists it. */
export type ListedTable = TableName & {
  readonly oid: string;
  /** A partitioned table holds no rows itself; its leaves are listed as well. */
  readonly partitioned: boolean;
  /** OIDs of the tables whose rows are this one's as well: it is a partition of them or inherits from them. */
  readonly above: readonly string[];
  readonly columns: readonly ListedColumn[];
  /** Another one once the table has had another name, or has joined or left a publication. */
  readonly history: string;
  /** Blocks of the heap, and bytes with TOAST, when it was last vacuumed or analysed. */
  readonly pages: number;
  readonly bytes: number;
  /** 0 where it was never analysed. */
  readonly estimatedRows: number;
  readonly heap: boolean;
  /** The file that holds it: another one after a rewrite. */
  readonly file: string;
  /** Its changes are in no stream. */
  readonly unlogged: boolean;
  /** Columns of a unique index that knows no nulls: what names a row. Null where there is none. */
  readonly key: readonly string[] | null;
  /** Columns that an index begins with, and whose order is the same on every server. */
  readonly orders: readonly {
    readonly column: string;
    readonly nullable: boolean;
    /** How much the rows lie in this order, from -1 to 1; null where it was never analysed. */
    readonly correlation: number | null;
  }[];
};

export type ListedColumn = {
  readonly name: string;
  /** Of the attribute: a column that is dropped and made again gets another one. */
  readonly number: number;
  readonly generated: boolean;
  /** As format_type prints it. */
  readonly type: string;
  /** A hash over what the types of users consist of; null for a type of Postgres itself. */
  readonly inside: string | null;
  /** Values are compared by an operator of pg_catalog. */
  readonly comparable: boolean;
};

/**
 * A table of the source and what is to be done about it:
 *   read        both sides have it with the same columns; `tree` says that a side holds its rows in partitions
 *   missing     the target has no table of this name
 *   columns     the target's table has other columns
 */
export type PlannedTable =
  | (TableName & {
      readonly kind: 'read';
      readonly columns: readonly string[];
      /** Of the source: which rows the target is to hold; null: all. */
      readonly rowFilter: string | null;
      readonly sourceTree: boolean;
      readonly targetTree: boolean;
      readonly source: ListedTable;
      readonly target: ListedTable;
    })
  | (TableName & { readonly kind: 'missing' })
  | (TableName & {
      readonly kind: 'columns';
      readonly missing: readonly string[];
      readonly extra: readonly string[];
    });

export type ComparisonPlan = {
  /** In the order of their names. */
  readonly tables: readonly PlannedTable[];
  /** Tables that only the target has. */
  readonly onlyOnTarget: readonly TableName[];
  /** Of these, partitions and heirs of a table that both have: what they hold is in it too, and not on the source. */
  readonly extraChildren: readonly TableName[];
};

/** What one side holds of a table: both are computed by its server. */
export type TableContents = {
  readonly rows: bigint;
  /** Equal for equal rows in any order: 64 hexadecimal digits; empty where only rows were counted. */
  readonly checksum: string;
};

export type TableComparison = TableName & {
  /** Null where the table was not read, because names or columns differ already. */
  readonly source: TableContents | null;
  readonly target: TableContents | null;
  readonly difference: TableDifference | null;
  /** Which rows differ, where they were asked for and something differs. */
  readonly rows?: RowDifferences;
  /**
   * Compared while the target follows: the sides were read at different moments, so that their contents may differ
   * without a difference. `changing` rows were being written, and are not known to be equal.
   */
  readonly moving?: { readonly changing: number };
};

/** The rows of a table that differ. */
export type RowDifferences = {
  /** The columns that rows are named by; null where the table has no key, and its rows are only counted. */
  readonly key: readonly string[] | null;
  /** On the source only. */
  readonly missing: number;
  /** On the target only. */
  readonly extra: number;
  /** On both sides under the same key, with other values; 0 without a key. */
  readonly different: number;
  /** False where there are more, which were not looked at: then the numbers are at least. */
  readonly complete: boolean;
  /** Some of them, by their key; empty without a key. */
  readonly shown: readonly RowDifference[];
};

export type RowDifference = {
  readonly kind: 'missing' | 'extra' | 'different';
  /** Values of the key's columns, as the servers print them. */
  readonly key: readonly (string | null)[];
  /** Names of the columns that differ; empty unless the row is on both sides. */
  readonly columns: readonly string[];
};

export type TableDifference =
  /** The target has no table of this name. */
  | { readonly kind: 'missing' }
  /** The target's table lacks columns, or has more of them. */
  | { readonly kind: 'columns'; readonly missing: readonly string[]; readonly extra: readonly string[] }
  /** The number of rows differs. */
  | { readonly kind: 'rows' }
  /** As many rows, but not the same ones. */
  | { readonly kind: 'values' }
  /**
   * Compared while the target follows: more rows may differ than could be looked at, and of those that were looked at
   * none does. Not known to be equal.
   */
  | { readonly kind: 'undecided' };

/**
 * Leaves out what no stream keeps level: tables of the source that are unlogged. One that the target lacks, or has with
 * other columns, is told all the same.
 */
export function leaveOutUnlogged(plan: ComparisonPlan): ComparisonPlan & { readonly unlogged: TableName[] } {
  const isUnlogged = (table: PlannedTable) => table.kind === 'read' && table.source.unlogged;
  return {
    ...plan,
    tables: plan.tables.filter((table) => !isUnlogged(table)),
    unlogged: plan.tables.filter(isUnlogged).map(({ schema, name }) => ({ schema, name })),
  };
}

/** The outcome for a database. */
export type DataComparison = {
  /** The source database's name. */
  readonly database: string;
  /** Every table of the source, in the order of their names. */
  readonly tables: readonly TableComparison[];
  /** Tables that only the target has: told, but no difference, since a target may hold more than the copy. */
  readonly onlyOnTarget: readonly TableName[];
  /** Unlogged tables that were not compared, where that was asked for. */
  readonly unlogged?: readonly TableName[];
};

/**
 * Pairs the tables of both sides by name.
 *
 * Case 1: a partitioned table on both sides. Its leaves are tables of their own and compared one by one.
 * Case 2: partitioned on one side, an ordinary table (or a leaf) on the other. The rows of the whole tree are compared
 *         with the table's, and the leaves are not looked at. So also where both are partitions of one table.
 * Case 3: an ordinary table (or a leaf) on both sides: compared.
 * Case 4: on one side only. A partition of Case 1 that only the target has must be empty, and so must a table that
 *         inherits there from one that both sides have.
 *
 * `only` restricts the plan to these tables of the source; one that the source does not have is a `usage` failure.
 * `partOf` says of which tables a part is moved: other columns are not compared, nor other rows of the source. The
 * target is to hold nothing else.
 */
export function planComparison(
  source: readonly ListedTable[],
  target: readonly ListedTable[],
  only?: readonly TableName[],
  partOf: PartOf = () => null,
): ComparisonPlan {
  const sourceByName = byName(source);
  const targetByName = byName(target);
  const wanted = only === undefined ? null : new Set(only.map(keyOf));
  for (const table of only ?? []) {
    if (!sourceByName.has(keyOf(table))) {
      throw new Failure('usage', `the source has no table ${relationLabel(table)}`);
    }
  }
  // Case 2: the trees whose leaves have no counterpart of their own.
  const trees = new Set<string>();
  const noteTrees = (side: string, tables: readonly ListedTable[], other: Map<string, ListedTable>) => {
    for (const table of tables) {
      if (table.partitioned && other.get(keyOf(table))?.partitioned === false) trees.add(side + table.oid);
    }
  };
  noteTrees('source', source, targetByName);
  noteTrees('target', target, sourceByName);
  const insideTree = (side: string, table: ListedTable) =>
    table.above.some((oid) => trees.has(side + oid)) && !trees.has(side + table.oid);

  const tables: PlannedTable[] = [];
  for (const table of source) {
    const counterpart = targetByName.get(keyOf(table));
    if (wanted !== null && !wanted.has(keyOf(table))) continue;
    if (insideTree('source', table)) continue;
    if (table.partitioned && counterpart?.partitioned !== false) continue;
    tables.push(planTable(table, counterpart, partOf(table)));
  }
  const onlyOnTarget = target.filter(
    (table) =>
      wanted === null &&
      !table.partitioned &&
      !sourceByName.has(keyOf(table)) &&
      !insideTree('target', table),
  );
  const targetByOid = new Map(target.map((table) => [table.oid, table]));
  const isOfBoth = ({ above }: ListedTable) =>
    above.some((oid) => {
      const parent = targetByOid.get(oid);
      return parent !== undefined && sourceByName.has(keyOf(parent));
    });
  const named = (some: readonly ListedTable[]) =>
    some.map(({ schema, name }) => ({ schema, name })).toSorted(compareNames);
  return {
    tables: tables.toSorted(compareNames),
    onlyOnTarget: named(onlyOnTarget),
    extraChildren: named(onlyOnTarget.filter(isOfBoth)),
  };
}

/**
 * Columns are matched by name: their order may differ. A column that the source generates is left out, whatever it is
 * on the target, since it says nothing that the other columns do not, and its expression may depend on the server's
 * locale.
 */
function planTable(
  wholeSource: ListedTable,
  wholeTarget: ListedTable | undefined,
  part: PublishedPart | null,
): PlannedTable {
  const { schema, name } = wholeSource;
  if (wholeTarget === undefined) return { kind: 'missing', schema, name };
  const [source, target] = [moved(wholeSource, part), moved(wholeTarget, part)];
  const onTarget = new Set(target.columns.map((column) => column.name));
  const onSource = new Set(source.columns.map((column) => column.name));
  const columns = source.columns.filter((column) => !column.generated).map((column) => column.name);
  const missing = columns.filter((column) => !onTarget.has(column));
  const extra = target.columns.filter((column) => !column.generated && !onSource.has(column.name));
  if (missing.length > 0 || extra.length > 0) {
    return { kind: 'columns', schema, name, missing, extra: extra.map((column) => column.name) };
  }
  return {
    kind: 'read',
    schema,
    name,
    // One order for both sides, whatever theirs is.
    columns: columns.toSorted(compareText),
    rowFilter: part?.rowFilter ?? null,
    sourceTree: source.partitioned,
    targetTree: target.partitioned,
    source,
    target,
  };
}

/** The table as if it had no other columns than those that are moved. */
function moved(table: ListedTable, part: PublishedPart | null): ListedTable {
  const names = part?.columns ?? null;
  if (names === null) return table;
  const has = (name: string) => names.includes(name);
  return {
    ...table,
    columns: table.columns.filter(({ name }) => has(name)),
    key: table.key !== null && table.key.every(has) ? table.key : null,
    orders: table.orders.filter(({ column }) => has(column)),
  };
}

/** What is to be said of a table that was read on both sides. */
export function judge(source: TableContents, target: TableContents): TableDifference | null {
  if (source.rows !== target.rows) return { kind: 'rows' };
  return source.checksum === target.checksum ? null : { kind: 'values' };
}

/** `public.t has 2 rows on the source and 3 on the target`. Never a value of a row. */
export function differenceSentence(table: TableComparison): string {
  const label = relationLabel(table);
  const difference = table.difference;
  if (difference === null) return `${label} is equal`;
  if (difference.kind === 'missing') return `${label} is missing on the target`;
  if (difference.kind === 'columns') {
    const list = (names: readonly string[]) => names.map((name) => JSON.stringify(name)).join(', ');
    const lacks = difference.missing.length === 0 ? [] : [`lacks ${list(difference.missing)}`];
    const has = difference.extra.length === 0 ? [] : [`has ${list(difference.extra)} besides`];
    return `${label} has other columns: the target ${[...lacks, ...has].join(' and ')}`;
  }
  if (difference.kind === 'undecided') {
    return `${label} is not known to be equal: more of its rows may differ than could be looked at while it was written; compare again, at the latest when nobody writes any more`;
  }
  // Counts of two moments say nothing; and where rows alone were looked at there are none.
  if (table.rows !== undefined && (table.moving !== undefined || table.source === null)) {
    return `${label} differs: ${rowsPhrase(table.rows)}`;
  }
  const onSource = `${table.source?.rows} rows on the source`;
  const rows = table.rows === undefined ? '' : `: ${rowsPhrase(table.rows)}`;
  if (difference.kind === 'rows') {
    return `${label} has ${onSource} and ${table.target?.rows} on the target${rows}`;
  }
  return `${label} has ${onSource} and on the target, but not the same ones${rows}`;
}

/** Why checksums of equal tables may differ, where some do; null where none does. */
export function momentsSentence(tables: readonly TableComparison[]): string | null {
  const moved = tables.filter(
    ({ moving, difference, source, target }) =>
      moving !== undefined && difference === null && source?.checksum !== target?.checksum,
  );
  if (moved.length === 0) return null;
  return `written while they were compared, so that their two checksums are of different moments: ${moved.map(relationLabel).join(', ')}; each row that differed was looked at again`;
}

/** `1 missing on the target, 2 with other values`. */
function rowsPhrase({ missing, extra, different, complete }: RowDifferences): string {
  const parts = [
    ...(missing > 0 ? [`${missing} missing on the target`] : []),
    ...(extra > 0 ? [`${extra} on the target only`] : []),
    ...(different > 0 ? [`${different} with other values`] : []),
  ];
  const more = complete ? '' : 'at least ';
  return more + (parts.length === 0 ? 'rows that were not looked at' : parts.join(', '));
}

/** One line per row that is shown: `different: id = 7 (balance, note)`. */
export function rowLines({ key, shown, missing, extra, different, complete }: RowDifferences): string[] {
  const total = missing + extra + different;
  const lines = shown.map((row) => {
    const name = (key ?? []).map((column, at) => `${column} = ${row.key[at] ?? 'null'}`).join(', ');
    return `${row.kind}: ${name}${row.columns.length === 0 ? '' : ` (${row.columns.join(', ')})`}`;
  });
  const rest = total - shown.length;
  if (rest > 0 || !complete) {
    const noKey = key === null ? ', without a key to name them by' : '';
    lines.push(
      `${shown.length === 0 ? '' : 'and '}${complete ? '' : 'at least '}${rest}${shown.length === 0 ? '' : ' more'}${noKey}`,
    );
  }
  return lines;
}

/** So many tables are named in the failure; the rest is in the log and in the output. */
const namedTables = 10;

/** The failure of comparisons (of one database, or of several) that found differences; null when there is none. */
export function sidesDiffer(...comparisons: readonly DataComparison[]): Failure | null {
  const label = ({ database }: DataComparison) => (comparisons.length === 1 ? '' : `${database}: `);
  const lines = (undecided: boolean) =>
    comparisons.flatMap((comparison) =>
      comparison.tables.flatMap((table) =>
        table.difference === null || (table.difference.kind === 'undecided') !== undecided
          ? []
          : [`  ${label(comparison)}${differenceSentence(table)}`],
      ),
    );
  const [different, undecided] = [lines(false), lines(true)];
  const all = [...different, ...undecided];
  if (all.length === 0) return null;
  const total = comparisons.reduce((sum, { tables }) => sum + tables.length, 0);
  const ofTotal = `of ${total} ${total === 1 ? 'table' : 'tables'}`;
  const named = all.slice(0, namedTables);
  const rest = all.length - named.length;
  const heading =
    different.length === 0
      ? `it is not known whether the sides are equal in ${undecided.length} ${ofTotal}`
      : `the sides differ in ${different.length} ${ofTotal}${undecided.length === 0 ? '' : `, and ${undecided.length} more are not known to be equal`}`;
  return new Failure(
    'sides-differ',
    [`${heading}:`, ...named, ...(rest > 0 ? [`  and ${rest} more`] : [])].join('\n'),
  );
}

function keyOf(table: TableName): string {
  return JSON.stringify([table.schema, table.name]);
}

function byName(tables: readonly ListedTable[]): Map<string, ListedTable> {
  return new Map(tables.map((table) => [keyOf(table), table]));
}

/** By code unit: the same on every machine. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareNames(a: TableName, b: TableName): number {
  return compareText(a.schema, b.schema) || compareText(a.name, b.name);
}
