/**
 * Everything that a schema is made of, as one list: each object with its properties as text. One catalog query per
 * kind of object, whatever the number of objects. Definitions are printed by the server, with every name in full,
 * since search_path is empty.
 *
 * Not listed: what belongs to extensions (they are compared by version), to the system or to walferry; what Postgres
 * makes by itself (row types, array types, TOAST, indexes of constraints, triggers of foreign keys, constraints that
 * partitions inherit); publications and subscriptions.
 */
import type { Session } from '../postgres/connect.js';
import { relationFacts } from './schema-relations.js';
import type { ObjectKind, ObjectScope, SchemaObject } from './schema-objects.js';
import { otherFacts } from './schema-others.js';
import { query } from './schema-query.js';
import { rareFacts } from './schema-rare.js';

/** One query per kind of object, the same for every version from 14 to 18. */
function objectQueries(scope: ObjectScope): string[] {
  return [...otherFacts(), ...rareFacts(scope), ...relationFacts(scope)].map((facts) => query(facts, scope));
}

// One statement reads this many sequences.
const sequencesAtOnce = 500;

/** All objects of a side, in its open transaction. */
export async function fetchSchemaObjects(session: Session, scope: ObjectScope): Promise<SchemaObject[]> {
  const objects: SchemaObject[] = [];
  for (const sql of objectQueries(scope)) {
    const rows = await session.query(sql, [], `reading the schema of the ${session.side} failed`);
    for (const row of rows) {
      const { columns: own, ...properties } = JSON.parse(row['properties'] ?? '{}') as Record<
        string,
        unknown
      > & {
        readonly columns?: Record<string, string> | null;
      };
      objects.push({
        kind: row['kind'] as ObjectKind,
        classOid: Number(row['class_oid']),
        oid: Number(row['oid']),
        schema: row['schema'] ?? null,
        identity: row['identity'] ?? '',
        properties: { ...(properties as Record<string, string | null>), ...own },
      });
    }
  }
  return scope.sequenceValues ? await withSequenceValues(session, objects) : objects;
}

async function withSequenceValues(
  session: Session,
  objects: readonly SchemaObject[],
): Promise<SchemaObject[]> {
  const sequences = objects.filter(({ kind }) => kind === 'sequence');
  const values = new Map<string, string>();
  for (let from = 0; from < sequences.length; from += sequencesAtOnce) {
    const selects = sequences
      .slice(from, from + sequencesAtOnce)
      .map(
        ({ identity, oid }) =>
          `select ${oid}::pg_catalog.oid as oid, last_value::text, is_called::text from ${identity}`,
      );
    for (const row of await session.query(selects.join(' union all '), [], 'could not read the sequences')) {
      values.set(
        row['oid'] ?? '',
        `${row['last_value']}${row['is_called'] === 'true' ? '' : ' (not called)'}`,
      );
    }
  }
  return objects.map((object) =>
    object.kind === 'sequence'
      ? { ...object, properties: { ...object.properties, value: values.get(String(object.oid)) ?? null } }
      : object,
  );
}
