/** The indexes and constraints that a clone has built, one by one: what summary.json tells of each table. */
import type { Catalog } from '../catalog/database.js';
import { loadTasks } from '../catalog/tasks.js';
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

/** By table OID; empty where the work directory does not hold the schema (any more). */
export async function loadBuiltObjects(catalog: Catalog): Promise<Map<number, BuiltObjects>> {
  const file = await loadSchemaFile(catalog.directory);
  const byTable = new Map<number, { indexes: BuiltObject[]; constraints: BuiltObject[] }>();
  if (file === null) return byTable;
  const tasks = loadTasks(catalog);
  const indexMs = new Map(
    tasks.filter(({ kind }) => kind === 'index').map(({ name, durationMs }) => [name, durationMs]),
  );
  const constraintMs = new Map(
    tasks
      .filter(({ kind }) => kind === 'constraint')
      .map(({ relationOid, durationMs }) => [relationOid, durationMs]),
  );
  const perTable = countConstraints(file.schema.indexes);
  for (const index of file.schema.indexes) {
    const { oid, schema, name, tableOid, definition, constraint } = index;
    let built = byTable.get(tableOid);
    if (built === undefined) byTable.set(tableOid, (built = { indexes: [], constraints: [] }));
    const durationMs = indexMs.get(`index ${quoteQualified(schema, name)}`);
    if (durationMs !== undefined) {
      built.indexes.push({ oid, schema, name, sql: definition ?? '', durationMs });
    }
    const togetherMs = constraintMs.get(tableOid);
    if (constraint !== null && togetherMs !== undefined) {
      built.constraints.push({
        oid: constraint.oid,
        schema,
        name: constraint.name,
        sql: constraint.definition ?? '',
        // A table's constraints are added one after the other in one step: each is told an equal share of it.
        durationMs: Math.round(togetherMs / (perTable.get(tableOid) ?? 1)),
      });
    }
  }
  return byTable;
}

function countConstraints(indexes: readonly IndexFacts[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { tableOid, constraint } of indexes) {
    if (constraint !== null) counts.set(tableOid, (counts.get(tableOid) ?? 0) + 1);
  }
  return counts;
}
