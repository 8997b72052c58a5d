/**
 * Owners of what a run has made before it was killed. pg_restore sends CREATE and ALTER … OWNER TO one after the other:
 * an object that is there may still belong to our role. So a run that goes on sets the owners of
 *
 *   1. what was there before the run            not at all: it is somebody else's
 *   2. what the run has made, and is there      once more; where it is right already, the server does nothing
 *   3. what is not there yet                    by pg_restore, when it makes it
 *
 * What was there before is written down at the run's first look at the target, before it makes anything.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../failure.js';
import type { Session } from '../postgres/connect.js';
import type { DumpEntry } from '../postgres/dump.js';
import { sqlState } from '../postgres/sqlstate.js';
import type { Problem } from './options.js';
import { attemptAlone } from './problems.js';
import { withShellTypes, type TargetObjects } from './restore-plan.js';
import { schemaPaths, type SchemaFile } from './schema-file.js';

function thereFile(directory: string): string {
  return join(schemaPaths(directory).folder, 'there.json');
}

/** Writes down which of the dump's objects are on the target, by what Postgres calls them. */
export function saveWhatIsThere(directory: string, file: SchemaFile, target: TargetObjects): void {
  const there = [...identitiesOf(file).values()].filter((identity) => target.identities.has(identity));
  const path = thereFile(directory);
  writeFileSync(`${path}.partial`, JSON.stringify(there), { mode: 0o600 });
  renameSync(`${path}.partial`, path);
}

/** Those of these entries that the run itself has made. None where an older version began the run. */
export function madeByTheRun(
  directory: string,
  file: SchemaFile,
  present: readonly DumpEntry[],
): DumpEntry[] {
  const before = loadWhatWasThere(directory);
  if (before === null) return [];
  const identities = identitiesOf(file);
  return present.filter(({ dumpId }) => {
    const identity = identities.get(dumpId);
    return identity !== undefined && !before.has(identity);
  });
}

function identitiesOf(file: SchemaFile): ReadonlyMap<number, string> {
  return withShellTypes(file.entries, file.identities);
}

function loadWhatWasThere(directory: string): ReadonlySet<string> | null {
  const path = thereFile(directory);
  try {
    return new Set(JSON.parse(readFileSync(path, 'utf8')) as string[]);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw new Failure('work-directory-broken', `${path} cannot be read`, { cause: error });
  }
}

const ownerStatement = /^ALTER .* OWNER TO .*;$/;

/**
 * The statements of a script that a script of the same entries with --no-owner does not have. Both are read side by side,
 * so that a line of a function's body, which is in both, is never taken for one. Null where they differ in anything else
 * (a name that goes over several lines). Pure.
 */
export function ownerStatements(withOwners: string, without: string): string[] | null {
  const statements: string[] = [];
  const plain = without.split('\n');
  let at = 0;
  for (const line of withOwners.split('\n')) {
    const other = plain[at] ?? '';
    // Comments before each entry name its owner, or `-`; blank lines come with each statement.
    if (line === other || (line.startsWith('-- Name: ') && other.startsWith('-- Name: '))) at += 1;
    else if (ownerStatement.test(line)) statements.push(line);
    else if (line !== '') return null;
  }
  return plain.slice(at).every((line) => line === '') ? statements : null;
}

/** In one transaction: each locks its object, and a server has room for some thousands of locks. */
const statementsTogether = 500;

/** Sets the owners. What our role may not do is returned, as pg_restore's errors are. */
export async function setOwners(target: Session, statements: readonly string[]): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (let from = 0; from < statements.length; from += statementsTogether) {
    const some = statements.slice(from, from + statementsTogether);
    if (await attemptTogether(target, some)) continue;
    for (const sql of some) {
      const message = await attemptAlone(target, sql);
      const object = sql.replace(/^ALTER (.*) OWNER TO .*$/, 'owner of $1');
      if (message !== null) problems.push({ object, message, sql });
    }
  }
  return problems;
}

async function attemptTogether(target: Session, statements: readonly string[]): Promise<boolean> {
  try {
    await target.run(statements.join('\n'));
    return true;
  } catch (error) {
    if (sqlState(error) === null || target.lost !== null) throw error;
    return false;
  }
}
