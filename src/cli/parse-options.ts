/**
 * The words after a command, taken apart by commander: which options were given, with which values, which arguments.
 * Values are not looked at here (settings.ts does). Problems are gathered, not thrown.
 */
import { Command as Parser, CommanderError } from 'commander';
import type { Command } from './command.js';
import { isKnownElsewhere, longOptionOf, similarName } from './long-names.js';
import { longName, takesValue, type Option } from './option.js';
import { options, optionsOf, valueFollows, type KnownOption } from './options.js';

/** An option as it was given; a flag's value is null. */
export type GivenOption = { readonly option: Option; readonly value: string | null };

export type ParsedLine = {
  /** In the order of the line; an option may be there several times. */
  readonly given: readonly GivenOption[];
  readonly arguments: readonly string[];
  /** What is wrong with the form of the line; the usage is shown with it. */
  readonly problems: readonly string[];
};

/** Takes the words of a command line apart for a command that was called as `path`. */
export function parseOptions(command: Command, path: string, words: readonly string[]): ParsedLine {
  const given: GivenOption[] = [];
  const parser = new Parser(path)
    .helpOption(false)
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  const known = optionsOf(command.group, command.path);
  for (const { option, letter } of known) {
    for (const [index, name] of option.names.entries()) {
      const short = letter !== null && index === 0 ? `-${letter}, ` : '';
      parser.option(`${short}--${name}${valueForm(option)}`);
      parser.on(`option:${name}`, (value: string | null | undefined) => {
        given.push({ option, value: takesValue(option) ? (value ?? '') : (value ?? null) });
      });
    }
  }
  let operands: string[] = [];
  const problems: string[] = [];
  const written = inFull(words, known);
  if (written.problems.length > 0) return { given, arguments: [], problems: written.problems };
  try {
    const parsed = parser.parseOptions([...written.words]);
    operands = parsed.operands;
    // The words behind an unknown option cannot be told from its value: only the options among them are named.
    const unknown = parsed.unknown.filter((word) => word.startsWith('-') && word.length > 1 && word !== '--');
    problems.push(...unknown.map((word) => unknownOption(word, command)));
    if (parsed.unknown.length > 0) return { given, arguments: operands, problems };
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    problems.push(missingValue(error, command));
    return { given, arguments: [], problems };
  }
  problems.push(...argumentProblems(command, operands));
  return { given, arguments: operands, problems };
}

/** Long names that are only begun, written in full. What is a value, or behind `--`, is left as it is. */
function inFull(
  words: readonly string[],
  known: readonly KnownOption[],
): { readonly words: readonly string[]; readonly problems: readonly string[] } {
  const written: string[] = [];
  const problems: string[] = [];
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i] ?? '';
    if (word === '--') return { words: [...written, ...words.slice(i)], problems };
    const meant = longOptionOf(
      word,
      known.map(({ option }) => option),
    );
    if (meant.kind === 'several') {
      const names = meant.names.map((name) => `--${name}`).join(', ');
      problems.push(`the option ${word.replace(/=.*/s, '')} may be one of ${names}`);
    }
    written.push(meant.kind === 'option' ? word.replace(/^--[^=]+/, `--${meant.name}`) : word);
    const next = words[i + 1];
    if (next !== undefined && valueFollows(word, known)) {
      written.push(next);
      i += 1;
    }
  }
  return { words: written, problems };
}

/** As commander wants to be told. */
function valueForm(option: Option): string {
  if (option.value.type === 'optional-text') return ' [value]';
  return takesValue(option) ? ' <value>' : '';
}

/** Names an option that commander did not take. What follows the name is not repeated: it may hold a password. */
function unknownOption(word: string, command: Command): string {
  const name = word.startsWith('--') ? word.replace(/=.*/s, '') : word.slice(0, 2);
  if (!name.startsWith('--')) return `unknown option ${name}`;
  const known = optionsOf(command.group, command.path).map(({ option }) => option);
  if (known.some((option) => option.names.includes(name.slice(2)))) {
    return `the option ${name} takes no value`;
  }
  if (isKnownElsewhere(name.slice(2), options)) return `${command.path} has no option ${name}`;
  const similar = similarName(name.slice(2), known);
  return `unknown option ${name}${similar === null ? '' : `; did you mean --${similar}?`}`;
}

/** commander says `error: option '-S, --source <value>' argument missing`. */
function missingValue(error: CommanderError, command: Command): string {
  const known = optionsOf(command.group, command.path);
  const named = known.find(({ option }) =>
    option.names.some((name) => error.message.includes(`--${name} <`)),
  );
  return named === undefined
    ? error.message.replace(/^error: /, '')
    : `the option ${longName(named.option)} needs a value`;
}

function argumentProblems(command: Command, operands: readonly string[]): string[] {
  const expected = command.arguments ?? [];
  const missing = expected.slice(operands.length).filter((argument) => argument.required);
  if (missing.length > 0) return missing.map((argument) => `the argument <${argument.name}> is missing`);
  if (operands.length > expected.length) {
    const allowed = expected.length === 0 ? 'no argument' : `at most ${expected.length} of them`;
    return [`${operands.length} argument(s) given, the command takes ${allowed}`];
  }
  return [];
}
