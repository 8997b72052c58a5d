/**
 * The columns of the source's tables as they were when the stream began. The table is made when it is needed: a work
 * directory of an earlier version is not missing anything.
 */
import type { ColumnsOfTables } from '../model/column-change.js';
import type { Catalog } from './database.js';

const schema = `
  create table if not exists stream_columns (
    id integer primary key check (id = 1),
    columns text not null
  )`;

/** Remembers them; to be called in a transaction. */
export function saveColumns(catalog: Catalog, columns: ColumnsOfTables): void {
  catalog.database.exec(schema);
  catalog.database
    .prepare('insert or replace into stream_columns (id, columns) values (1, ?)')
    .run(JSON.stringify(columns));
}

/** Null for a stream that an earlier walferry began. */
export function loadColumns(catalog: Catalog): ColumnsOfTables | null {
  const isThere = "select 1 from sqlite_master where type = 'table' and name = 'stream_columns'";
  if (catalog.database.prepare(isThere).get() === undefined) return null;
  const row = catalog.database
    .prepare<[], { columns: string }>('select columns from stream_columns where id = 1')
    .get();
  return row === undefined ? null : (JSON.parse(row.columns) as ColumnsOfTables);
}
