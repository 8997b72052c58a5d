/** What a side says of its tables: one query for all of them. */
import { userSchema, notOfExtension } from '../postgres/schema-scope.js';
import { mayBeNull } from '../postgres/nullable.js';
import type { Session } from '../postgres/connect.js';
import type { ListedColumn, ListedTable } from './comparison.js';

/** Publications FOR TABLES IN SCHEMA. */
const schemaMembersSql = `
  union all select s.pnpubid, s.oid from pg_catalog.pg_publication_namespace s where s.pnnspid = n.oid`;
const schemaMembersVersion = 150_000;

// Sizes are those of the last VACUUM or ANALYZE: to ask for a file's size is to wait for whoever has locked the table.
// They decide how a table is cut, and nothing else.
//
// Of a key that identifies rows: the primary key first, then the narrowest one. Of an order to cut a table by: an index
// that begins with a column whose order is the same on every server, and in whose order the rows lie.
//
// What was written to a table while it had another name is noted under that, and nothing while no publication had it. So
// `history` changes when it gets a name or a schema (then its type does too, which stays as it is when privileges are
// granted), when its schema does, when it, or a table above it, is put into a publication or taken out of one, and when
// it is detached from that and attached again.
//
// A label that is renamed, or an attribute that is added, changes what values of these types print without a row being
// written: all types of users together, since one may be inside of another.
const listSql = (schemaMembers: string) => `
  with types as materialized (
    select pg_catalog.hashtextextended(coalesce(pg_catalog.string_agg(u.text, ';' order by u.oid, u.nth), ''), 0)::text as hash
      from (select e.enumtypid as oid, e.enumsortorder as nth, pg_catalog.quote_literal(e.enumlabel) as text
              from pg_catalog.pg_enum e
            union all
            select c.reltype, f.attnum, pg_catalog.quote_ident(f.attname) || ' ' || pg_catalog.format_type(f.atttypid, f.atttypmod)
              from pg_catalog.pg_class c join pg_catalog.pg_attribute f on f.attrelid = c.oid
             where c.relkind = 'c' and f.attnum > 0 and not f.attisdropped) as u
  )
  select n.nspname as schema, c.relname as name, c.oid::text as oid,
         case when c.relkind = 'p' then 'yes' else 'no' end as partitioned,
         case when exists (select from pg_catalog.pg_inherits i where i.inhrelid = c.oid) then
           (with recursive above as (
              select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid
              union select i.inhparent from pg_catalog.pg_inherits i join above a on a.inhparent = i.inhrelid
            ) select pg_catalog.json_agg(a.inhparent::text)::text from above a) end as above,
         pg_catalog.concat_ws(' ', n.xmin, (select y.xmin from pg_catalog.pg_type y where y.oid = c.reltype),
           (select pg_catalog.string_agg(i.xmin::text, '/' order by i.inhrelid)
              from pg_catalog.pg_inherits i
             where i.inhrelid = any (array(select t.relid::pg_catalog.oid
               from pg_catalog.pg_partition_ancestors(c.oid) t))),
           (select pg_catalog.string_agg(pg_catalog.concat_ws('/', p.oid, p.xmin, m.entry), ' ' order by p.oid, m.entry)
              from (select a.oid as publication, null::pg_catalog.oid as entry
                      from pg_catalog.pg_publication a where a.puballtables
                    union all
                    select r.prpubid, r.oid from pg_catalog.pg_publication_rel r
                     where r.prrelid = any (array(select t.relid::pg_catalog.oid
                       from pg_catalog.pg_partition_ancestors(c.oid) t) || c.oid)
                    ${schemaMembers}) as m
              join pg_catalog.pg_publication p on p.oid = m.publication)) as history,
         greatest(c.relpages, 0) as pages,
         (greatest(c.relpages, 0)
           + coalesce((select greatest(o.relpages, 0) from pg_catalog.pg_class o where o.oid = c.reltoastrelid), 0))
           * pg_catalog.current_setting('block_size')::bigint as bytes,
         greatest(c.reltuples, 0)::bigint as estimated_rows,
         coalesce(am.amname = 'heap', false)::text as heap, c.relfilenode::text as file,
         (c.relkind = 'r' and c.relpersistence = 'u')::text as unlogged,
         (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                   'name', a.attname, 'number', a.attnum, 'generated', a.attgenerated <> '',
                   'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                   'inside', case when t.oid >= 16384 then types.hash end,
                   'comparable', b.typnamespace = 'pg_catalog'::pg_catalog.regnamespace or b.typtype in ('e', 'r', 'm')
                 ) order by a.attnum), '[]')::text
            from pg_catalog.pg_attribute a
            join pg_catalog.pg_type t on t.oid = a.atttypid
            join pg_catalog.pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
         (select pg_catalog.json_agg(a.attname order by k.nth)::text
            from (select i.indexrelid, i.indrelid, i.indkey, i.indnkeyatts from pg_catalog.pg_index i
                   where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null
                     and i.indexprs is null
                     and not exists (select from pg_catalog.unnest(i.indkey::int2[]) with ordinality as p(attnum, nth)
                       join pg_catalog.pg_attribute q on q.attrelid = c.oid and q.attnum = p.attnum
                       where p.nth <= i.indnkeyatts and (${mayBeNull('q')} or q.attgenerated <> ''))
                   order by i.indisprimary desc, i.indnkeyatts, i.indexrelid limit 1) as i
            cross join pg_catalog.unnest(i.indkey::int2[]) with ordinality as k(attnum, nth)
            join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
           where k.nth <= i.indnkeyatts) as key,
         (select pg_catalog.json_agg(pg_catalog.json_build_object('column', a.attname, 'nullable', ${mayBeNull('a')},
                   'correlation', s.correlation) order by i.indisprimary desc, i.indexrelid)::text
            from pg_catalog.pg_index i
            join pg_catalog.pg_class x on x.oid = i.indexrelid
            join pg_catalog.pg_am m on m.oid = x.relam and m.amname = 'btree'
            join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            left join pg_catalog.pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname
              and s.attname = a.attname and not s.inherited
           where i.indrelid = c.oid and i.indisvalid and i.indpred is null and a.attgenerated = ''
             and a.atttypid in ('int2'::pg_catalog.regtype, 'int4'::pg_catalog.regtype, 'int8'::pg_catalog.regtype,
               'oid'::pg_catalog.regtype, 'uuid'::pg_catalog.regtype, 'date'::pg_catalog.regtype,
               'timestamp'::pg_catalog.regtype, 'timestamptz'::pg_catalog.regtype)) as orders
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_am am on am.oid = c.relam
    cross join types
   where c.relkind in ('r', 'p') and c.relpersistence in ('p', 'u') and ${userSchema} and ${notOfExtension}`;

/** All tables with rows of their own, and the partitioned ones above them. */
export async function listTables(session: Session): Promise<ListedTable[]> {
  const sql = listSql(session.serverVersion >= schemaMembersVersion ? schemaMembersSql : '');
  const rows = await session.query(sql, [], `reading the tables of the ${session.side} failed`);
  return rows.map((row) => ({
    schema: row['schema'] ?? '',
    name: row['name'] ?? '',
    oid: row['oid'] ?? '',
    partitioned: row['partitioned'] === 'yes',
    above: JSON.parse(row['above'] ?? '[]') as string[],
    columns: JSON.parse(row['columns'] ?? '[]') as ListedColumn[],
    history: row['history'] ?? '',
    pages: Number(row['pages']),
    bytes: Number(row['bytes']),
    estimatedRows: Number(row['estimated_rows']),
    heap: row['heap'] === 'true',
    file: row['file'] ?? '',
    unlogged: row['unlogged'] === 'true',
    key: JSON.parse(row['key'] ?? 'null') as string[] | null,
    orders: JSON.parse(row['orders'] ?? '[]') as ListedTable['orders'],
  }));
}
