/**
 * From the rules of a filter file to the decisions for one source: what to ask, and what cannot be. The rooms above
 * hand in the questions, since this one knows no server.
 */
import { Failure } from '../failure.js';
import type {
  CatalogObject,
  Dependency,
  FilterFacts,
  FilterRule,
  FilterSection,
  ObjectName,
} from '../model/object-filter.js';
import { relationLabel } from '../model/relation.js';
import { decideObjects, type ObjectFilter } from './decide.js';
import type { FilterFile } from './parse.js';
import { chooseRoots } from './select.js';

/** Questions to the source, all answered from the same moment. */
export interface FilterQueries {
  facts(rules: readonly FilterRule[]): Promise<FilterFacts>;
  /** Everything that depends on these, over any number of links. */
  dependencies(objects: readonly CatalogObject[]): Promise<readonly Dependency[]>;
  names(objects: readonly CatalogObject[]): Promise<readonly ObjectName[]>;
}

export type ResolvedFilter = {
  readonly filter: ObjectFilter;
  /** Worth knowing and no reason to stop: what an exclude section names and the source does not have. */
  readonly remarks: readonly string[];
};

/**
 * Decides for the source. Throws `filter-mismatch` with everything that the file demands and the source cannot give,
 * and `usage` for patterns that the server does not understand.
 */
export async function resolveFilter(file: FilterFile, queries: FilterQueries): Promise<ResolvedFilter> {
  let facts: FilterFacts;
  try {
    facts = await queries.facts(file.rules);
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'usage') throw error;
    throw new Failure('usage', `the filters of ${file.file} cannot be used\n${error.message}`, {
      cause: error,
    });
  }
  const { missing, remarks } = judgeMatches(file, facts);
  if (missing.length > 0) throw mismatch(file, missing);
  const roots = chooseRoots(file.rules, facts);
  const filter = decideObjects(
    file.rules,
    facts,
    await queries.dependencies([...roots.objects, ...roots.withoutRows]),
  );
  const contradictions = filter.contradictions();
  const names = await queries.names(contradictions.map(({ object }) => object));
  const impossible = [
    ...contradictions.map(
      ({ rule }, index) =>
        `${names[index]?.type} ${names[index]?.identity} stays, and cannot be made: a default or CHECK constraint of it is left out by ${rule}`,
    ),
    ...filter
      .lostTables()
      .map(({ table, rule }) => `${relationLabel(table)} is to be copied, and cannot be made: it ${rule}`),
  ];
  if (impossible.length > 0) throw mismatch(file, impossible);
  return { filter, remarks };
}

function mismatch(file: FilterFile, problems: readonly string[]): Failure {
  return new Failure(
    'filter-mismatch',
    [`the filters of ${file.file} do not fit the source`, ...problems].join('\n'),
  );
}

const kinds: Readonly<Record<FilterSection, 'schema' | 'table' | 'index' | 'extension'>> = {
  'include-only-schema': 'schema',
  'exclude-schema': 'schema',
  'include-only-table': 'table',
  'exclude-table': 'table',
  'exclude-table-data': 'table',
  'exclude-index': 'index',
  'include-only-extension': 'extension',
  'exclude-extension': 'extension',
};

/**
 * What the source does not have. To include what is not there is a mistake: the copy would lack what somebody counts
 * on. To exclude it does no harm.
 */
export function judgeMatches(
  file: FilterFile,
  facts: FilterFacts,
): { readonly missing: string[]; readonly remarks: string[] } {
  const missing: string[] = [];
  const remarks: string[] = [];
  for (const [position, rule] of file.rules.entries()) {
    if ((facts.matches.get(position) ?? []).length > 0) continue;
    const kind = kinds[rule.section];
    const exact = rule.schema?.kind !== 'pattern' && rule.name?.kind !== 'pattern';
    const words = exact
      ? `line ${rule.line}, [${rule.section}]: the source has no ${kind} ${nameOf(rule)}${hint(rule, facts)}`
      : `line ${rule.line}, [${rule.section}]: no ${kind} of the source matches ${rule.entry}`;
    const including = rule.section.startsWith('include-only');
    if (including && (exact || matchesNothing(rule.section, file, facts))) missing.push(words);
    else remarks.push(words);
  }
  return { missing, remarks };
}

function matchesNothing(section: FilterSection, file: FilterFile, facts: FilterFacts): boolean {
  return file.rules.every(
    (rule, position) => rule.section !== section || (facts.matches.get(position) ?? []).length === 0,
  );
}

function nameOf({ schema, name }: FilterRule): string {
  const text = (match: FilterRule['name']) => (match?.kind === 'exact' ? match.name : '');
  if (schema === null) return quoted(text(name));
  return name === null ? quoted(text(schema)) : relationLabel({ schema: text(schema), name: text(name) });
}

function quoted(name: string): string {
  return relationLabel({ schema: name, name: 'x' }).slice(0, -2);
}

/** The same name in another case, where there is one. */
function hint(rule: FilterRule, facts: FilterFacts): string {
  const wanted = nameOf(rule).replaceAll('"', '').toLowerCase();
  const names =
    rule.schema === null
      ? facts.extensions.map(({ name }) => quoted(name))
      : rule.name === null
        ? facts.schemas.map(({ name }) => quoted(name))
        : facts.relations.map(relationLabel);
  const alike = names.find((name) => name.replaceAll('"', '').toLowerCase() === wanted);
  if (alike !== undefined) return `; it has ${alike} (names are case sensitive; write them in double quotes)`;
  return '';
}
