/**
 * What a clone asks of the source's tables and of the target before it makes anything: asked by the clone itself, and
 * by `check` for whoever wants to know beforehand.
 */
import { Failure } from '../failure.js';
import { relationLabel } from '../model/relation.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { TableFacts } from '../postgres/schema.js';

/** All that our role could not read is told at once, before anything is copied. Throws `source-rights`. */
export function expectReadable(
  relations: readonly Pick<TableFacts, 'schema' | 'name' | 'kind' | 'readable' | 'filtered'>[],
  role: string,
): void {
  const to = quoteIdentifier(role);
  const tables = relations.filter((table) => table.kind === 'table');
  // Partitioned ones too, which have no rows to be copied: pg_dump locks them, and for that one has to be let read.
  const unreadable = relations.filter((table) => !table.readable);
  const [first] = unreadable;
  const filtered = tables.filter((table) => table.readable && table.filtered).map(relationLabel);
  if (first !== undefined) {
    throw new Failure(
      'source-rights',
      `source: our role may not read ${listLabels(unreadable.map(relationLabel))}`,
      {
        remedy: `grant usage on schema ${quoteIdentifier(first.schema)} to ${to}; grant select on ${relationLabel(first)} to ${to}; … or for all tables: grant pg_read_all_data to ${to};`,
      },
    );
  }
  if (filtered.length > 0) {
    throw new Failure(
      'source-rights',
      `source: row security hides rows of ${listLabels(filtered)} from our role`,
      {
        remedy: `Use a role that sees all rows: alter role ${to} bypassrls; or the tables' owner, after: alter table … no force row level security;`,
      },
    );
  }
}

const halfDetachedQuery = `
  select c.oid, n.nspname as schema, c.relname as name, pn.nspname as parent_schema, p.relname as parent
  from pg_catalog.pg_inherits h
  join pg_catalog.pg_class c on c.oid = h.inhrelid and c.relkind in ('r', 'p')
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_class p on p.oid = h.inhparent
  join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
  -- Since 14.
  where pg_catalog.to_jsonb(h) ->> 'inhdetachpending' = 'true'
  order by 2, 3`;

/**
 * What DETACH PARTITION CONCURRENTLY has left half-way is no part of its parent for any query, and pg_dump attaches it: the
 * target's parent would show rows that the source's does not. Throws `source-setup`.
 */
export async function expectNoneHalfDetached(
  source: Session,
  tables: readonly Pick<TableFacts, 'oid'>[],
): Promise<void> {
  const kept = new Set(tables.map(({ oid }) => oid));
  const rows = (await source.query(halfDetachedQuery)).filter((row) => kept.has(Number(row['oid'])));
  const [first] = rows;
  if (first === undefined) return;
  const labels = rows.map((row) => relationLabel({ schema: row['schema'] ?? '', name: row['name'] ?? '' }));
  const parent = quoteQualified(first['parent_schema'] ?? '', first['parent'] ?? '');
  const partition = quoteQualified(first['schema'] ?? '', first['name'] ?? '');
  throw new Failure(
    'source-setup',
    `source: a DETACH PARTITION CONCURRENTLY was interrupted, and the target would have as attached what the source has not any more: ${listLabels(labels)}`,
    { remedy: `On the source: alter table ${parent} detach partition ${partition} finalize;` },
  );
}

type TableName = { readonly schema: string; readonly name: string };

// Whatever takes the name: a table, a view, a sequence, an index.
const takenQuery = `
  select t.position, c.relkind as kind
  from pg_catalog.json_array_elements_text($1::json) with ordinality as t(name, position)
  join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(t.name)
  order by t.position`;

/** The target's relations that have the names of these tables. */
export async function fetchTaken<Table extends TableName>(
  target: Session,
  tables: readonly Table[],
): Promise<{ readonly table: Table; readonly isTable: boolean }[]> {
  const names = tables.map(({ schema, name }) => quoteQualified(schema, name));
  const rows = await target.query(takenQuery, [JSON.stringify(names)]);
  return rows.flatMap((row) => {
    const table = tables[Number(row['position']) - 1];
    return table === undefined ? [] : [{ table, isTable: 'rp'.includes(row['kind'] ?? '') }];
  });
}

/**
 * Dropping was not asked for, and the target is fresh or it is not for us. Throws `target-not-empty`.
 */
export async function expectNoTables(target: Session, tables: readonly TableName[]): Promise<void> {
  const taken = await fetchTaken(target, tables);
  if (taken.length === 0) return;
  throw new Failure(
    'target-not-empty',
    `the target has ${taken.length} of the source's tables already: ${listLabels(taken.map(({ table }) => relationLabel(table)))}`,
    { remedy: 'Choose another target, or drop these tables and what depends on them with --drop-if-exists.' },
  );
}

// Of an index also whose it is.
const namedQuery = `
  select w.position, c.relkind as kind, n.nspname as schema, t.relname as table
  from pg_catalog.json_array_elements_text($1::json) with ordinality as w(name, position)
  join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(w.name)
  left join pg_catalog.pg_index i on i.indexrelid = c.oid
  left join pg_catalog.pg_class t on t.oid = i.indrelid
  left join pg_catalog.pg_namespace n on n.oid = t.relnamespace
  order by w.position`;

/**
 * What has an index's name would be found when all rows are copied. Indexes of these tables are left out: the tables are
 * not there, or are dropped first. Throws `target-not-empty`.
 */
export async function expectIndexNames(
  target: Session,
  indexes: readonly TableName[],
  tables: readonly TableName[],
): Promise<void> {
  const own = new Set(tables.map(({ schema, name }) => quoteQualified(schema, name)));
  const names = indexes.map(({ schema, name }) => quoteQualified(schema, name));
  const taken: string[] = [];
  for (const row of await target.query(namedQuery, [JSON.stringify(names)])) {
    const index = indexes[Number(row['position']) - 1];
    const of = { schema: row['schema'] ?? '', name: row['table'] ?? '' };
    if (index === undefined || own.has(quoteQualified(of.schema, of.name))) continue;
    const words =
      row['table'] === null ? relationWords(row['kind'] ?? '') : `an index of ${relationLabel(of)}`;
    taken.push(`${relationLabel(index)} is ${words}`);
  }
  if (taken.length === 0) return;
  throw new Failure(
    'target-not-empty',
    `the target has other objects of the names of ${taken.length} of the source's indexes: ${listLabels(taken)}`,
    { remedy: 'Drop or rename them, or choose another target.' },
  );
}

/** What a relation is that has the name of another one: pg_class.relkind in words. Pure. */
export function relationWords(kind: string): string {
  switch (kind) {
    case 'r':
    case 'p':
      return 'a table';
    case 'v':
      return 'a view';
    case 'm':
      return 'a materialized view';
    case 'S':
      return 'a sequence';
    case 'f':
      return 'a foreign table';
    default:
      return 'a type';
  }
}

const labelsShown = 10;

/** The first labels of a list that may be long. Pure. */
export function listLabels(labels: readonly string[]): string {
  const shown = labels.slice(0, labelsShown).join(', ');
  return labels.length <= labelsShown ? shown : `${shown} and ${labels.length - labelsShown} more`;
}
