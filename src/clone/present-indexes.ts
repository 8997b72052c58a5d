/** What an earlier run, or somebody else, has built on the target already. */
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';

/** Indexes and constraints on the target, by qualified and quoted names. */
export type PresentIndexes = {
  readonly indexes: ReadonlySet<string>;
  /** `"schema"."table"."constraint"`. */
  readonly constraints: ReadonlySet<string>;
};

const indexesQuery = `
  select n.nspname as schema, c.relname as name
  from pg_catalog.pg_index i
  join pg_catalog.pg_class c on c.oid = i.indexrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where i.indisvalid and n.nspname !~ '^pg_'`;

const constraintsQuery = `
  select n.nspname as schema, c.relname as table, k.conname as name
  from pg_catalog.pg_constraint k
  join pg_catalog.pg_class c on c.oid = k.conrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname !~ '^pg_'`;

/** Looks up what an earlier run has built. */
export async function fetchPresentIndexes(target: Session): Promise<PresentIndexes> {
  const indexes = await target.query(indexesQuery);
  const constraints = await target.query(constraintsQuery);
  return {
    indexes: new Set(indexes.map((row) => quoteQualified(row['schema'] ?? '', row['name'] ?? ''))),
    constraints: new Set(
      constraints.map((row) =>
        constraintName(quoteQualified(row['schema'] ?? '', row['table'] ?? ''), row['name'] ?? ''),
      ),
    ),
  };
}

/** `"schema"."table"."constraint"`. */
export function constraintName(table: string, name: string): string {
  return `${table}.${quoteIdentifier(name)}`;
}
