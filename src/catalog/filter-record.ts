/**
 * The filter that a work directory's run was begun with: for its other processes, and for whoever compares afterwards.
 */
import type { FilterScope } from '../model/object-filter.js';
import type { Catalog } from './database.js';

/** Remembers what the filter decided; a later reading of the source replaces an earlier one. */
export function saveFilterScope(catalog: Catalog, scope: FilterScope): void {
  catalog.database
    .prepare('insert or replace into filter (id, scope) values (1, ?)')
    .run(JSON.stringify(scope));
}

/** Null where everything is copied. */
export function loadFilterScope(catalog: Catalog): FilterScope | null {
  const row = catalog.database.prepare<[], { scope: string }>('select scope from filter where id = 1').get();
  return row === undefined ? null : (JSON.parse(row.scope) as FilterScope);
}

/** Forgets it: for a run that starts from nothing, without a filter. */
export function deleteFilterScope(catalog: Catalog): void {
  catalog.database.exec('delete from filter');
}
