/**
 * The filter that a work directory's run was begun with: for a resumed run, for its other processes, and for whoever
 * compares afterwards.
 */
import type { FilterRule, FilterScope } from '../model/object-filter.js';
import type { Catalog } from './database.js';

export type FilterRecord = {
  /** The file as it was named then. */
  readonly file: string;
  readonly rules: readonly FilterRule[];
  /** What it came to; null before the source was asked. */
  readonly scope: FilterScope | null;
};

/** Remembers the filter; a later reading of the source replaces an earlier one. */
export function saveFilter(catalog: Catalog, { file, rules, scope }: FilterRecord): void {
  catalog.database
    .prepare('insert or replace into filter (id, file, rules, scope) values (1, ?, ?, ?)')
    .run(file, JSON.stringify(rules), scope === null ? null : JSON.stringify(scope));
}

/** Null where everything is copied. */
export function loadFilter(catalog: Catalog): FilterRecord | null {
  const row = catalog.database
    .prepare<[], { file: string; rules: string; scope: string | null }>(
      'select file, rules, scope from filter where id = 1',
    )
    .get();
  if (row === undefined) return null;
  return {
    file: row.file,
    rules: JSON.parse(row.rules) as FilterRule[],
    scope: row.scope === null ? null : (JSON.parse(row.scope) as FilterScope),
  };
}

/** Forgets it: for a run that starts from nothing, without a filter. */
export function deleteFilter(catalog: Catalog): void {
  catalog.database.exec('delete from filter');
}
