import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { repository } from './support/build.js';
import { judgeImport, lintOverrides, readImports } from './support/layers.js';

const files = ['src', 'plugins'].flatMap((folder) =>
  readdirSync(path.join(repository, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${folder}/${file.split(path.sep).join('/')}`),
);

const read = (file: string) => readFileSync(path.join(repository, file), 'utf8');

describe('the sources', () => {
  test('are found', () => {
    expect(files).toContain('src/model/lsn.ts');
    expect(readImports(read('src/model/message.ts'))).toContain('./lsn.js');
  });

  test('import only what their layer allows', () => {
    const wrong = files.flatMap((file) =>
      readImports(read(file)).flatMap((specifier) => judgeImport(file, specifier) ?? []),
    );
    expect(wrong).toEqual([]);
  });

  test('have no file that is too long to be read at once', () => {
    const long = files.filter((file) => read(file).split('\n').length > 600);
    expect(long).toEqual([]);
  });
});

describe('an import', () => {
  test.each([
    ['src/journal/writer.ts', '../model/lsn.js'],
    ['src/journal/writer.ts', './segment.js'],
    ['src/journal/writer.ts', '../failure.js'],
    ['src/model/row.ts', '../failure.js'],
    ['src/follow/follow.ts', '../journal/writer.js'],
    ['src/cutover/drain.ts', '../compare/data.js'],
    ['src/cli/commands/clone.ts', '../../clone/clone-run.js'],
    ['src/cli/main.ts', '../../plugins/pgoutput/plugin.js'],
    ['src/index.ts', '../plugins/pgoutput/plugin.js'],
    ['plugins/pgoutput/plugin.ts', '../../src/model/plugin.js'],
    ['plugins/pgoutput/plugin.ts', 'node:buffer'],
    ['src/failure.ts', './model/lsn.js'],
    ['src/postgres/slot-stream.ts', 'pg-logical-replication'],
    ['src/catalog/database.ts', 'better-sqlite3'],
    ['src/journal/writer.ts', 'node:fs/promises'],
  ])('in %s from %s may be', (file, specifier) => {
    expect(judgeImport(file, specifier)).toBeNull();
  });

  test.each([
    [
      'src/journal/writer.ts',
      '../postgres/connect.js',
      'journal/ must not import postgres/: src/postgres/connect.ts',
    ],
    ['src/apply/loop.ts', '../receive/loop.js', 'apply/ must not import receive/: src/receive/loop.ts'],
    ['src/postgres/copy.ts', '../clone/plan.js', 'postgres/ must not import clone/: src/clone/plan.ts'],
    ['src/follow/follow.ts', '../compare/data.js', 'follow/ must not import compare/: src/compare/data.ts'],
    ['src/follow/follow.ts', '../cli/main.js', 'follow/ must not import cli/: src/cli/main.ts'],
    [
      'src/receive/loop.ts',
      '../../plugins/pgoutput/plugin.js',
      'receive/ must not import plugins/: plugins/pgoutput/plugin.ts',
    ],
    [
      'plugins/pgoutput/plugin.ts',
      '../../src/postgres/connect.js',
      'plugins/ must not import postgres/: src/postgres/connect.ts',
    ],
    [
      'src/failure.ts',
      './postgres/connect.js',
      'src/failure.ts is open to every room and must not import src/postgres/connect.ts',
    ],
    [
      'src/cli/main.ts',
      '../index.js',
      'src/cli/main.ts must not import src/index.ts, which is for users of the library',
    ],
    ['src/model/lsn.ts', 'node:fs', 'model/ only computes: no node:fs'],
    ['plugins/wal2json/plugin.ts', 'pg', 'plugins/ only computes: no pg'],
    [
      'src/postgres/slot.ts',
      'pg-logical-replication',
      'only src/postgres/slot-stream.ts may import pg-logical-replication',
    ],
    [
      'src/postgres/copy-table.ts',
      'pg-copy-streams/copy-both.js',
      'only src/postgres/copy.ts may import pg-copy-streams',
    ],
    ['src/journal/writer.ts', 'better-sqlite3', 'only src/catalog/ may import better-sqlite3'],
    ['src/log.ts', 'pino', 'only src/cli/ may import pino'],
  ])('in %s from %s may not be', (file, specifier, why) => {
    expect(judgeImport(file, specifier)).toBe(why);
  });

  test('is seen in every form, and not in comments', () => {
    const source = [
      `import type { A } from './a.js';`,
      `import {`,
      `  b,`,
      `} from "./b.js";`,
      `export { c } from './c.js';`,
      `import './d.js';`,
      `const e = await import('./e.js');`,
      `// import { f } from './f.js';`,
      ` * import('./g.js')`,
    ].join('\n');
    expect(readImports(source).toSorted()).toEqual(['./a.js', './b.js', './c.js', './d.js', './e.js']);
  });
});

test('the linter has the same rules, so that an editor shows them', () => {
  const configured = JSON.parse(read('.oxlintrc.json')) as {
    overrides: { rules: Record<string, unknown> }[];
  };
  const restricting = configured.overrides.filter(({ rules }) => 'no-restricted-imports' in rules);
  expect(restricting).toEqual(lintOverrides());
});
