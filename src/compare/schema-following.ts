/**
 * The schema of a target that is not complete yet: what comes with the last change, and behind it, is left out of both
 * sides, so that what still differs is there to stay. Pure.
 */
import type { SchemaObject } from './schema-objects.js';

/** Made behind the last change, or kept from firing until then. */
const madeLast: ReadonlySet<SchemaObject['kind']> = new Set(['trigger', 'rule', 'policy', 'event trigger']);
/** The same, of objects that are there before. */
const setLast: ReadonlySet<string> = new Set(['row security', 'populated', 'checks']);

const identity = / generated (?:always|by default) as identity/;
const notValid = / NOT VALID$/;

/** The objects of a side without what is missing from a target that follows. */
export function whileFollowing(objects: readonly SchemaObject[]): SchemaObject[] {
  const views = new Set(objects.flatMap((one) => (one.kind === 'materialized view' ? [one.identity] : [])));
  return objects.flatMap((object) => {
    const { kind, properties } = object;
    if (madeLast.has(kind)) return [];
    const definition = properties['definition'] ?? '';
    if (kind === 'constraint' && (definition.startsWith('FOREIGN KEY') || notValid.test(definition)))
      return [];
    if (kind === 'index' && isOnOneOf(views, definition)) return [];
    const left = Object.entries(properties)
      .filter(([name]) => !setLast.has(name))
      .map(([name, value]) => [
        name,
        name.startsWith('column ') ? (value?.replace(identity, '') ?? null) : value,
      ]);
    return [{ ...object, properties: Object.fromEntries(left) as SchemaObject['properties'] }];
  });
}

/** An index of a materialized view comes when the view is filled. */
function isOnOneOf(views: ReadonlySet<string>, definition: string): boolean {
  return [...views].some((view) => definition.includes(` ON ${view} USING `));
}

/** The objects of a side while foreign keys are there whose old rows are still checked. */
export function whileValidating(objects: readonly SchemaObject[]): SchemaObject[] {
  return objects.map((object) => {
    const definition = object.properties['definition'] ?? '';
    if (object.kind !== 'constraint' || !definition.startsWith('FOREIGN KEY')) return object;
    return { ...object, properties: { ...object.properties, definition: definition.replace(notValid, '') } };
  });
}
