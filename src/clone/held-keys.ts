/**
 * Foreign keys of a copy without all rows: rows that are copied may point at rows that are not. The key would fail after
 * the last row, so it is looked for before the first.
 */
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { TableFacts } from '../postgres/schema.js';

/** A key that cannot hold, as the rows are in the session's snapshot. */
export type BrokenKey = {
  readonly name: string;
  readonly child: TableFacts;
  readonly parent: TableFacts;
  /** Whether no row of the parent is copied at all. */
  readonly whole: boolean;
};

export type CopiedRows = {
  /** The tables that are made. */
  readonly tables: readonly TableFacts[];
  /** Whether the key is made, by its OID. */
  readonly isKept: (key: number) => boolean;
  /** Which rows of a table of these columns are copied: all, those of an SQL condition, or none. */
  readonly rowsOf: (
    table: TableFacts,
    columns: readonly string[],
  ) => 'all' | 'none' | { readonly condition: string };
};

const keysQuery = `
  select k.oid, k.conname as name, k.conrelid as child, k.confrelid as parent,
    (select pg_catalog.json_agg(a.attname order by u.nth) from pg_catalog.unnest(k.conkey) with ordinality as u(attnum, nth)
      join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum)::text as child_columns,
    (select pg_catalog.json_agg(a.attname order by u.nth) from pg_catalog.unnest(k.confkey) with ordinality as u(attnum, nth)
      join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.attnum)::text as parent_columns,
    (select pg_catalog.json_agg(pg_catalog.format('operator(%s.%s)', n.nspname, o.oprname) order by u.nth)
      from pg_catalog.unnest(k.conpfeqop) with ordinality as u(oid, nth)
      join pg_catalog.pg_operator o on o.oid = u.oid
      join pg_catalog.pg_namespace n on n.oid = o.oprnamespace)::text as operators
  from pg_catalog.pg_constraint k
  where k.contype = 'f' and k.conparentid = 0 and k.convalidated
  order by k.oid`;

const treesQuery = `
  select w.oid as root, t.relid::pg_catalog.oid as leaf
  from pg_catalog.unnest($1::pg_catalog.oid[]) as w(oid)
  cross join pg_catalog.pg_partition_tree(w.oid) as t
  where t.isleaf`;

/** The keys between tables of `copied` that its rows do not keep. */
export async function fetchBrokenKeys(session: Session, copied: CopiedRows): Promise<BrokenKey[]> {
  const byOid = new Map(copied.tables.map((table) => [table.oid, table]));
  const leaves = await fetchLeaves(session, copied.tables);
  // One that is left out has no table here, and no rows.
  const leavesOf = (table: TableFacts) =>
    (leaves.get(table.oid) ?? [table.oid]).map((oid) => byOid.get(oid) ?? null);
  const list = (text: string | null | undefined) => JSON.parse(text ?? '[]') as string[];
  const broken: BrokenKey[] = [];
  for (const row of await session.query(keysQuery)) {
    const child = byOid.get(Number(row['child']));
    const parent = byOid.get(Number(row['parent']));
    if (child === undefined || parent === undefined || !copied.isKept(Number(row['oid']))) continue;
    const childColumns = list(row['child_columns']);
    const parentColumns = list(row['parent_columns']);
    const selects = (table: TableFacts, columns: readonly string[]) =>
      leavesOf(table).map((leaf) => selectOf(leaf, columns, copied));
    const parents = selects(parent, parentColumns);
    if (parents.every((select) => select.complete)) continue;
    const from = selects(child, childColumns).flatMap(({ sql }) => sql ?? []);
    if (from.length === 0) continue;
    const to = parents.flatMap(({ sql }) => sql ?? []);
    const operators = list(row['operators']);
    const same = childColumns.map((_, at) => `p.k${at} ${operators[at] ?? '='} c.k${at}`).join(' and ');
    const found =
      to.length === 0 ? 'true' : `not exists (select from (${to.join(' union all ')}) as p where ${same})`;
    const [held] = await session.query(
      `select exists (select from (${from.join(' union all ')}) as c
         where ${childColumns.map((_, at) => `c.k${at} is not null`).join(' and ')} and ${found}) as broken`,
      [],
      `could not look for rows of ${relationLabel(child)}`,
    );
    if (held?.['broken'] !== 't') continue;
    broken.push({ name: row['name'] ?? '', child, parent, whole: to.length === 0 });
  }
  return broken;
}

/** The rows of one table that are copied, as `k0, k1, …`; null: none. */
function selectOf(
  table: TableFacts | null,
  columns: readonly string[],
  { rowsOf }: CopiedRows,
): { readonly sql: string | null; readonly complete: boolean } {
  const rows = table === null ? 'none' : rowsOf(table, columns);
  if (table === null || rows === 'none') return { sql: null, complete: false };
  const names = columns.map((name, at) => `${quoteIdentifier(name)} as k${at}`).join(', ');
  const where = rows === 'all' ? '' : ` where ${rows.condition}`;
  return {
    sql: `select ${names} from only ${quoteQualified(table.schema, table.name)}${where}`,
    complete: rows === 'all',
  };
}

/** The tables with rows below partitioned ones, by the OID of these. */
async function fetchLeaves(session: Session, tables: readonly TableFacts[]): Promise<Map<number, number[]>> {
  const roots = tables.filter(({ kind }) => kind === 'partitioned').map(({ oid }) => oid);
  const leaves = new Map<number, number[]>();
  if (roots.length === 0) return leaves;
  for (const row of await session.query(treesQuery, [`{${roots.join(',')}}`])) {
    const root = Number(row['root']);
    leaves.set(root, [...(leaves.get(root) ?? []), Number(row['leaf'])]);
  }
  return leaves;
}
