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
  const unreadable = tables.filter((table) => !table.readable).map(relationLabel);
  const filtered = tables.filter((table) => table.readable && table.filtered).map(relationLabel);
  if (unreadable.length > 0) {
    throw new Failure('source-rights', `source: our role may not read ${listLabels(unreadable)}`, {
      remedy: `grant select on ${unreadable[0] ?? ''} to ${to}; … or for all tables: grant pg_read_all_data to ${to};`,
    });
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

const labelsShown = 10;

/** The first labels of a list that may be long. Pure. */
export function listLabels(labels: readonly string[]): string {
  const shown = labels.slice(0, labelsShown).join(', ');
  return labels.length <= labelsShown ? shown : `${shown} and ${labels.length - labelsShown} more`;
}
