/**
 * What differs between the objects of two schemas. Pure.
 *
 * Every object of the source must be on the target with equal properties, and the target must have no other ones: an
 * extra trigger, constraint or unique index changes what the application may do.
 *
 * Servers of different major versions print some definitions in other words. Where the versions differ, definitions
 * are compared in a normal form:
 *   1 white space between words does not count
 *   2 a view of one relation: since 16 its columns are printed without the relation's name
 *
 * Where one server is older than 17, MAINTAIN counts as part of all rights: GRANT ALL on the one gives it, on the other
 * there is none. See {@link sameRights}.
 *
 * And an extension may there be of another version, when that is the one that the target's server makes: nobody can
 * create the source's. {@link newerExtensions} names them.
 */
import { Failure } from '../failure.js';
import { objectKinds, offeredVersion, type ObjectKind, type SchemaObject } from './schema-objects.js';

/** A property that differs; null where a side does not have it. */
export type PropertyDifference = {
  readonly name: string;
  readonly source: string | null;
  readonly target: string | null;
};

export type ObjectDifference = {
  readonly kind: ObjectKind;
  readonly identity: string;
  /** `missing` on the target, `extra` there, or `different`, with what differs. */
  readonly difference: 'missing' | 'extra' | 'different';
  readonly properties: readonly PropertyDifference[];
};

export type SchemaComparison = {
  /** The source database's name. */
  readonly database: string;
  /** How many objects of each kind the sides have; kinds that neither has are left out. */
  readonly counts: readonly { readonly kind: ObjectKind; readonly source: number; readonly target: number }[];
  /** By kind, then by name. */
  readonly differences: readonly ObjectDifference[];
};

/** Major versions of both servers. */
export type Majors = { readonly source: number; readonly target: number };

/** Compares the objects of both sides. */
export function diffObjects(
  source: readonly SchemaObject[],
  target: readonly SchemaObject[],
  majors: Majors,
): ObjectDifference[] {
  const [bySource, byTarget] = [byName(source), byName(target)];
  const differences: ObjectDifference[] = [];
  for (const [name, object] of bySource) {
    const { kind, identity } = object;
    const other = byTarget.get(name);
    if (other === undefined) {
      differences.push({ kind, identity, difference: 'missing', properties: [] });
      continue;
    }
    const properties = diffProperties(object, other, majors);
    if (properties.length > 0) differences.push({ kind, identity, difference: 'different', properties });
  }
  for (const [name, { kind, identity }] of byTarget) {
    if (!bySource.has(name)) differences.push({ kind, identity, difference: 'extra', properties: [] });
  }
  const place = (kind: ObjectKind) => objectKinds.indexOf(kind);
  return differences.toSorted(
    (a, b) =>
      place(a.kind) - place(b.kind) || (a.identity < b.identity ? -1 : a.identity > b.identity ? 1 : 0),
  );
}

/** How many objects of each kind there are. */
export function countObjects(
  source: readonly SchemaObject[],
  target: readonly SchemaObject[],
): SchemaComparison['counts'] {
  const count = (objects: readonly SchemaObject[], kind: ObjectKind) =>
    objects.filter((object) => object.kind === kind).length;
  return objectKinds
    .map((kind) => ({ kind, source: count(source, kind), target: count(target, kind) }))
    .filter((one) => one.source > 0 || one.target > 0);
}

function diffProperties(source: SchemaObject, target: SchemaObject, majors: Majors): PropertyDifference[] {
  const names = [...new Set([...Object.keys(source.properties), ...Object.keys(target.properties)])];
  const differing = names.flatMap((name): PropertyDifference[] => {
    const [one, other] = [source.properties[name] ?? null, target.properties[name] ?? null];
    const equal =
      one === other ||
      name === offeredVersion ||
      (name === 'version' && isOffered(source, target, majors)) ||
      (name === 'privileges' && sameRights(one ?? '', other ?? '', majors)) ||
      (one !== null && other !== null && sameText(source.kind, one, other, majors));
    return equal ? [] : [{ name, source: one, target: other }];
  });
  // The order says nothing new where the columns themselves are not the same.
  const others = differing.some(
    ({ name, source: one, target: other }) => name.startsWith('column ') && (one === null || other === null),
  );
  return differing.filter(({ name }) => name !== 'column order' || !others);
}

/** Whether the target has an extension as its server makes it, and the source's server is of another major version. */
function isOffered({ kind }: SchemaObject, target: SchemaObject, majors: Majors): boolean {
  const { version, [offeredVersion]: offered } = target.properties;
  return kind === 'extension' && majors.source !== majors.target && version === offered;
}

/** Extensions of another version on the target that are no difference: `hstore 1.7 → 1.8`. */
export function newerExtensions(
  source: readonly SchemaObject[],
  target: readonly SchemaObject[],
  majors: Majors,
): string[] {
  const byTarget = byName(target);
  return [...byName(source)].flatMap(([name, object]) => {
    const other = byTarget.get(name);
    const [from, to] = [object.properties['version'], other?.properties['version']];
    if (other === undefined || from === to || !isOffered(object, other, majors)) return [];
    return [`${object.identity} ${from} → ${to}`];
  });
}

/** Whether two definitions that are not the same text say the same, as servers of these versions print them. */
export function sameText(kind: ObjectKind, source: string, target: string, majors: Majors): boolean {
  if (majors.source === majors.target) return false;
  const [one, other] = [squeeze(source), squeeze(target)];
  if (one === other) return true; // 1
  const bare = 16;
  const crosses = majors.source < bare !== majors.target < bare;
  if (!crosses || (kind !== 'view' && kind !== 'materialized view')) return false;
  const [older, newer] = majors.source < bare ? [one, other] : [other, one];
  const relation = onlyRelation(older);
  return relation !== null && older.replaceAll(`${relation}.`, '') === newer.replaceAll(`${relation}.`, ''); // 2
}

const allBefore17 = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'];

/**
 * Whether rights differ only in MAINTAIN, of roles who have all the others: pg_dump writes those as ALL. Any other role's
 * MAINTAIN was granted, or is the owner's and was revoked with the rest, so that he may not VACUUM: a difference.
 */
export function sameRights(source: string, target: string, majors: Majors): boolean {
  const withMaintain = 17;
  if (majors.source < withMaintain === majors.target < withMaintain) return false;
  const [older, newer] = majors.source < withMaintain ? [source, target] : [target, source];
  const given = new Set(older.split(', '));
  const isPartOfAll = (word: string) => {
    const [, role, option] = /^(.*)=MAINTAIN(\*?)$/s.exec(word) ?? [];
    return role !== undefined && allBefore17.every((right) => given.has(`${role}=${right}${option}`));
  };
  const rest = newer.split(', ').filter((word) => !isPartOfAll(word));
  return rest.join(', ') === older;
}

/** White space outside of quotes, as one blank each, and none beside brackets. */
function squeeze(text: string): string {
  return text
    .split(/('(?:[^']|'')*'|"(?:[^"]|"")*")/)
    .map((part, at) => (at % 2 === 1 ? part : part.replaceAll(/\s+/g, ' ').replaceAll(/ ?([()]) ?/g, '$1')))
    .join('')
    .trim();
}

/** The name by which a view of one relation calls it; null for a join, a subquery or a union. */
function onlyRelation(view: string): string | null {
  const words = view.replaceAll(/'(?:[^']|'')*'/g, "''");
  if (/\b(?:JOIN|UNION|INTERSECT|EXCEPT|WITH)\b/.test(words) || words.split(/\bFROM\b/).length !== 2)
    return null;
  const name = String.raw`(?:"(?:[^"]|"")*"|[^\s".,;()]+)`;
  const match = new RegExp(String.raw`\bFROM (?:${name}\.)?(${name})(?: (${name}))?( |;|$)`).exec(words);
  if (match === null || words.slice(match.index).includes(',')) return null;
  const keyword = /^(?:WHERE|GROUP|ORDER|LIMIT|HAVING|WINDOW|OFFSET|FETCH|FOR)$/;
  const alias = match[2];
  return (alias === undefined || keyword.test(alias) ? match[1] : alias) ?? null;
}

function byName(objects: readonly SchemaObject[]): Map<string, SchemaObject> {
  return new Map(objects.map((object) => [`${object.kind} ${object.identity}`, object]));
}

/** `table public.t differs in column a, column b`. */
export function schemaSentence({ kind, identity, difference, properties }: ObjectDifference): string {
  const label = `${kind} ${identity}`;
  if (difference === 'missing') return `${label} is missing on the target`;
  if (difference === 'extra') return `${label} is on the target only`;
  return `${label} differs in ${properties.map(({ name }) => name).join(', ')}`;
}

/** So many objects are named in the failure; the rest is in the output. */
const namedObjects = 10;

/** The failure of comparisons (of one database, or of several) that found differences; null when there is none. */
export function schemasDiffer(...comparisons: readonly SchemaComparison[]): Failure | null {
  const label = ({ database }: SchemaComparison) => (comparisons.length === 1 ? '' : `${database}: `);
  const sentences = comparisons.flatMap((comparison) =>
    comparison.differences.map((difference) => `  ${label(comparison)}${schemaSentence(difference)}`),
  );
  if (sentences.length === 0) return null;
  const rest = sentences.length - namedObjects;
  return new Failure(
    'sides-differ',
    [
      `the schemas differ in ${sentences.length} ${sentences.length === 1 ? 'object' : 'objects'}:`,
      ...sentences.slice(0, namedObjects),
      ...(rest > 0 ? [`  and ${rest} more`] : []),
    ].join('\n'),
  );
}
