/**
 * Foreign keys of a copy in parts: rows that are published may point at rows that are not. The key would fail after the
 * last row, so it is said before the first.
 */
import { Failure } from '../failure.js';
import { partsByName } from '../model/published-part.js';
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { SourceSchema, TableFacts } from '../postgres/schema.js';

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
  where k.contype = 'f' and k.conparentid = 0 and k.convalidated and k.oid = any ($1::pg_catalog.oid[])
  order by k.oid`;

const treesQuery = `
  select w.oid as root, t.relid as leaf
  from pg_catalog.unnest($1::pg_catalog.oid[]) as w(oid)
  cross join pg_catalog.pg_partition_tree(w.oid) as t
  where t.isleaf`;

/**
 * Throws `filter-mismatch` with the foreign keys that cannot hold on the target, as the rows are in the session's
 * snapshot. Only keys to tables of which a part is copied are looked at.
 */
export async function expectKeysHoldInParts(session: Session, schema: SourceSchema): Promise<void> {
  const { parts = [], foreignKeys, tables } = schema;
  if (parts.length === 0 || foreignKeys.length === 0) return;
  const partOf = partsByName(parts);
  const byOid = new Map(tables.map((table) => [table.oid, table]));
  const keys = await session.query(keysQuery, [`{${foreignKeys.map(({ oid }) => oid).join(',')}}`]);
  const leaves = await fetchLeaves(session, tables);
  const leavesOf = (table: TableFacts) =>
    (leaves.get(table.oid) ?? [table.oid]).flatMap((oid) => byOid.get(oid) ?? []);
  const list = (text: string | null | undefined) => JSON.parse(text ?? '[]') as string[];
  const broken: string[] = [];
  for (const row of keys) {
    const child = byOid.get(Number(row['child']));
    const parent = byOid.get(Number(row['parent']));
    if (child === undefined || parent === undefined) continue;
    const childColumns = list(row['child_columns']);
    const parentColumns = list(row['parent_columns']);
    const moves = (table: TableFacts, columns: readonly string[]) => {
      const moved = partOf(table)?.columns ?? null;
      return moved === null || columns.every((name) => moved.includes(name));
    };
    // A column that is not moved holds no reference.
    const children = leavesOf(child).filter((leaf) => moves(leaf, childColumns));
    const parents = leavesOf(parent);
    if (parents.every((leaf) => moves(leaf, parentColumns) && (partOf(leaf)?.rowFilter ?? null) === null))
      continue;
    if (children.length === 0) continue;
    const rows = (all: readonly TableFacts[], columns: readonly string[]) =>
      all.map((leaf) => {
        const filter = partOf(leaf)?.rowFilter ?? null;
        const names = columns.map((name, at) => `${quoteIdentifier(name)} as k${at}`).join(', ');
        return `select ${names} from only ${quoteQualified(leaf.schema, leaf.name)}${filter === null ? '' : ` where ${filter}`}`;
      });
    const to = rows(
      parents.filter((leaf) => moves(leaf, parentColumns)),
      parentColumns,
    );
    const operators = list(row['operators']);
    const same = childColumns.map((_, at) => `p.k${at} ${operators[at] ?? '='} c.k${at}`).join(' and ');
    const found =
      to.length === 0 ? 'true' : `not exists (select from (${to.join(' union all ')}) as p where ${same})`;
    const [held] = await session.query(
      `select exists (select from (${rows(children, childColumns).join(' union all ')}) as c
         where ${childColumns.map((_, at) => `c.k${at} is not null`).join(' and ')} and ${found}) as broken`,
      [],
      `could not look for rows of ${relationLabel(child)}`,
    );
    if (held?.['broken'] !== 't') continue;
    broken.push(
      `foreign key ${row['name']} of ${relationLabel(child)} cannot hold: rows that are published point at rows of ${relationLabel(parent)} that are not`,
    );
  }
  if (broken.length === 0) return;
  throw new Failure(
    'filter-mismatch',
    ['the publication does not carry all that foreign keys need', ...broken].join('\n'),
    { remedy: 'Have its owner publish these rows too, or filter the tables that point at them alike.' },
  );
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
