/**
 * How the changes of one relation are applied to the target's table of that name. Pure: decided once per relation,
 * from the stream's description and the target's catalog.
 */
import { Failure } from '../failure.js';
import { type Relation, relationLabel } from '../model/relation.js';
import type { TargetColumn, TargetIndex, TargetTable, TiedRoot } from './target-table.js';

/** A column as the statements use it. */
export type PlannedColumn = {
  /** Its position in the relation's columns, so in rows. */
  readonly at: number;
  readonly target: TargetColumn;
};

/**
 * How a change's row is found on the target:
 *
 * key    by a unique index: columns of the identity, or under REPLICA IDENTITY FULL any key that the target has.
 *        Many rows are found by one statement.
 * value  by the identity's values, one row per statement, and exactly one must match: the identity has no unique index
 *        on the target.
 * row    by all values, one row per statement, and one of the matching rows is taken: REPLICA IDENTITY FULL without a
 *        key, where rows may be equal.
 * none   not at all: REPLICA IDENTITY NOTHING.
 */
export type RowMatch =
  | { readonly kind: 'key'; readonly columns: readonly PlannedColumn[]; readonly equals: readonly string[] }
  | { readonly kind: 'value'; readonly columns: readonly PlannedColumn[]; readonly hints: readonly Hint[] }
  | { readonly kind: 'row'; readonly columns: readonly PlannedColumn[]; readonly hints: readonly Hint[] }
  | { readonly kind: 'none' };

/** A column that an index of the target begins with: comparing it lets the server use that index. */
export type Hint = { readonly column: PlannedColumn; readonly equals: string };

export type RelationPlan = {
  readonly relation: Relation;
  readonly partitioned: boolean;
  /** The relation's columns without those that the target generates. */
  readonly columns: readonly PlannedColumn[];
  readonly match: RowMatch;
  /**
   * Positions of columns under a unique or exclusion constraint other than the matching key: an update that may touch
   * one of them is a run of its own, since such constraints are checked row by row.
   */
  readonly constrained: ReadonlySet<number>;
  /**
   * An update in a set has met a value that another row of the set gives up: from then on such updates are a delete and
   * an insert.
   */
  readonly contested: boolean;
  /** The target does something of its own when a row changes (triggers, foreign keys, rules): order matters. */
  readonly ordered: boolean;
  /** Row security keeps rows from this role. */
  readonly hidden: boolean;
  /** Rows may come by COPY, which fires no rules and is refused under row security. */
  readonly copyable: boolean;
  /** The relation has every column of the target's table but generated ones: a row may be taken out and put back. */
  readonly whole: boolean;
  /** What a TRUNCATE may have to name with it. */
  readonly tied: readonly TiedRoot[];
  /** Statement texts by what tells them apart; filled as they are needed. */
  readonly statements: Map<string, string>;
};

/** Throws `relation-missing` when the target has no such table, or lacks a column of it. */
export function planRelation(
  relation: Relation,
  table: TargetTable | null,
  options: { readonly contested?: boolean } = {},
): RelationPlan {
  if (table === null) {
    throw new Failure('relation-missing', `target: the table ${relationLabel(relation)} does not exist`);
  }
  const all = relation.columns.map(({ name }, at): PlannedColumn | null => {
    const target = table.columns.get(name);
    return target === undefined ? null : { at, target };
  });
  const missing = relation.columns.filter((_, at) => all[at] === null).map(({ name }) => `"${name}"`);
  if (missing.length > 0) {
    throw new Failure(
      'relation-missing',
      `target: the table ${relationLabel(relation)} has no column ${missing.join(', ')}`,
    );
  }
  const known = all.filter((column) => column !== null);
  const columns = known.filter(({ target }) => !target.generated);
  const unreadable = columns.find(({ target }) => target.via === null);
  if (unreadable !== undefined) {
    const { name, type } = unreadable.target;
    throw new Failure(
      'target-setup',
      `target: values of the column "${name}" of ${relationLabel(relation)} cannot be read as ${type}: every cast from a string type to it is a function of its own`,
    );
  }
  const { match, index } = planMatch(relation, known, table);
  return {
    relation,
    partitioned: table.partitioned,
    columns,
    match,
    constrained: constrainedColumns(known, table, index),
    contested: options.contested ?? false,
    ordered: table.fires,
    hidden: table.hidden,
    copyable: table.copyable && columns.length > 0,
    whole: [...table.columns.values()].filter(({ generated }) => !generated).length === columns.length,
    tied: table.tied,
    statements: new Map(),
  };
}

function planMatch(
  relation: Relation,
  columns: readonly PlannedColumn[],
  table: TargetTable,
): { match: RowMatch; index: TargetIndex | null } {
  const usable = table.indexes.filter(isUsableKey);
  const byName = new Map(columns.map((column) => [column.target.name, column]));
  const ofIndex = (index: TargetIndex) => index.columns.map((name) => byName.get(name ?? ''));
  const byKey = (index: TargetIndex) => ({
    match: {
      kind: 'key' as const,
      columns: ofIndex(index).filter((column) => column !== undefined),
      equals: index.equals.filter((operator) => operator !== null),
    },
    index,
  });

  // 1. FULL: the old row is known, so any key of the target will do whose columns the relation has and that knows no
  // nulls. A generated column's value is not sent.
  if (relation.identity === 'full') {
    const index = usable.find((candidate) =>
      ofIndex(candidate).every(
        (column) => column !== undefined && column.target.notNull && !column.target.generated,
      ),
    );
    if (index !== undefined) return byKey(index);
    const sent = columns.filter(({ target }) => !target.generated);
    return { match: { kind: 'row', columns: sent, hints: hintsOf(sent, table) }, index: null };
  }
  // 2. NOTHING: no row can be found.
  if (relation.key.length === 0) return { match: { kind: 'none' }, index: null };
  // 3. The identity's columns, in any order, are a key of the target.
  const identity = new Set(relation.key.map((at) => relation.columns[at]?.name));
  const index = usable.find(
    ({ columns: names }) => names.length === identity.size && names.every((name) => identity.has(name ?? '')),
  );
  if (index !== undefined) return byKey(index);
  // 4. They are not.
  const keyColumns = columns.filter(({ at }) => relation.key.includes(at));
  return { match: { kind: 'value', columns: keyColumns, hints: hintsOf(keyColumns, table) }, index: null };
}

function isUsableKey(index: TargetIndex): boolean {
  return index.key && index.plain && index.equals.every((operator) => operator !== null);
}

function hintsOf(columns: readonly PlannedColumn[], table: TargetTable): Hint[] {
  const hints = new Map<string, Hint>();
  for (const index of table.indexes) {
    const column = columns.find(({ target }) => target.name === index.columns[0]);
    const equals = index.equals[0] ?? null;
    if (column === undefined || equals === null || !index.plain || index.partial) continue;
    hints.set(column.target.name, { column, equals });
  }
  return [...hints.values()];
}

function constrainedColumns(
  columns: readonly PlannedColumn[],
  table: TargetTable,
  matching: TargetIndex | null,
): Set<number> {
  const constrained = new Set<number>();
  for (const index of table.indexes) {
    if (!index.constraining || index === matching) continue;
    // What an expression, a predicate or a generated column depends on is not known here: on any column, then.
    const any =
      index.partial ||
      index.columns.some((name) => name === null || table.columns.get(name)?.generated === true);
    for (const { at, target } of columns) {
      if (any || index.columns.includes(target.name)) constrained.add(at);
    }
  }
  return constrained;
}
