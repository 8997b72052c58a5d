/**
 * The schemas of both sides around a cutover. Before the freeze: tables that could not be compared in the pause, since
 * the source has got them, or other columns, meanwhile. Behind the opening: whether the target has become what the
 * source is.
 */
import { loadProblems, refusedSqlFile } from '../clone/problems.js';
import { openComparison } from '../compare/opening.js';
import { differenceSentence, type PlannedTable } from '../compare/comparison.js';
import { compareSchema } from '../compare/schema.js';
import { loadComparedScope } from '../compare/scope.js';
import { schemaSentence, type ObjectDifference } from '../compare/schema-difference.js';
import { whileFollowing, whileValidating } from '../compare/schema-following.js';
import type { SchemaObject } from '../compare/schema-objects.js';
import { asFailure, throwIfStopped } from '../failure.js';
import type { Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import type { PublishedPart } from '../model/published-part.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { Check } from './checks.js';
import type { VerifyMode } from './choices.js';

export type SchemaWork = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  /** The work directory, which knows the filter. */
  readonly directory: string;
  readonly keeps: Keeps | null;
  readonly parts: readonly PublishedPart[];
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** The checks of both schemas while the target follows. */
export async function checkSchemas(work: SchemaWork, verify: VerifyMode): Promise<Check[]> {
  const unlike = await fetchUnlikeTables(work);
  try {
    return judgeSchemas(unlike, await fetchDifferences(work, whileFollowing), verify);
  } catch (error) {
    throwIfStopped(work.signal);
    // A table that the filter names may have been dropped on the source: that is no reason to stay there.
    const text = `whether the schemas differ otherwise is not known: ${asFailure(error).message.split('\n')[0]}`;
    return [
      ...judgeSchemas(unlike, [], verify).filter(({ level }) => level !== 'ok'),
      { level: 'note', text },
    ];
  }
}

/** Tables that are missing on the target, or have other columns there, as sentences. */
async function fetchUnlikeTables({
  source,
  target,
  keeps,
  parts,
  log,
  signal,
}: SchemaWork): Promise<string[]> {
  const options = { source, target, jobs: 1, keeps, parts, log, signal, loggedOnly: true };
  return await openComparison(options, ({ plan }) => Promise.resolve(plan.tables.flatMap(unlikeSentence)));
}

function unlikeSentence(table: PlannedTable): string[] {
  if (table.kind === 'read') return [];
  return [differenceSentence({ ...table, source: null, target: null, difference: table })];
}

/** `differences` but those that the end of the migration makes. Pure. */
export function judgeSchemas(
  unlike: readonly string[],
  differences: readonly ObjectDifference[],
  verify: VerifyMode,
): Check[] {
  const lines: Check[] = [];
  if (unlike.length > 0) {
    const text = `tables of the source that the target does not have as they are: ${enumerate(unlike)}`;
    const way =
      'no comparison could find both sides equal: make them alike, copy what they hold, or leave it to --verify none';
    lines.push(verify === 'none' ? { level: 'note', text } : { level: 'block', text: `${text}; ${way}` });
  }
  // What is only on the target may have been there before.
  const others = differences.filter(({ difference }) => difference !== 'extra');
  const untold = others
    .map(schemaSentence)
    .filter((sentence) => !unlike.some((one) => sentence.endsWith(one)));
  if (untold.length > 0) {
    lines.push({
      level: 'note',
      text: `the schemas differ in what is not made at the end: ${enumerate(untold)}; \`walferry compare schema\` shows how`,
    });
  }
  if (lines.length === 0)
    lines.push({ level: 'ok', text: 'the target has what the source has, as far as it is made by now' });
  return lines;
}

/**
 * Whether the schemas are equal, behind the opening: the application writes, so that sequences may stand anywhere, and
 * foreign keys may still be validated. What differs is said, and ends nothing: the switch stands.
 */
export async function compareSchemasAtEnd(work: SchemaWork): Promise<string> {
  const { log, signal } = work;
  let differences: readonly ObjectDifference[];
  try {
    differences = await fetchDifferences(work, whileValidating);
  } catch (error) {
    throwIfStopped(signal);
    const why = asFailure(error).message.split('\n')[0];
    log.warn(`whether the schemas are equal is not known: ${why}; \`walferry compare schema\` tells`);
    return 'not known';
  }
  if (differences.length === 0) return 'equal';
  const many = differences.length === 1 ? '1 object differs' : `${differences.length} objects differ`;
  const said = `${many}: ${enumerate(differences.map(schemaSentence))}`;
  log.warn(`the schemas are not equal, ${said}; \`walferry compare schema\` shows how`);
  return said;
}

/** What the role of the target was refused, which lacks there: named here too, before the application is switched. */
export function sayRefused(directory: string, log: Log): string {
  const { length } = loadProblems(directory);
  if (length === 0) return '';
  const said = `${length} ${length === 1 ? 'thing' : 'things'} refused to the role of --target, to be run by somebody who may: ${refusedSqlFile(directory)}`;
  log.warn(said);
  return said;
}

async function fetchDifferences(
  { source, target, directory, log, signal }: SchemaWork,
  as: (objects: readonly SchemaObject[]) => SchemaObject[],
): Promise<readonly ObjectDifference[]> {
  const { filter } = await loadComparedScope(directory, { source, target, log, signal });
  const scope = { comments: false, sequenceValues: false };
  return (await compareSchema({ source, target, filter, scope, as, log, signal })).differences;
}

/** So many are named. */
const named = 10;

function enumerate(sentences: readonly string[]): string {
  const rest = sentences.length - named;
  return `${sentences.slice(0, named).join('; ')}${rest > 0 ? `; and ${rest} more` : ''}`;
}
