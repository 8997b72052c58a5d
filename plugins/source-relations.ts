/**
 * Which relation a change was written under, for plugins that print names and values and no more. What is missing
 * comes from the source's catalog: which columns identify a row, which are generated, which were left out.
 *
 * A table may be described twice: as it was when the slot was made, and as it is now. DDL in between makes two shapes
 * of it. The one that fits to what is printed is the right one:
 *   1. the description that fitted last;
 *   2. the one at the slot's time, which the target was copied from;
 *   3. the one of now.
 *   4. None fits, and the catalog was read before this transaction was seen: it is read again (`tablesStale`).
 *   5. None fits: the table had a third shape in between. The columns are those printed, and the identity is that of
 *      the first description which fits to it; where there is none, the change is refused.
 */
import { tablesStale } from '../src/model/plugin.js';
import type { Cell, Key } from '../src/model/row.js';
import { unchanged } from '../src/model/row.js';
import type { Relation } from '../src/model/relation.js';
import { relationLabel } from '../src/model/relation.js';
import { seesNarrow } from '../src/model/seen-transactions.js';
import type { SourceColumn, SourceTable, SourceTables } from '../src/model/source-table.js';
import { refuse, refuseLimit, type PayloadPlace } from './refusal.js';

/** Columns as one message prints them. Equal lists should be one object: decisions are remembered by it. */
export type Layout = {
  readonly names: readonly string[];
  /** Null where the plugin prints none. */
  readonly typeOids: readonly number[] | null;
};

/** What one change prints. */
export type Printed = {
  readonly kind: 'insert' | 'update' | 'delete';
  readonly fresh: Layout | null;
  readonly old: Layout | null;
};

/** The habits of a plugin. */
export type Habits = {
  /** Whether a new row names every column, those left unsent too (test_decoding). */
  readonly printsUnsent: boolean;
  /** Whether columns that are null are missing from an old row (test_decoding). */
  readonly leavesOutOldNulls: boolean;
};

/** A relation, and where the printed values go. */
export type Shape = {
  readonly relation: Relation;
  /** For each column of the new row its position in the relation; -1 for a generated one. */
  readonly places: readonly number[];
  /** For each column of the old row its position in the key; -1 for one outside of it. */
  readonly keyPlaces: readonly number[];
};

/** Remembered names of tables that are not followed: an application may make them without end. */
const maxUnfollowed = 10_000;

/** All tables of one connection. */
export class SourceRelations {
  readonly #habits: Habits;
  #tables: SourceTables;
  #followed: Indexed;
  #now: Indexed;
  #byName = new Map<string, SourceRelation>();
  #unfollowed = new Map<string, Unfollowed>();
  #moved: readonly SourceTable[] | null = null;

  constructor(tables: SourceTables, habits: Habits) {
    this.#tables = tables;
    this.#habits = habits;
    this.#followed = indexed(tables.followed);
    this.#now = indexed(tables.now);
  }

  /** The catalog was read anew: what was decided by the last reading is decided again. */
  describe(tables: SourceTables): void {
    this.#followed = indexed(tables.followed);
    this.#tables = tables;
    this.#now = indexed(tables.now);
    this.#byName = new Map();
    this.#unfollowed = new Map();
    this.#moved = null;
  }

  /** How many names are remembered, for tests. */
  get remembered(): number {
    return this.#byName.size + this.#unfollowed.size;
  }

  /**
   * The table of this name. A table that was renamed is known by its OID. A name that no description knows is looked up
   * again, unless the transaction was seen: then it was a table's name for a while. Such a table came after the slot,
   * or it is a followed one between two renamings.
   */
  find(schema: string, name: string, xid: bigint): SourceRelation | Unfollowed | typeof tablesStale {
    const id = nameOf({ schema, name });
    const known = this.#byName.get(id) ?? this.#unfollowed.get(id);
    if (known !== undefined) return known;
    const { seen } = this.#tables;
    const present = this.#now.byName.get(id);
    const named = this.#followed.byName.get(id);
    if (present === undefined && named === undefined && !seesNarrow(seen, xid)) return tablesStale;
    const then = named ?? (present === undefined ? undefined : this.#followed.byOid.get(present.oid));
    if (then === undefined) {
      const unfollowed = new Unfollowed(
        { schema, name },
        present === undefined ? this.#movedTables() : [],
        this.#habits,
      );
      if (this.#unfollowed.size >= maxUnfollowed) this.#unfollowed.clear();
      this.#unfollowed.set(id, unfollowed);
      return unfollowed;
    }
    const descriptions = [then, present].filter((one) => one !== undefined);
    const relation = new SourceRelation({ schema, name }, descriptions, { habits: this.#habits, seen });
    this.#byName.set(id, relation);
    return relation;
  }

  /** The followed tables that have another name by now, or are gone. */
  #movedTables(): readonly SourceTable[] {
    this.#moved ??= this.#tables.followed.filter((then) => {
      const now = this.#now.byOid.get(then.oid);
      return now === undefined || nameOf(now) !== nameOf(then);
    });
    return this.#moved;
  }

  /** Whether a followed table is printed like this between quotes that are not doubled, as in the server's log. */
  isFollowedAs(text: string): boolean {
    return this.#tables.followed.some(({ schema, name }) => text === `"${schema}"."${name}"`);
  }
}

type Indexed = {
  readonly byName: ReadonlyMap<string, SourceTable>;
  readonly byOid: ReadonlyMap<number, SourceTable>;
};

function indexed(tables: readonly SourceTable[]): Indexed {
  return {
    byName: new Map(tables.map((table) => [nameOf(table), table])),
    byOid: new Map(tables.map((table) => [table.oid, table])),
  };
}

function nameOf({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return `${schema}\0${name}`;
}

/** A table that is not followed, as far as its name tells. */
export class Unfollowed {
  readonly followed = false;
  readonly label: string;
  readonly #suspects: readonly SourceTable[];
  readonly #habits: Habits;

  /** `suspects`: the followed tables that may have had this name for a while. */
  constructor(
    name: { readonly schema: string; readonly name: string },
    suspects: readonly SourceTable[],
    habits: Habits,
  ) {
    this.label = relationLabel(name);
    this.#suspects = suspects;
    this.#habits = habits;
  }

  /** Throws `plugin-limit` when the change looks like one of a followed table. Null: a TRUNCATE, which prints nothing. */
  check(printed: Printed | null, place: PayloadPlace): void {
    const suspect = this.#suspects.find((table) => printed === null || fits(table, printed, this.#habits));
    if (suspect === undefined) return;
    refuseLimit(
      place,
      `a change in ${this.label}, a table that no longer exists; it may be ${relationLabel(suspect)}, which was ` +
        'renamed or dropped since it was copied',
    );
  }
}

type Decided = Printed & { readonly shape: Shape };

/** Searched one by one; more shapes than this are those of old rows without their nulls, and are decided anew. */
const maxDecided = 32;

/** One table. */
export class SourceRelation {
  readonly followed = true;
  readonly label: string;
  readonly #name: { readonly schema: string; readonly name: string };
  readonly #known: readonly SourceTable[];
  readonly #habits: Habits;
  readonly #seen: SourceTables['seen'];
  readonly #relations = new Map<SourceTable, Relation>();
  #current: SourceTable;
  #decided: Decided[] = [];

  /** `known`: at least one description, the oldest first. */
  constructor(
    name: { readonly schema: string; readonly name: string },
    known: readonly SourceTable[],
    options: { readonly habits: Habits; readonly seen: SourceTables['seen'] },
  ) {
    const [first] = known;
    if (first === undefined) throw new TypeError('a table without a description');
    this.label = relationLabel(name);
    this.#name = name;
    this.#known = known;
    this.#habits = options.habits;
    this.#seen = options.seen;
    this.#current = first;
  }

  /** What a change that prints no columns was written under. */
  get relation(): Relation {
    return this.#relationOf(this.#current);
  }

  /** Decides the shape of a change. Throws `plugin-limit` where it cannot be known. */
  shape(printed: Printed, xid: bigint, place: PayloadPlace): Shape | typeof tablesStale {
    const { kind, fresh, old } = printed;
    for (const decided of this.#decided) {
      if (decided.kind === kind && decided.fresh === fresh && decided.old === old) return decided.shape;
    }
    let table = [this.#current, ...this.#known].find((one) => fits(one, printed, this.#habits));
    if (table === undefined) {
      if (!seesNarrow(this.#seen, xid)) return tablesStale;
      table = this.#derive(printed, place);
    }
    if (table !== this.#current) {
      this.#current = table;
      this.#decided = [];
    }
    const relation = this.#relationOf(table);
    const positions = new Map(relation.columns.map(({ name }, position) => [name, position]));
    const keyPositions = new Map(
      relation.key.map((position, nth) => [relation.columns[position]?.name, nth]),
    );
    const shape: Shape = {
      relation,
      places: (fresh?.names ?? []).map((name) => positions.get(name) ?? -1),
      keyPlaces: (old?.names ?? []).map((name) => keyPositions.get(name) ?? -1),
    };
    if (this.#decided.length >= maxDecided) this.#decided = [];
    this.#decided.push({ ...printed, shape });
    return shape;
  }

  /** Case 5. */
  #derive({ kind, fresh, old }: Printed, place: PayloadPlace): SourceTable {
    const bases = [this.#current, ...this.#known];
    const base = bases.find((one) => kind === 'insert' || identityFits(one, old, this.#habits));
    if (base === undefined || (fresh === null && kind !== 'delete')) return this.#refuseIdentity(kind, place);
    if (fresh === null) return base;
    const known = (name: string): SourceColumn | undefined =>
      bases.flatMap(({ columns }) => columns).find((column) => column.name === name);
    const printed = fresh.names.map((name, nth): SourceColumn => {
      const column = known(name);
      return {
        name,
        typeOid: fresh.typeOids?.[nth] ?? column?.typeOid ?? 0,
        generated: column?.generated ?? false,
        variable: column?.variable ?? true,
      };
    });
    const unsent =
      kind === 'insert' || this.#habits.printsUnsent
        ? []
        : base.columns.filter(({ name, variable }) => variable && !fresh.names.includes(name));
    const columns = [...printed, ...unsent];
    const whole = base.key.every((name) => columns.some((column) => column.name === name));
    if (!whole && kind !== 'insert') return this.#refuseIdentity(kind, place);
    const derived = { ...base, columns, key: whole ? base.key : [] };
    // Found again by the next change of this shape, which finds it as the current one.
    return derived;
  }

  #refuseIdentity(kind: Printed['kind'], place: PayloadPlace): never {
    if (this.#known.every((table) => table.identity !== 'full' && table.key.length === 0)) {
      return refuseLimit(
        place,
        `${kind === 'update' ? 'an' : 'a'} ${kind} in ${this.label}, which has no replica identity: nobody can say which row it was`,
        `give it one (alter table ${this.label} replica identity full)`,
      );
    }
    return refuseLimit(
      place,
      `${kind === 'update' ? 'an' : 'a'} ${kind} in ${this.label} was written under a replica identity or columns that neither the start of the stream nor the catalog of now knows`,
    );
  }

  #relationOf(table: SourceTable): Relation {
    const made = this.#relations.get(table);
    if (made !== undefined) return made;
    const columns = table.columns
      .filter(({ generated }) => !generated)
      .map(({ name, typeOid }) => ({ name, typeOid: typeOid === 0 ? null : typeOid }));
    const inKey = (name: string) => table.identity === 'full' || table.key.includes(name);
    const relation: Relation = {
      ...this.#name,
      identity: table.identity,
      columns,
      key: columns.flatMap(({ name }, position) => (inKey(name) ? [position] : [])),
    };
    this.#relations.set(table, relation);
    return relation;
  }
}

function fits(table: SourceTable, { kind, fresh, old }: Printed, habits: Habits): boolean {
  if (fresh !== null && !columnsFit(table, fresh, kind === 'insert' || habits.printsUnsent)) return false;
  return kind === 'insert' || identityFits(table, old, habits);
}

function columnsFit(table: SourceTable, { names, typeOids }: Layout, complete: boolean): boolean {
  let next = 0;
  for (const column of table.columns) {
    const same = names[next] === column.name && (typeOids === null || typeOids[next] === column.typeOid);
    if (same) next += 1;
    else if (complete || !column.variable) return false;
  }
  return next === names.length;
}

function identityFits(table: SourceTable, old: Layout | null, habits: Habits): boolean {
  if (table.identity === 'full') {
    if (old === null) return false;
    const names = new Set(table.columns.map(({ name }) => name));
    return (
      (habits.leavesOutOldNulls || old.names.length === names.size) &&
      old.names.every((name) => names.has(name))
    );
  }
  if (table.key.length === 0) return false;
  if (old === null) return true;
  const rest = old.names.filter((name) => !table.included.includes(name));
  return rest.length === table.key.length && rest.every((name) => table.key.includes(name));
}

/** The printed values in the relation's order; those not printed are *unchanged*. */
export function arrangeRow(shape: Shape, cells: readonly Cell[]): Cell[] {
  const row = Array.from<Cell>({ length: shape.relation.columns.length }).fill(unchanged);
  for (let nth = 0; nth < cells.length; nth += 1) {
    const position = shape.places[nth]!;
    if (position >= 0) row[position] = cells[nth]!;
  }
  return row;
}

/** The whole new row of an insert. */
export function arrangeInsert(shape: Shape, cells: readonly Cell[], place: PayloadPlace): Cell[] {
  const row = arrangeRow(shape, cells);
  if (row.includes(unchanged)) {
    refuse(place, `an insert in ${relationLabel(shape.relation)} leaves out a column`, 0);
  }
  return row;
}

/** The old values in the key's order. */
export function arrangeKey(shape: Shape, cells: readonly Cell[], place: PayloadPlace): Key {
  const { relation, keyPlaces } = shape;
  const key = Array.from<string | null>({ length: relation.key.length }).fill(null);
  for (let nth = 0; nth < cells.length; nth += 1) {
    const at = keyPlaces[nth]!;
    if (at < 0) continue;
    const cell = cells[nth]!;
    if (cell === unchanged) refuse(place, `an old row of ${relationLabel(relation)} is not whole`, 0);
    key[at] = cell;
  }
  if (relation.identity !== 'full' && key.includes(null)) {
    refuse(place, `a column of the replica identity of ${relationLabel(relation)} is null`, 0);
  }
  return key;
}

/**
 * Completes an update as pgoutput gives it (its decoder, `#knowIdentity`): an identity column that was not sent has its
 * old value, which is filled in; where there is none, nobody can say which row this was. Returns the key that goes with
 * the change: null when the identity is the same before and after and stands in the row.
 */
export function settleIdentity(shape: Shape, row: Cell[], key: Key | null, place: PayloadPlace): Key | null {
  const { relation } = shape;
  if (relation.identity === 'full') return key;
  let needed = false;
  relation.key.forEach((position, nth) => {
    if (row[position] === unchanged) {
      if (key === null) {
        return refuseLimit(
          place,
          `the source did not send column ${relation.columns[position]!.name} of the replica identity of ` +
            `${relationLabel(relation)}, which is stored out of line`,
        );
      }
      row[position] = key[nth]!;
      needed = true;
    } else if (key !== null && row[position] !== key[nth]) {
      needed = true;
    }
  });
  return needed ? key : null;
}
