/**
 * What the role may not do on the target, or what the target lacks: collected while everything else goes on, told
 * once at the end. The list lies in the work directory, so that a run that was stopped and resumed tells all of it.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../failure.js';
import type { Session } from '../postgres/connect.js';
import { serverWords, sqlState } from '../postgres/sqlstate.js';
import type { Problem } from './options.js';
import { schemaPaths } from './schema-file.js';

function listFile(directory: string): string {
  return join(schemaPaths(directory).folder, 'problems.json');
}

/** Where the statements of the list lie, for somebody who may run them. */
export function refusedSqlFile(directory: string): string {
  return join(schemaPaths(directory).folder, 'refused.sql');
}

/** Adds to the list; what it holds already is not told twice. */
export function recordProblems(directory: string, problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const known = loadProblems(directory);
  const seen = new Set(known.map(identify));
  const fresh = problems.filter((problem) => !seen.has(identify(problem)));
  if (fresh.length === 0) return;
  const all = [...known, ...fresh];
  writeWhole(listFile(directory), JSON.stringify(all));
  writeWhole(refusedSqlFile(directory), printProblems(all));
}

/** The list of this work directory, in the order in which it came up. */
export function loadProblems(directory: string): Problem[] {
  try {
    return JSON.parse(readFileSync(listFile(directory), 'utf8')) as Problem[];
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw new Failure('work-directory-broken', `${listFile(directory)} cannot be read`, { cause: error });
  }
}

/** A run that starts from nothing. */
export function forgetProblems(directory: string): void {
  for (const file of [listFile(directory), refusedSqlFile(directory)]) rmSync(file, { force: true });
}

function identify({ object, sql, message }: Problem): string {
  return JSON.stringify([object, sql, sql === null ? message : null]);
}

function writeWhole(file: string, text: string): void {
  writeFileSync(`${file}.partial`, text, { mode: 0o600 });
  renameSync(`${file}.partial`, file);
}

/** The list as a script: what there is no statement for is a comment. Pure. */
export function printProblems(problems: readonly Problem[]): string {
  const comment = (text: string) =>
    text
      .split('\n')
      .map((line) => `-- ${line}`)
      .join('\n');
  const parts = problems.map(({ object, message, sql }) => {
    const statement = sql === null ? '' : `${sql.trim().replace(/;?$/, ';')}\n`;
    return `${comment(`${object}: ${message}`)}\n${statement}`;
  });
  return `${comment('Refused to the role of --target; to be run by somebody who may.')}\n\n${parts.join('\n')}`;
}

/**
 * Runs a statement that may be refused, inside the session's open transaction, which goes on either way. Null when
 * it was done, else the server's words. Throws when the connection is lost.
 */
export async function attemptStatement(target: Session, sql: string): Promise<string | null> {
  await target.query('savepoint walferry_attempt');
  try {
    await target.query(sql);
  } catch (error) {
    if (sqlState(error) === null || target.lost !== null) throw error;
    await target.query('rollback to savepoint walferry_attempt');
    return serverSentence(error);
  }
  await target.query('release savepoint walferry_attempt');
  return null;
}

/** As `attemptStatement`, outside of a transaction. */
export async function attemptAlone(target: Session, sql: string): Promise<string | null> {
  try {
    await target.query(sql);
    return null;
  } catch (error) {
    if (sqlState(error) === null || target.lost !== null) throw error;
    return serverSentence(error);
  }
}

/** The server's own words, without the side and the deed that a failure's message begins with. */
export function serverSentence(error: unknown): string {
  return serverWords(error instanceof Failure && error.cause !== undefined ? error.cause : error);
}
