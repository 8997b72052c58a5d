/** Help texts: the tree, a group, a command; and the README's usage. Pure. */
import type { Command } from './command.js';
import { variablesOf } from './option.js';
import { optionsOf, type KnownOption } from './options.js';
import { commandAt, commands, groupSummaries, notBuiltPaths } from './tree.js';

const lineWidth = 100;

/** The whole tree, as `walferry help` prints it. */
export function treeHelp(program: string): string {
  return [
    `${program}: moves a live Postgres database to another server\n`,
    `usage: ${program} COMMAND [options]\n`,
    `\n${commandList(commands)}`,
    `  ${'help [command]'.padEnd(34)}this list, or the options of a command\n`,
    notBuiltPaths.length === 0
      ? ''
      : `\n${fill('Known from pgcopydb and not built yet (exit 20): ', notBuiltPaths, 2)}`,
    `\nUse "${program} COMMAND --help" for the options of a command.\n`,
  ].join('');
}

/** A group of commands, `stream` for example. */
export function groupHelp(program: string, path: string): string {
  const inside = (candidate: string) => path === '' || candidate.startsWith(`${path} `);
  const built = commands.filter((command) => inside(command.path));
  const planned = notBuiltPaths.filter(inside);
  const title = path === '' ? program : `${program} ${path}: ${groupSummaries[path] ?? ''}`;
  return [
    `${title}\n`,
    `usage: ${program}${path === '' ? '' : ` ${path}`} COMMAND [options]\n\n`,
    built.length === 0 ? '' : commandList(built),
    planned.length === 0
      ? ''
      : `${built.length === 0 ? '' : '\n'}${fill('Not built yet (exit 20): ', planned, 2)}`,
  ].join('');
}

/** One command, by its path or an alias of it. */
export function commandHelp(program: string, command: Command, path: string): string {
  const known = optionsOf(command.group, command.path).filter(
    ({ option }) =>
      option.noEffect === null && (option.everywhere !== undefined || command.options.includes(option.id)),
  );
  const own = known.filter(({ option }) => option.everywhere === undefined);
  const everywhere = known.filter(({ option }) => option.everywhere !== undefined);
  return [
    `${program} ${path}: ${command.summary}\n`,
    `usage: ${usage(program, command, path)}\n`,
    own.length === 0 ? '' : `\n${optionList(program, own)}`,
    `\n${optionList(program, everywhere)}`,
  ].join('');
}

/** `walferry stream sentinel set startpos [options] <lsn>`. */
function usage(program: string, command: Command, path: string): string {
  const words = (command.arguments ?? []).map(({ name, required }) => (required ? `<${name}>` : `[${name}]`));
  return [program, path, '[options]', ...words].join(' ');
}

function commandList(list: readonly Command[]): string {
  return list
    .map((command) => {
      const also = command.aliases === undefined ? '' : ` (also: ${command.aliases.join(', ')})`;
      return item(`  ${command.path}`, 36, command.summary + also);
    })
    .join('');
}

function optionList(program: string, list: readonly KnownOption[]): string {
  return list
    .map(({ option, letter }) => {
      const short = letter === null ? '    ' : `-${letter}, `;
      const value = placeholder(option.value);
      const names = option.names.map((name) => `--${name}`).join(', ');
      const shownDefault = program === 'pgcopydb' ? (option.peerDefault ?? option.default) : option.default;
      const notes = [
        ...(shownDefault === undefined ? [] : [`default: ${shownDefault}`]),
        ...variablesOf(option).slice(0, 1),
      ];
      const description = option.description + (notes.length === 0 ? '' : ` (${notes.join('; ')})`);
      return item(`  ${short}${names}${value}`, 32, description);
    })
    .join('');
}

function placeholder(value: KnownOption['option']['value']): string {
  switch (value.type) {
    case 'flag':
      return '';
    case 'text':
      return ` <${value.placeholder}>`;
    case 'optional-text':
      return ` [${value.placeholder}]`;
    case 'integer':
      return ' <n>';
    case 'size':
      return ' <size>';
    case 'lsn':
      return ' <lsn>';
    case 'word':
      return ` <${value.words.join('|')}>`;
    case 'slot-name':
      return ' <name>';
  }
  return value satisfies never;
}

/** A term and its description, which goes on in its own column. */
function item(term: string, column: number, description: string): string {
  const lines = wrap(description, lineWidth - column);
  const first = term.length + 2 > column ? `${term}\n${' '.repeat(column)}` : term.padEnd(column);
  return `${first}${lines.join(`\n${' '.repeat(column)}`)}\n`;
}

/** A sentence with a list, wrapped. */
function fill(lead: string, words: readonly string[], indent: number): string {
  const unbroken = words.map((word) => word.replaceAll(' ', '\u00a0'));
  const lines = wrap(unbroken.join(', '), lineWidth - indent).map((line) => line.replaceAll('\u00a0', ' '));
  return `${lead.trimEnd()}\n${lines.map((line) => `${' '.repeat(indent)}${line}\n`).join('')}`;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

/** The help of every command, one after the other: the README's usage is made of it. */
export function usageText(program: string): string {
  return commands
    .map(({ path }) => {
      const command = commandAt(path);
      return command === null ? '' : commandHelp(program, command, path);
    })
    .join('\n');
}
