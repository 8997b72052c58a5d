/** The parts of large tables, as a piece of the schema: it is kept, so that a resumed run has the same parts. */
import type { Session } from '../postgres/connect.js';
import type { SourceSchema } from '../postgres/schema.js';
import { fetchSplits, type SplitOptions } from '../postgres/table-splits.js';

/** The schema with its large tables split; as it is with null. The session is in the snapshot. */
export async function withSplits(
  source: Session,
  schema: SourceSchema,
  split: SplitOptions | null | undefined,
): Promise<SourceSchema> {
  if (split === null || split === undefined) return schema;
  // A table without columns has nothing that a query for a part of it could name.
  const tables = schema.tables.filter(
    ({ oid, kind }) => kind === 'table' && (schema.columns[oid] ?? []).some(({ generated }) => !generated),
  );
  return { ...schema, splits: await fetchSplits(source, tables, split) };
}
