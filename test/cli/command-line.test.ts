import { expect, test } from 'vitest';
import { otherCommandLine, quote, resumeCommandLine } from '../../src/cli/command-line.js';
import { parseOptions } from '../../src/cli/parse-options.js';
import { Secrets } from '../../src/cli/secrets.js';
import { commandAt } from '../../src/cli/tree.js';

test.each([
  ['clone', ['-f', '--no-owner'], 'walferry clone --follow --no-owner --resume'],
  ['clone', ['-r', '--dir', '/my work/x'], "walferry clone --dir '/my work/x' --resume"],
  ['fork', ['--resume', '-J', '8'], 'walferry fork --table-jobs 8 --resume'],
  [
    'clone',
    ['--source', 'postgres://u:canary@h/d', '--target', "host=h password=canary user='o'"],
    "walferry clone --source 'postgres://u:****@h/d' --target 'host=h password=**** user='\\''o'\\''' --resume",
  ],
  // Nothing to resume: the same command again.
  ['compare data', ['--dir', 'd'], 'walferry compare data --dir d'],
  ['stream sentinel set startpos', ['0/1'], 'walferry stream sentinel set startpos 0/1'],
])('%s %j goes on with: %s', (path, words, expected) => {
  const command = commandAt(path);
  if (command === null) throw new Error(`no command ${path}`);
  const { given, arguments: operands } = parseOptions(command, path, words);
  const called = { program: 'walferry', path, command, given, arguments: operands };
  expect(resumeCommandLine(called, new Secrets())).toBe(expected);
});

test.each([
  [['-f', '--no-owner'], 'pgcopydb stream sentinel set endpos --current'],
  [
    ['--dir', 'a', '-D', '/my work/x', '-f'],
    "pgcopydb stream sentinel set endpos --current --dir '/my work/x'",
  ],
  // The sentinel commands know no target.
  [
    ['-S', 'postgres://u:canary@h/d', '-T', 'postgres://h/e'],
    "pgcopydb stream sentinel set endpos --current --source 'postgres://u:****@h/d'",
  ],
])('the command that comes after clone %j is: %s', (words, expected) => {
  const command = commandAt('clone');
  if (command === null) throw new Error('no command clone');
  const { given } = parseOptions(command, 'clone', words);
  const other = { path: 'stream sentinel set endpos', group: 'S', words: ['--current'] } as const;
  expect(otherCommandLine({ program: 'pgcopydb', given }, other, new Secrets())).toBe(expected);
});

test.each([
  ['plain-word_1', 'plain-word_1'],
  ['', "''"],
  ['$HOME', "'$HOME'"],
  ["it's", `'it'\\''s'`],
  ['a*b', "'a*b'"],
  ['~/x', "'~/x'"],
])('a shell reads %s back from %s', (word, quoted) => {
  expect(quote(word)).toBe(quoted);
});
