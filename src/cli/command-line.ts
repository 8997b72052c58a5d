/** A command line for people to copy: the one that goes on with a run. Pure. */
import { longName, type Group } from './option.js';
import { optionsOf } from './options.js';
import type { Command } from './command.js';
import type { GivenOption } from './parse-options.js';
import type { Secrets } from './secrets.js';

export type CalledAs = {
  readonly program: string;
  readonly path: string;
  readonly command: Command;
  readonly given: readonly GivenOption[];
  readonly arguments: readonly string[];
};

export type OtherCommand = {
  readonly path: string;
  /** The option parser that it has. */
  readonly group: Group;
  readonly words?: readonly string[];
};

/** The same command with --resume (where it has that option) and without --restart. Passwords become `****`. */
export function resumeCommandLine(called: CalledAs, secrets: Secrets): string {
  const resumable = optionsOf(called.command.group, called.command.path).some(
    ({ option }) => option.id === 'resume',
  );
  const words = [called.program, called.path];
  for (const { option, value } of called.given) {
    if (option.id === 'restart' || option.id === 'resume') continue;
    words.push(longName(option));
    if (value !== null) words.push(quote(secrets.redact(value)));
  }
  words.push(...called.arguments.map((word) => quote(secrets.redact(word))));
  if (resumable) words.push('--resume');
  return words.join(' ');
}

/**
 * Another command for the same run: with the servers and the directory that this one was given, so that it finds the run.
 * Words behind the path are taken as they are. Passwords become `****`.
 */
export function otherCommandLine(
  called: Pick<CalledAs, 'program' | 'given'>,
  { path, group, words = [] }: OtherCommand,
  secrets: Secrets,
): string {
  const known = optionsOf(group, path);
  const given = called.given.filter(
    ({ option: { id } }, index, all) =>
      ['source', 'target', 'dir'].includes(id) &&
      known.some(({ option }) => option.id === id) &&
      all.findLastIndex(({ option }) => option.id === id) === index,
  );
  const options = given.flatMap(({ option, value }) => [
    longName(option),
    quote(secrets.redact(value ?? '')),
  ]);
  return [called.program, path, ...words, ...options].join(' ');
}

/** As a shell reads it back. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
