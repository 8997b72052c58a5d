import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { directCommands, loadDirectCommand } from '../../src/cli/direct.js';
import { dispatch } from '../../src/cli/dispatch.js';
import { commandHelp, groupHelp, treeHelp, usageText } from '../../src/cli/help.js';
import { options, optionsOf } from '../../src/cli/options.js';
import { commandAt, commands, notBuiltPaths, places } from '../../src/cli/tree.js';
import { repository } from '../support/build.js';

/** Reference 1.1 and the names that came and went, without help. */
const peer = [
  'clone',
  'fork',
  'follow',
  'snapshot',
  'ping',
  'version',
  'compare schema',
  'compare data',
  'copy db',
  'copy roles',
  'copy extensions',
  'copy schema',
  'copy data',
  'copy table-data',
  'copy blobs',
  'copy sequences',
  'copy indexes',
  'copy constraints',
  'dump schema',
  'dump roles',
  'restore schema',
  'restore pre-data',
  'restore post-data',
  'restore roles',
  'restore parse-list',
  'list databases',
  'list extensions',
  'list collations',
  'list tables',
  'list table-parts',
  'list sequences',
  'list indexes',
  'list depends',
  'list schema',
  'list progress',
  'stream setup',
  'stream cleanup',
  'stream prune',
  'stream prefetch',
  'stream catchup',
  'stream replay',
  'stream receive',
  'stream apply',
  'stream transform',
  'stream sentinel setup',
  'stream sentinel get',
  'stream sentinel set startpos',
  'stream sentinel set endpos',
  'stream sentinel set apply',
  'stream sentinel set prefetch',
];
const ours = ['check', 'cutover', 'monitor'];

describe('the tree', () => {
  test('knows every command of the peer, and ours, once', () => {
    expect(places.map((place) => place.path).toSorted()).toEqual([...peer, ...ours].toSorted());
  });

  test('has one file per command', () => {
    const files = readdirSync(path.join(repository, 'src/cli/commands')).filter((file) =>
      file.endsWith('.ts'),
    );
    expect(files.toSorted()).toEqual(
      commands.map(({ path }) => `${path.replaceAll(' ', '-')}.ts`).toSorted(),
    );
  });

  test.each(Object.keys(directCommands))(
    'finds %s by its first word as it does by all of them',
    async (word) => {
      expect(await loadDirectCommand(word)).toBe(commandAt(word));
      for (const rest of [[], ['--resume', 'clone'], ['tables', '--', '-D']]) {
        expect(dispatch([word, ...rest], places)).toEqual({ kind: 'command', path: word, rest });
      }
    },
  );

  test('does not take a word of a longer command, or of an object, for a command', async () => {
    for (const word of ['list', 'copy', 'stream', '--debug', 'toString', '']) {
      expect(await loadDirectCommand(word)).toBe(null);
    }
  });

  test('has only options that exist, and that the command accepts', () => {
    for (const command of commands) {
      const accepted = optionsOf(command.group, command.path).map(({ option }) => option.id);
      expect(accepted).toEqual(expect.arrayContaining([...command.options]));
    }
  });
});

describe('the table of options', () => {
  test('has every id once', () => {
    const ids = options.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)]);
  });

  test.each(commands.map(({ path, group }) => [path, group] as const))(
    'gives %s every name and every letter once',
    (path, group) => {
      const known = optionsOf(group, path);
      const names = known.flatMap(({ option }) => option.names);
      const letters = known.flatMap(({ letter }) => letter ?? []);
      expect(names).toEqual([...new Set(names)]);
      expect(letters).toEqual([...new Set(letters)]);
      expect(letters.every((letter) => /^[A-Za-z]$/.test(letter))).toBe(true);
    },
  );
});

describe('the tree costs nothing to load', () => {
  /** What loading a file loads: static imports of values, followed through our own files. */
  function loaded(file: string, seen = new Set<string>()): Set<string> {
    if (seen.has(file)) return seen;
    seen.add(file);
    const text = readFileSync(file, 'utf8');
    for (const [statement, specifier] of text.matchAll(/^(?:import|export)\s[^;]*?from '([^']+)';/gms)) {
      if (/^(?:import|export)\s+type\s/.test(statement) || specifier === undefined) continue;
      if (specifier.startsWith('.')) {
        loaded(path.resolve(path.dirname(file), specifier.replace(/\.js$/, '.ts')), seen);
      } else {
        seen.add(specifier);
      }
    }
    return seen;
  }

  test('no driver, no database, no logger and no other room', () => {
    const all = [...loaded(path.join(repository, 'src/cli/run.ts'))];
    const packages = all.filter((name) => !path.isAbsolute(name) && !name.startsWith('node:'));
    const files = all.filter((name) => path.isAbsolute(name)).map((name) => path.relative(repository, name));
    expect(files.every((file) => existsSync(path.join(repository, file)))).toBe(true);
    expect(packages).toEqual(['commander']);
    expect(files.filter((file) => !/^src\/(cli|model)\/|^src\/(failure|log)\.ts$/.test(file))).toEqual([]);
  });

  test('main.ts itself loads nothing but the version', () => {
    const files = [...loaded(path.join(repository, 'src/cli/main.ts'))].map((name) => path.basename(name));
    expect(files.toSorted()).toEqual(
      ['main.ts', 'node:fs', 'version.ts'].map((name) => path.basename(name)).toSorted(),
    );
  });
});

describe('help', () => {
  test('of the tree names every command', () => {
    const help = treeHelp('walferry');
    for (const name of [...commands.map(({ path }) => path), ...notBuiltPaths]) expect(help).toContain(name);
  });

  test('of a group names what is in it, built or not', () => {
    const help = groupHelp('walferry', 'stream');
    expect(help).toContain('stream receive');
    expect(help).toContain('stream prune');
    expect(help).not.toContain('clone');
    expect(groupHelp('walferry', 'list')).toContain('list tables');
  });

  test('of a command shows what works, in the peer’s form, and not what has no effect', () => {
    const clone = commands.find(({ path }) => path === 'clone');
    if (clone === undefined) throw new Error('no clone');
    const [title, usage, empty, ...lines] = commandHelp('walferry', clone, 'fork').split('\n');
    expect(title).toBe(`walferry fork: ${clone.summary}`);
    expect(usage).toBe('usage: walferry fork [options]');
    expect(empty).toBe('');
    const list = lines.join('\n');
    expect(list).toContain('-J, --table-jobs, --jobs <n>');
    expect(list).toContain('-f, --follow');
    expect(list).not.toContain('--replay-no-op-updates');
  });

  test('called as pgcopydb shows its defaults', () => {
    const clone = commands.find(({ path }) => path === 'clone');
    if (clone === undefined) throw new Error('no clone');
    expect(commandHelp('pgcopydb', clone, 'clone')).toContain('default: pgcopydb)');
    expect(commandHelp('walferry', clone, 'clone')).not.toContain('pgcopydb');
  });

  test('fits a terminal of 100 columns', () => {
    const long = (treeHelp('walferry') + usageText('walferry'))
      .split('\n')
      .filter((line) => line.length > 100);
    expect(long).toEqual([]);
  });
});
