/**
 * Tables whose columns a dump puts into another order. It makes a child with INHERITS, which puts the columns of its
 * parents first, in their order; on the source they stand where they were added, or where they stood before INHERIT.
 *
 *     parent (a, late)   child on the source (a, own, late)   child on the target (a, late, own)
 *
 * Rows are copied by the names of columns, so that each value is where it belongs. A value of the table's row type is
 * text without names, `(1,2,3)`: in a column of that type it would mean something else on the target, and no comparison
 * of texts would find that.
 */
import { Failure } from '../failure.js';
import { relationLabel } from '../model/relation.js';
import type { Session } from '../postgres/connect.js';
import type { TableFacts } from '../postgres/schema.js';
import { userSchema } from '../postgres/schema-scope.js';
import { listLabels } from './requirements.js';

export type Inheriting = {
  readonly oid: number;
  readonly label: string;
  /** In their order on the source; `local` are those that a dump writes, merged with a parent's or not. */
  readonly columns: readonly { readonly name: string; readonly local: boolean }[];
  /** OIDs, in the order of INHERITS. */
  readonly parents: readonly number[];
};

// Partitions are attached, with their columns as they stand.
const inheritingQuery = `
  select c.oid, n.nspname as schema, c.relname as name,
    (select pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.attislocal) order by a.attnum)
      from pg_catalog.pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
    (select pg_catalog.json_agg(h.inhparent::int8 order by h.inhseqno)
      from pg_catalog.pg_inherits h where h.inhrelid = c.oid) as parents
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'f') and not c.relispartition and ${userSchema}
    and exists (select from pg_catalog.pg_inherits h where c.oid in (h.inhrelid, h.inhparent))
  order by 2, 3`;

/** Those whose columns stand in another order behind a dump, parents and children given. Pure. */
export function reordered(tables: readonly Inheriting[]): Inheriting[] {
  const byOid = new Map(tables.map((table) => [table.oid, table]));
  const orders = new Map<number, readonly string[]>();
  const orderOf = (table: Inheriting): readonly string[] => {
    const known = orders.get(table.oid);
    if (known !== undefined) return known;
    const parents = table.parents.flatMap((oid) => byOid.get(oid) ?? []);
    const names = table.columns.map(({ name }) => name);
    const local = table.columns.filter((column) => column.local).map(({ name }) => name);
    // Of a parent that is not known, nothing can be said.
    const isKnown = parents.length > 0 && parents.length === table.parents.length;
    const order = isKnown ? [...new Set([...parents.flatMap(orderOf), ...local])] : names;
    orders.set(table.oid, order);
    return order;
  };
  return tables.filter((table) => orderOf(table).some((name, at) => name !== table.columns[at]?.name));
}

// Arrays, domains and ranges of a type, and composite types and tables with an attribute of it, over any number of links.
const holdersQuery = `
  with recursive holding as (
    select t.oid from pg_catalog.pg_type t where t.typrelid = any ($1::oid[])
    union
    select x.oid from holding h, lateral (
      select t.oid from pg_catalog.pg_type t where h.oid in (t.typelem, t.typbasetype)
      union all
      select t.oid from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.typrelid = a.attrelid
      where a.atttypid = h.oid and a.attnum > 0 and not a.attisdropped
      union all
      select r.rngtypid from pg_catalog.pg_range r where r.rngsubtype = h.oid
      union all
      select m.oid from pg_catalog.pg_range r, lateral (
        select (pg_catalog.to_jsonb(r) ->> 'rngmultitypid')::oid) m (oid)
      where r.rngsubtype = h.oid and m.oid is not null) x)
  select c.oid, n.nspname as schema, c.relname as name, a.attname as column
  from holding h
  join pg_catalog.pg_attribute a on a.atttypid = h.oid and a.attnum > 0 and not a.attisdropped
  join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind = 'r'
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  order by 2, 3, a.attnum`;

/**
 * What is to be said of tables that get another order of columns; null where there is none. Throws `source-setup` where
 * a table of these holds values that would be read in that order.
 */
export async function expectRowTypesHold(
  source: Session,
  tables: readonly (Pick<TableFacts, 'oid'> & { readonly withRows: boolean })[],
): Promise<string | null> {
  const kept = new Set(tables.map(({ oid }) => oid));
  const filled = new Set(tables.filter(({ withRows }) => withRows).map(({ oid }) => oid));
  const moved = reordered((await source.query(inheritingQuery)).map(readInheriting)).filter(({ oid }) =>
    kept.has(oid),
  );
  if (moved.length === 0) return null;
  const names = listLabels(moved.map(({ label }) => label));
  const holders = (await source.query(holdersQuery, [`{${moved.map(({ oid }) => oid).join(',')}}`]))
    .filter((row) => filled.has(Number(row['oid'])))
    .map(
      (row) =>
        `${row['column']} of ${relationLabel({ schema: row['schema'] ?? '', name: row['name'] ?? '' })}`,
    );
  if (holders.length === 0) {
    return `the columns of ${names} stand in another order on the target, inherited ones first, as pg_dump makes them: name the columns in INSERT and SELECT`;
  }
  throw new Failure(
    'source-setup',
    `source: ${listLabels(holders)} hold rows of ${names}, whose columns pg_dump puts into another order, inherited ones first: on the target each value would be read as another column`,
    {
      remedy:
        'Leave the tables that hold them out with --filters; or make the children anew on the source, with the inherited columns first.',
    },
  );
}

function readInheriting(row: Readonly<Record<string, string | null>>): Inheriting {
  const columns = JSON.parse(row['columns'] ?? '[]') as [string, boolean][] | null;
  return {
    oid: Number(row['oid']),
    label: relationLabel({ schema: row['schema'] ?? '', name: row['name'] ?? '' }),
    columns: (columns ?? []).map(([name, local]) => ({ name, local })),
    parents: (JSON.parse(row['parents'] ?? '[]') as number[] | null) ?? [],
  };
}
