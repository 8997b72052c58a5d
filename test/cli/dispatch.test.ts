import { describe, expect, test } from 'vitest';
import { dispatch } from '../../src/cli/dispatch.js';
import { places } from '../../src/cli/tree.js';

const words = (line: string) => line.split(' ').filter((word) => word !== '');

describe('a command line means a command', () => {
  test.each([
    // Where the options stand does not matter.
    ['clone --source a --target b', 'clone', '--source a --target b'],
    ['--source a clone --target b', 'clone', '--source a --target b'],
    ['--source=a --follow clone', 'clone', '--source=a --follow'],
    ['stream --dir d sentinel -v get --json', 'stream sentinel get', '--dir d -v --json'],
    // A value that is a command's word stays a value.
    ['--dir clone stream replay', 'stream replay', '--dir clone'],
    ['-S ping clone', 'clone', '-S ping'],
    ['--sou ping --drop clone', 'clone', '--sou ping --drop'],
    // One letter, two meanings: --table-jobs with a value for clone, --json for the sentinel.
    ['-J 4 clone', 'clone', '-J 4'],
    ['-J stream sentinel get', 'stream sentinel get', '-J'],
    ['-cJ 4 clone', 'clone', '-cJ 4'],
    ['-j 4 compare data', 'compare data', '-j 4'],
    // --endpos takes a value, but not for `get`.
    ['--endpos 0/1 follow', 'follow', '--endpos 0/1'],
    ['stream sentinel get --endpos', 'stream sentinel get', '--endpos'],
    ['--endpos stream sentinel get', 'stream sentinel get', '--endpos'],
    // Arguments stay, even where they look like commands.
    ['stream transform clone -', 'stream transform', 'clone -'],
    ['clone -- --follow', 'clone', '-- --follow'],
    // Other names.
    ['fork -f', 'fork', '-f'],
    ['copy db', 'copy db', ''],
    // Known and not built.
    ['list tables --filters f', 'list tables', '--filters f'],
  ])('%s', (line, path, rest) => {
    expect(dispatch(words(line), places)).toEqual({ kind: 'command', path, rest: words(rest) });
  });
});

describe('a command line without a command', () => {
  test.each([
    ['', '', ''],
    ['--help', '', '--help'],
    ['stream', 'stream', ''],
    ['--dir d stream sentinel --help', 'stream sentinel', '--dir d --help'],
  ])('"%s" means a group', (line, path, rest) => {
    expect(dispatch(words(line), places)).toEqual({ kind: 'group', path, rest: words(rest) });
  });

  test.each([
    ['clnoe --follow', '', 'clnoe'],
    ['stream clone', 'stream', 'clone'],
    ['--dir d stream sentinel reset', 'stream sentinel', 'reset'],
    ['copy-db', '', 'copy-db'],
    ['dump pre-data', 'dump', 'pre-data'],
  ])('"%s" holds an unknown word', (line, path, word) => {
    expect(dispatch(words(line), places)).toEqual({ kind: 'unknown', path, word });
  });
});
