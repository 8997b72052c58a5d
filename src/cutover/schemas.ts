/**
 * The schemas of both sides around a cutover. Before the freeze: tables that could not be compared in the pause, since
 * the source has got them, or other columns, meanwhile; and beside a run that makes nothing on the target, what is
 * missing there, and would stay so. Behind the opening: whether the target has become what the source is.
 */
import { fetchSwitchedOff } from '../apply/guard-records.js';
import { loadProblems, refusedSqlFile } from '../clone/problems.js';
import { openComparison } from '../compare/opening.js';
import { differenceSentence, type PlannedTable } from '../compare/comparison.js';
import { compareSchema } from '../compare/schema.js';
import { loadComparedScope } from '../compare/scope.js';
import { schemaSentence, type ObjectDifference } from '../compare/schema-difference.js';
import {
  butSwitchedOff,
  staysMissing,
  whileFollowing,
  whileOnlyFollowed,
  whileValidating,
  type SwitchedOff,
} from '../compare/schema-following.js';
import type { SchemaObject } from '../compare/schema-objects.js';
import { asFailure, throwIfStopped } from '../failure.js';
import type { Keeps } from '../filter/scope.js';
import type { Log } from '../log.js';
import type { PublishedPart } from '../model/published-part.js';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { StreamKey } from '../model/stream-key.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { Check } from './checks.js';
import type { CutoverChoices } from './choices.js';

export type SchemaWork = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  /** The work directory, which knows the filter. */
  readonly directory: string;
  readonly keeps: Keeps | null;
  readonly parts: readonly PublishedPart[];
  readonly key: StreamKey;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** What decides of a difference whether it may stay. */
export type SchemaTerms = Pick<CutoverChoices, 'verify' | 'acceptMissing'> & {
  /** Who completes the target: the run of a clone, or nobody. */
  readonly run: 'clone' | 'follow';
};

/** The checks of both schemas while the target follows. */
export async function checkSchemas(work: SchemaWork, terms: SchemaTerms): Promise<Check[]> {
  const unlike = await fetchUnlikeTables(work);
  try {
    return judgeSchemas(unlike, await fetchDifferencesNow(work, terms), terms);
  } catch (error) {
    throwIfStopped(work.signal);
    // A table that the filter names may have been dropped on the source: that is no reason to stay there.
    const text = `whether the schemas differ otherwise is not known: ${asFailure(error).message.split('\n')[0]}`;
    return [
      ...judgeSchemas(unlike, [], terms).filter(({ level }) => level !== 'ok'),
      terms.run === 'follow' && !terms.acceptMissing
        ? {
            level: 'block',
            text: `${text}; beside \`walferry follow\` nobody makes what is missing: ${accept}`,
          }
        : { level: 'note', text },
    ];
  }
}

async function fetchDifferencesNow(
  work: SchemaWork,
  { run }: SchemaTerms,
): Promise<readonly ObjectDifference[]> {
  if (run === 'clone') return await fetchDifferences(work, whileFollowing);
  const differences = await fetchDifferences(work, whileOnlyFollowed);
  // Asked behind that: what is switched off meanwhile is recorded in the same transaction.
  return butSwitchedOff(differences, await fetchOff(work));
}

async function fetchOff({ target, key, log, signal }: SchemaWork): Promise<SwitchedOff[]> {
  await using session = await connect(target, {
    side: 'target',
    applicationName: 'walferry cutover',
    log,
    signal,
  });
  return (await fetchSwitchedOff(session, key)).flatMap(({ kind, identity }): SwitchedOff[] => {
    if (kind === 'foreign-key') return [{ kind: 'constraint', identity }];
    return kind === 'trigger' || kind === 'rule' ? [{ kind, identity }] : [];
  });
}

/** A table that is missing on the target, or has other columns there; the sentence says so. */
export type UnlikeTable = { readonly schema: string; readonly name: string; readonly sentence: string };

async function fetchUnlikeTables({
  source,
  target,
  keeps,
  parts,
  log,
  signal,
}: SchemaWork): Promise<UnlikeTable[]> {
  const options = { source, target, jobs: 1, keeps, parts, log, signal, loggedOnly: true };
  return await openComparison(options, ({ plan }) => Promise.resolve(plan.tables.flatMap(unlikeTable)));
}

function unlikeTable(table: PlannedTable): UnlikeTable[] {
  if (table.kind === 'read') return [];
  const { schema, name } = table;
  const sentence = differenceSentence({ ...table, source: null, target: null, difference: table });
  return [{ schema, name, sentence }];
}

const accept = '--accept-missing opens the target as it is';

/** `differences` but those that the end of the migration makes. Pure. */
export function judgeSchemas(
  unlike: readonly UnlikeTable[],
  differences: readonly ObjectDifference[],
  { verify, acceptMissing, run }: SchemaTerms,
): Check[] {
  const lines: Check[] = [];
  if (unlike.length > 0) {
    const text = `tables of the source that the target does not have as they are: ${enumerate(unlike.map(({ sentence }) => sentence))}`;
    const way =
      'no comparison could find both sides equal: make them alike, copy what they hold, or leave it to --verify none';
    lines.push(verify === 'none' ? { level: 'note', text } : { level: 'block', text: `${text}; ${way}` });
  }
  // What is only on the target may have been there before.
  const others = differences.filter(({ difference }) => difference !== 'extra');
  const told = new Set(unlike.map(({ schema, name }) => quoteQualified(schema, name)));
  const untold = others.filter((one) => !(isOfUnlike(one) && told.has(wholeQuoted(one.identity))));
  const missing = run === 'follow' ? untold.filter(staysMissing) : [];
  if (missing.length > 0) {
    const text = `nobody completes the target beside \`walferry follow\`, and it is to stay without this: ${enumerate(missing.map(schemaSentence))}`;
    const way = `end the run, make it (\`walferry restore post-data\`, where the schema was dumped) and go on with \`walferry follow --resume\`; ${accept}`;
    lines.push(acceptMissing ? { level: 'note', text } : { level: 'block', text: `${text}; ${way}` });
  }
  const left = untold.filter((one) => !missing.includes(one));
  if (left.length > 0) {
    lines.push({
      level: 'note',
      text: `the schemas differ in what is not made at the end: ${enumerate(left.map(schemaSentence))}; \`walferry compare schema\` shows how`,
    });
  }
  if (lines.length === 0)
    lines.push({ level: 'ok', text: 'the target has what the source has, as far as it is made by now' });
  return lines;
}

/** Whether this is the difference, and all of it, by which a table is unlike. */
function isOfUnlike({ kind, difference, properties }: ObjectDifference): boolean {
  if (kind !== 'table') return false;
  return difference === 'missing' || properties.every(({ name }) => name.startsWith('column '));
}

/** The server quotes a name where it has to; here each is. */
function wholeQuoted(identity: string): string {
  return identity.replaceAll(/"(?:[^"]|"")*"|[^".]+/g, (name) =>
    name.startsWith('"') ? name : quoteIdentifier(name),
  );
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
