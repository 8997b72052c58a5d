/** The indexes and constraints that a clone has built, one by one: what summary.json tells of each table. */
import type { Catalog } from '../catalog/database.js';
import { loadDurations, sumTasksByRelation } from '../catalog/tasks.js';
import { quoteQualified } from '../model/sql.js';
import type { IndexFacts } from '../postgres/schema.js';
import { loadSchemaFile } from './schema-file.js';

export type BuiltObject = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly sql: string;
  readonly durationMs: number;
};

export type BuiltObjects = {
  readonly indexes: readonly BuiltObject[];
  readonly constraints: readonly BuiltObject[];
};

/** What was built for a table, by its OID. */
export type BuiltFor = (tableOid: number) => BuiltObjects;

/**
 * Of each table when it is asked for; nothing where the work directory does not hold the schema (any more). `known`:
 * the source's indexes, where the caller has them; they are read from the work directory otherwise.
 */
export async function loadBuiltObjects(
  catalog: Catalog,
  known: readonly IndexFacts[] | null,
): Promise<BuiltFor> {
  const facts = known ?? (await loadSchemaFile(catalog.directory))?.schema.indexes ?? [];
  const indexMs = loadDurations(catalog, 'index');
  const constraintMs = sumTasksByRelation(catalog, 'constraint');
  const byTable = new Map<number, IndexFacts[]>();
  for (const index of facts) {
    const others = byTable.get(index.tableOid);
    if (others === undefined) byTable.set(index.tableOid, [index]);
    else others.push(index);
  }
  return (tableOid) =>
    builtObjects(byTable.get(tableOid) ?? [], {
      indexMs,
      constraintsMs: constraintMs.get(tableOid)?.durationMs,
    });
}

type Durations = {
  readonly indexMs: ReadonlyMap<string, number>;
  /** Of all constraints of the table together; absent where none were added. */
  readonly constraintsMs: number | undefined;
};

function builtObjects(facts: readonly IndexFacts[], { indexMs, constraintsMs }: Durations): BuiltObjects {
  const indexes: BuiltObject[] = [];
  const constraints: BuiltObject[] = [];
  const count = facts.filter(({ constraint }) => constraint !== null).length;
  for (const { oid, schema, name, definition, constraint } of facts) {
    const durationMs = indexMs.get(`index ${quoteQualified(schema, name)}`);
    if (durationMs !== undefined) {
      indexes.push({ oid, schema, name, sql: definition ?? '', durationMs });
    }
    if (constraint !== null && constraintsMs !== undefined) {
      constraints.push({
        oid: constraint.oid,
        schema,
        name: constraint.name,
        sql: constraint.definition ?? '',
        // A table's constraints are added one after the other in one step: each is told an equal share of it.
        durationMs: Math.round(constraintsMs / count),
      });
    }
  }
  return { indexes, constraints };
}
