/** The library as its page shows it, and by what it promises. Imported as a user would: by the package's name. */
import { spawn, type SpawnOptions } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { clone, compare, Failure, follow, sentinel, setEndpos, type WalferryEvent } from '../../src/index.js';
import { repository } from '../support/build.js';
import { temporaryDirectory } from '../support/directory.js';
import { expectEqual } from '../support/equal.js';
import { openMigration, slotOf, uris, type Migration } from '../support/live-migration.js';
import { until } from '../support/until.js';

const page = await readFile(new URL('../../docs/library.md', import.meta.url), 'utf8');
const example = /^```ts\n(.*?)^```$/ms.exec(page)?.[1] ?? '';

const schema = `create table item (id int primary key, name text);
  insert into item select i, 'item ' || i from generate_series(1, 500) i`;

function sidesOf(migration: Migration): { source: string; target: string; dir: string } {
  const { PGCOPYDB_SOURCE_PGURI: source, PGCOPYDB_TARGET_PGURI: target } = uris(migration);
  return { source, target, dir: migration.directory };
}

/** A program of a user, whose directory has the package in node_modules; compiled, then run. Gives what it printed. */
async function runProgram(
  directory: string,
  files: Readonly<Record<string, string>>,
  environment: Readonly<Record<string, string>>,
): Promise<string> {
  const modules = path.join(directory, 'node_modules');
  await mkdir(modules);
  await symlink(repository, path.join(modules, 'walferry'));
  await symlink(path.join(repository, 'node_modules/@types'), path.join(modules, '@types'));
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(directory, name), text);
  const compiler = path.join(repository, 'node_modules/typescript/bin/tsc');
  const options = [
    '--ignoreConfig',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--types',
    'node',
  ];
  const sources = Object.keys(files).filter((name) => name.endsWith('.ts'));
  await output([compiler, ...options, ...sources], { cwd: directory });
  return await output(['main.js'], { cwd: directory, env: { ...process.env, ...environment } });
}

async function output(args: readonly string[], options: SpawnOptions): Promise<string> {
  // One that does not end by itself says what it had printed, and leaves nothing to the next attempt.
  const child = spawn(process.execPath, args, {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 240_000,
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code, text).toBe(0);
  return text;
}

test('the example of docs/library.md compiles against the package and migrates a database', async () => {
  await using migration = await openMigration({ schema });
  await using directory = await temporaryDirectory();
  // The page's stream has the default name, which is one for the whole server.
  const migrate = example.replace('follow: true,', `follow: true, slotName: '${slotOf(migration)}',`);
  expect(migrate).toContain(slotOf(migration));
  const printed = await runProgram(
    directory.path,
    {
      'package.json': '{ "type": "module" }',
      'migrate.ts': migrate,
      'main.ts': `
        import { explain, migrate } from './migrate.js';
        const sides: { source: string; target: string; dir: string } = JSON.parse(process.env['SIDES'] ?? '');
        const { signal } = new AbortController();
        console.log('paused for ' + (await migrate(sides, signal)) + ' ms');
        const refused = { ...sides, source: 'nonsense', dir: sides.dir + '-of-none' };
        console.log(await migrate(refused, signal).catch(explain));`,
    },
    { SIDES: JSON.stringify(sidesOf(migration)) },
  );
  expect(printed).toMatch(/^paused for \d+ ms$/m);
  expect(printed).toMatch(/^usage: .*--source/m);
  await expectEqual(migration.source, migration.target);
});

test('a run that is aborted stops clean, tells so, and goes on with resume', async () => {
  await using migration = await openMigration({ schema });
  const settings = { ...sidesOf(migration), slotName: slotOf(migration), follow: true, noOwner: true };
  const events: WalferryEvent[] = [];
  const abort = new AbortController();
  const running = clone(settings, { signal: abort.signal, onEvent: (event) => events.push(event) });
  const ended = running.then(
    () => null,
    (error: unknown) => error,
  );
  await until('changes are applied', async () => (await sentinel(settings).catch(() => null))?.apply);
  await until('the stream is told of', () => events.some(({ kind }) => kind === 'follow-progress'));
  abort.abort();
  expect(await ended).toMatchObject({ name: 'Failure', code: 'stopped' });
  expect(events.some((event) => event.kind === 'clone-progress' && event.progress.step === 'copy')).toBe(
    true,
  );
  expect(events.some((event) => event.kind === 'log' && event.level === 'info')).toBe(true);

  await migration.source.sqlAsOwner(`insert into item values (1001, 'later')`);
  const endpos = await setEndpos('current', settings);
  const summary = await clone({ ...settings, resume: true });
  expect(summary?.tables.map(({ name, rows }) => [name, rows])).toEqual([['item', 500]]);
  expect((await sentinel({ dir: settings.dir })).replayLsn).toBeGreaterThanOrEqual(endpos);
  await expectEqual(migration.source, migration.target);

  // Both sides are equal, and a row that is not is named.
  expect(await compare(settings)).toMatchObject({ equal: true, data: { tables: [{ difference: null }] } });
  await migration.target.sql(`update item set name = 'other' where id = 7`);
  const { equal, schema: sameSchema, data } = await compare({ ...settings, rows: true });
  expect([equal, sameSchema.differences]).toEqual([false, []]);
  expect(
    JSON.stringify(data.tables[0], (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    ),
  ).toMatch(/"7"/);

  // Once more there is nothing to do.
  expect(await clone({ ...settings, resume: true })).toBeNull();
});

test('a listener that throws stops the run, and no password is in what it is told', async () => {
  await using migration = await openMigration({ schema });
  const settings = { ...sidesOf(migration), slotName: slotOf(migration), noOwner: true };
  const { password } = new URL(settings.source);
  const told: string[] = [];
  const failure = await clone(settings, {
    onEvent: (event) => {
      if (event.kind === 'log') told.push(JSON.stringify(event));
      if (event.kind === 'clone-progress') throw new Error(`a mistake of the caller's, with ${password}`);
    },
  }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ name: 'Failure', code: 'stopped' });
  expect((failure as Failure).message).toMatch(/the listener of events threw: a mistake of the caller's/);
  expect(told.length).toBeGreaterThan(0);
  for (const secret of [password, decodeURIComponent(password)]) {
    expect([...told, (failure as Failure).message].join('\n')).not.toContain(secret);
  }
});

test('what is wrong with settings is told at once, by the words of the command line', async () => {
  const failure = await clone({
    source: 'postgres:///a',
    target: 'postgres:///b',
    tableJobs: 0,
    splitMaxParts: -1,
  }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(Failure);
  expect(failure).toMatchObject({ code: 'usage' });
  expect((failure as Failure).message).toMatch(/--table-jobs.*\n.*--split-max-parts/);
  await expect(follow({ tabelJobs: 1 } as never)).rejects.toMatchObject({
    code: 'usage',
    message: expect.stringContaining('"tabelJobs"') as string,
  });
  await expect(follow({}, { environment: {} })).rejects.toMatchObject({ code: 'usage' });
  await expect(setEndpos('here', {})).rejects.toMatchObject({ code: 'usage' });
});
