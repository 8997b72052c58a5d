import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createDatabase } from '../../support/databases.js';
import { temporaryDirectory } from '../../support/directory.js';
import { run, runToEnd, setEndpos, streamOptions, type Migration } from '../../support/live-migration.js';
import { walferry, type WalferryExit, type WalferryProcess } from '../../support/walferry.js';

test('what was received can be printed as SQL, and the SQL does what was done', async () => {
  // Given changes of every kind in transform files,
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await using directory = await temporaryDirectory();
  const schema = `create table "It's" (id int primary key, "quoted ""name" text, n numeric, j json);
                  create table other (id int primary key)`;
  await source.sqlAsOwner(schema);
  const migration: Migration = { source, target, directory: directory.path, role: 'owner' };
  const setup = await runToEnd(migration, ['stream', 'setup', ...streamOptions(migration)]);
  expect(setup.code, setup.stderr).toBe(0);
  await source.sqlAsOwner(`
    insert into "It's" select i, E'line\\nand ''quote'' and \\\\ ' || i, i / 7.0, '{"a": [1, null]}' from generate_series(1, 5) i;
    update "It's" set id = 50 where id = 5;
    update "It's" set "quoted ""name" = null where id = 1;
    delete from "It's" where id = 2;
    insert into other values (1); truncate other; insert into other values (2)`);
  await setEndpos(migration);
  await using receiving = run(migration, ['stream', 'prefetch', ...streamOptions(migration)]);
  const received = await receiving.exit;
  expect(received.code, received.stderr).toBe(0);

  // when they are printed: as a file, from standard input, and all of them,
  const cdc = join(directory.path, 'cdc');
  // Mostly one; what other databases write may begin another one in between.
  const files = (await readdir(cdc)).toSorted().map((name) => join(cdc, name));
  const printed = await together(files.map((file) => walferry(['stream', 'transform', file])));
  const inputs = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  const piped = await together(inputs.map((input) => walferry(['stream', 'transform', '-'], { input })));
  const all = await walferry(['stream', 'apply', '--dir', directory.path, '--target', '-']).exit;

  // then each is the same text, and run by hand it leaves the same rows.
  expect([printed.code, piped.code, all.code], printed.stderr + piped.stderr + all.stderr).toEqual([0, 0, 0]);
  expect(piped.stdout).toBe(printed.stdout);
  expect(all.stdout).toBe(printed.stdout);
  await target.sql(schema);
  await target.sql(printed.stdout);
  const rows = `select t::text from "It's" t order by id`;
  expect(await target.sql(rows)).toEqual(await source.sql(rows));
  expect(await target.sql('select id from other')).toEqual([{ id: '2' }]);
});

/** Ends of several programs as one: what they said, one behind the other. */
async function together(processes: readonly WalferryProcess[]): Promise<WalferryExit> {
  const exits = await Promise.all(processes.map(({ exit }) => exit));
  const failed = exits.find(({ code }) => code !== 0) ?? exits[0];
  if (failed === undefined) throw new Error('there is no transform file');
  return {
    ...failed,
    stdout: exits.map(({ stdout }) => stdout).join(''),
    stderr: exits.map(({ stderr }) => stderr).join(''),
  };
}
