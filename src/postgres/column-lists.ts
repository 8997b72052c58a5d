/** The columns of the source's tables, as one text for each: whether DDL has changed them since. */
import type { ColumnsOfTables, TableColumns } from '../model/column-change.js';
import type { Session } from './connect.js';
import { notOfExtension, userSchema } from './schema-scope.js';

const columnLists = `
  select c.oid::text, n.nspname as schema, c.relname as name,
         pg_catalog.json_object_agg(a.attnum, pg_catalog.format('%I %s', a.attname,
             pg_catalog.format_type(a.atttypid, a.atttypmod))
           || case when a.attgenerated <> '' then ' generated' else '' end order by a.attnum)::text as columns
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
   where c.relkind = 'r' and c.relpersistence = 'p' and ${userSchema} and ${notOfExtension}
   group by c.oid, n.nspname, c.relname`;

/** Tens of thousands of tables are a few megabytes: they are sent only where they are not what they were. */
const fingerprint = `
  select pg_catalog.hashtextextended(coalesce(pg_catalog.string_agg(
           pg_catalog.concat_ws(' ', l.oid, l.columns), ',' order by l.oid), ''), 0)::text as fingerprint
    from (${columnLists}) as l`;

/** A text that is another one when a table or a column of one is. */
export async function fetchColumnsFingerprint(session: Session): Promise<string> {
  const [row] = await session.query(fingerprint);
  return row?.['fingerprint'] ?? '';
}

/** The permanent tables of users. */
export async function fetchColumns(session: Session): Promise<ColumnsOfTables> {
  const tables: Record<string, TableColumns> = {};
  for (const row of await session.query(columnLists)) {
    tables[row['oid'] ?? ''] = {
      schema: row['schema'] ?? '',
      name: row['name'] ?? '',
      columns: JSON.parse(row['columns'] ?? '{}') as TableColumns['columns'],
    };
  }
  return tables;
}
