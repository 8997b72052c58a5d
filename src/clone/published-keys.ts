/** Foreign keys of a copy in parts: rows that are published may point at rows that are not. */
import { Failure } from '../failure.js';
import { partsByName } from '../model/published-part.js';
import { relationLabel } from '../model/relation.js';
import type { Session } from '../postgres/connect.js';
import type { SourceSchema } from '../postgres/schema.js';
import { fetchBrokenKeys } from './held-keys.js';

/**
 * Throws `filter-mismatch` with the foreign keys that cannot hold on the target, as the rows are in the session's
 * snapshot. Tables of which the publication carries nothing are copied whole.
 */
export async function expectKeysHoldInParts(session: Session, schema: SourceSchema): Promise<void> {
  const { parts = [], foreignKeys, tables } = schema;
  if (parts.length === 0 || foreignKeys.length === 0) return;
  const partOf = partsByName(parts);
  const kept = new Set(foreignKeys.map(({ oid }) => oid));
  const broken = await fetchBrokenKeys(session, {
    tables,
    isKept: (oid) => kept.has(oid),
    rowsOf: (table, columns) => {
      const { columns: moved = null, rowFilter = null } = partOf(table) ?? {};
      // A column that is not moved holds no reference, and is none.
      if (moved !== null && !columns.every((name) => moved.includes(name))) return 'none';
      return rowFilter === null ? 'all' : { condition: rowFilter };
    },
  });
  if (broken.length === 0) return;
  const lines = broken.map(
    ({ name, child, parent }) =>
      `foreign key ${name} of ${relationLabel(child)} cannot hold: rows that are published point at rows of ${relationLabel(parent)} that are not`,
  );
  throw new Failure(
    'filter-mismatch',
    ['the publication does not carry all that foreign keys need', ...lines].join('\n'),
    { remedy: 'Have its owner publish these rows too, or filter the tables that point at them alike.' },
  );
}
