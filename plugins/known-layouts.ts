/**
 * The columns that the rows of a table printed before, for plugins that print their names with every row: what is the
 * same again need not be read again, and is the same object, by which later decisions are remembered.
 */
import type { SourceRelation } from './source-relations.js';

/** Old rows may leave out what is null, so a wide table may print very many different ones. */
const maxLayouts = 64;

/** Those of the new or of the old rows of one table, by the text around their values. */
export class KnownLayouts<Known> {
  /** What the last row printed. */
  last: Known | null = null;
  readonly #all = new Map<string, Known>();

  /** The layout of a row that was read from its text, or the equal one of before. */
  settle(heads: readonly string[], layout: Known): Known {
    const text = heads.join('');
    if (this.#all.size >= maxLayouts) this.#all.clear();
    const same = this.#all.get(text) ?? layout;
    this.#all.set(text, same);
    this.last = same;
    return same;
  }
}

/** Those of all tables. They go with the table, of which the catalog's next reading makes another one. */
export class LayoutsOfTables<Known> {
  readonly #tables = new WeakMap<
    SourceRelation,
    { readonly fresh: KnownLayouts<Known>; readonly old: KnownLayouts<Known> }
  >();

  of(table: SourceRelation, rows: 'fresh' | 'old'): KnownLayouts<Known> {
    let layouts = this.#tables.get(table);
    if (layouts === undefined) {
      layouts = { fresh: new KnownLayouts(), old: new KnownLayouts() };
      this.#tables.set(table, layouts);
    }
    return layouts[rows];
  }
}
