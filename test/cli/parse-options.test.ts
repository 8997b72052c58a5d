import { describe, expect, test } from 'vitest';
import { parseOptions } from '../../src/cli/parse-options.js';
import { commandAt } from '../../src/cli/tree.js';

function parse(path: string, words: readonly string[]) {
  const command = commandAt(path);
  if (command === null) throw new Error(`no command ${path}`);
  const { given, arguments: operands, problems } = parseOptions(command, path, words);
  return { given: given.map(({ option, value }) => [option.id, value]), operands, problems };
}

describe('options', () => {
  test.each([
    [
      'clone',
      ['--source', 'a', '--target=b'],
      [
        ['source', 'a'],
        ['target', 'b'],
      ],
    ],
    [
      'clone',
      ['-Sa', '-T', 'b', '-J', '8'],
      [
        ['source', 'a'],
        ['target', 'b'],
        ['table-jobs', '8'],
      ],
    ],
    [
      'clone',
      ['--jobs', '8', '--split-at', '1GB'],
      [
        ['table-jobs', '8'],
        ['split-tables-larger-than', '1GB'],
      ],
    ],
    [
      'clone',
      ['-cfO'],
      [
        ['drop-if-exists', null],
        ['follow', null],
        ['no-owner', null],
      ],
    ],
    [
      'clone',
      ['--no-owner', '--no-acl'],
      [
        ['no-owner', null],
        ['no-acl', null],
      ],
    ],
    [
      'clone',
      ['-vv', '-v', '--notice'],
      [
        ['verbose', null],
        ['verbose', null],
        ['verbose', null],
        ['verbose', null],
      ],
    ],
    // A value may begin with a dash.
    ['stream apply', ['--target', '-'], [['target', '-']]],
    ['clone', ['--dir', '--odd'], [['dir', '--odd']]],
    // The same letter, another command.
    [
      'compare data',
      ['-J', '-j', '2'],
      [
        ['json', null],
        ['table-jobs', '2'],
      ],
    ],
    ['stream sentinel get', ['--endpos'], [['show-endpos', null]]],
    ['follow', ['--endpos', '0/1'], [['endpos', '0/1']]],
    // Names that are only begun, as getopt_long takes them.
    [
      'clone',
      ['--split-max', '3', '--drop', '--table-j=2', '--dir', '--drop'],
      [
        ['split-max-parts', '3'],
        ['drop-if-exists', null],
        ['table-jobs', '2'],
        ['dir', '--drop'],
      ],
    ],
    // A name in full is no beginning of another one.
    ['clone', ['--filter', 'f'], [['filters', 'f']]],
    [
      'clone',
      ['--monitor', '--skip-ext-comment'],
      [
        ['monitor', null],
        ['skip-ext-comments', null],
      ],
    ],
  ])('of %s: %j', (path, words, given) => {
    expect(parse(path, words)).toEqual({ given, operands: [], problems: [] });
  });

  test.each([
    ['clone', ['--sorce=postgres://u:secret@h/d'], ['unknown option --sorce; did you mean --source?']],
    ['clone', ['--bogus', 'x', '--other', '--follow'], ['unknown option --bogus', 'unknown option --other']],
    ['clone', ['-Wsecret'], ['unknown option -W']],
    ['clone', ['--follow=yes'], ['the option --follow takes no value']],
    ['clone', ['--source'], ['the option --source needs a value']],
    ['clone', ['-J'], ['the option --table-jobs needs a value']],
    [
      'clone',
      ['--large-object-jobs', '8'],
      ['unknown option --large-object-jobs; did you mean --large-objects-jobs?'],
    ],
    [
      'clone',
      ['--skip-e', '--re=x'],
      [
        'the option --skip-e may be one of --skip-extensions, --skip-ext-comments',
        'the option --re may be one of --restore-jobs, --requirements, --restart, --resume, --replay-no-op-updates',
      ],
    ],
    ['compare data', ['--follow'], ['compare data has no option --follow']],
    ['snapshot', ['--target', 'x'], ['snapshot has no option --target']],
    ['stream sentinel set startpos', ['--current'], ['stream sentinel set startpos has no option --current']],
  ])('of %s that do not fit: %j', (path, words, problems) => {
    expect(parse(path, words).problems).toEqual(problems);
  });
});

describe('arguments', () => {
  test.each([
    ['stream sentinel setup', ['0/1', '0/2'], []],
    ['stream sentinel setup', ['0/1'], ['the argument <endpos> is missing']],
    [
      'stream sentinel setup',
      ['0/1', '0/2', '0/3'],
      ['3 argument(s) given, the command takes at most 2 of them'],
    ],
    ['stream transform', ['-'], []],
    ['stream transform', ['in', '-'], []],
    ['clone', ['postgres://u:secret@h/d'], ['1 argument(s) given, the command takes no argument']],
    ['clone', ['--', '--follow'], ['1 argument(s) given, the command takes no argument']],
  ])('of %s: %j', (path, words, problems) => {
    expect(parse(path, words).problems).toEqual(problems);
  });
});
