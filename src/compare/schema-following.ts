/**
 * The schema of a target that is not complete yet: what comes with the last change, and behind it, is left out of both
 * sides, so that what still differs is there to stay. Pure.
 */
import type { ObjectDifference } from './schema-difference.js';
import type { ObjectKind, SchemaObject } from './schema-objects.js';

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
      .map(withoutIdentity);
    return [{ ...object, properties: Object.fromEntries(left) }];
  });
}

function withoutIdentity([name, value]: [string, string | null]): [string, string | null] {
  return [name, name.startsWith('column ') ? (value?.replace(identity, '') ?? null) : value];
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

/**
 * The objects of a side beside a run that makes nothing on the target, but puts back what it has switched off there:
 * identities, and foreign keys, whose old rows may be checked later.
 */
export function whileOnlyFollowed(objects: readonly SchemaObject[]): SchemaObject[] {
  return whileValidating(objects).map((object) => ({
    ...object,
    properties: Object.fromEntries(Object.entries(object.properties).map(withoutIdentity)),
  }));
}

/** Where a trigger or a rule does not fire as it would, and what else is set by nobody but the end of a clone. */
const setByNobody: ReadonlySet<string> = new Set([...setLast, 'enabled']);

/**
 * Whether an object will lack on the target beside such a run, or do there what it should not, or not do what it should.
 * Other definitions may be meant so.
 */
export function staysMissing({ difference, properties }: ObjectDifference): boolean {
  return difference === 'missing' || properties.some(({ name }) => setByNobody.has(name));
}

/** An object that is switched off on the target, or dropped there, until the end position is reached. */
export type SwitchedOff = { readonly kind: ObjectKind; readonly identity: string };

/** `differences` but those that are there because something is off. */
export function butSwitchedOff(
  differences: readonly ObjectDifference[],
  off: readonly SwitchedOff[],
): ObjectDifference[] {
  const name = ({ kind, identity }: SwitchedOff) => `${kind} ${identity}`;
  const names = new Set(off.map(name));
  return differences.filter((one) => {
    if (!names.has(name(one))) return true;
    return one.difference === 'different' && one.properties.some((property) => property.name !== 'enabled');
  });
}
