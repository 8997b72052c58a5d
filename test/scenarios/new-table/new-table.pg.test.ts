/** A table made while the stream is followed. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../../support/directory.js';
import { follow, openMigration, run, setEndpos, setupStream, slotOf } from '../../support/live-migration.js';

test('a table that was made after the stream began is named, and nothing else is; one without identity goes on taking updates on the source', async () => {
  const schema = `create table item (id int primary key); create unlogged table fast (id int);
    create table keyless (body text); create table part (id int primary key) partition by range (id);
    create table part_1 partition of part for values from (0) to (10)`;
  await using migration = await openMigration({ schema, onBoth: true });
  await setupStream(migration);
  await migration.source.sql(`create table later (id int); create temporary table mine (id int)`);
  await using following = run(migration, follow(migration, '--resume'));
  await following.waitForOutput(/made after the stream began: public\.later;/);
  // Publishing a table for updates makes those of one without a replica identity fail: the application's must not.
  await migration.source.sql(
    `insert into keyless values ('one'), ('two'); update keyless set body = 'three' where body = 'one';
     delete from keyless where body = 'two'`,
  );
  await setEndpos(migration);
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(0);
  expect(await migration.target.sql('select body from keyless order by 1')).toEqual([
    { body: 'one' },
    { body: 'two' },
  ]);
});

test('a table that was taken out of the publication of the stream is told as that, also where a filter leaves tables out', async () => {
  await using migration = await openMigration({
    schema: 'create table item (id int primary key); create table left_out (id int primary key)',
    onBoth: true,
  });
  const { source } = migration;
  await using directory = await temporaryDirectory();
  const filters = join(directory.path, 'filters.ini');
  await writeFile(filters, '[exclude-table]\npublic.left_out\n');
  {
    await using following = run(migration, follow(migration, '--filters', filters));
    await following.waitForOutput(/receiving changes from/);
    following.kill('SIGTERM');
    await following.exit;
  }
  await source.sqlAsOwner(`alter publication ${slotOf(migration)} drop table item`);
  await source.sql('insert into item values (1)');
  await using following = run(migration, follow(migration, '--resume'));
  const { code, stderr } = await following.exit;
  expect([code, stderr]).toEqual([
    23,
    expect.stringMatching(/taken out of the publication of the stream.*: public\.item:/),
  ]);
  expect(stderr).not.toContain('left_out');
});

test('what was changed in tables while nobody looked, and made right before the end, is said at the end', async () => {
  await using migration = await openMigration({
    schema:
      'create table item (id int primary key, price numeric(10,2)); create table other (id int primary key)',
    onBoth: true,
  });
  const { source, target } = migration;
  await setupStream(migration);
  await source.sqlAsOwner(
    `alter table item alter price type numeric(20,6); insert into item values (1, 1.234567)`,
  );
  const changed = 'public.item (price numeric(10,2) is now price numeric(20,6));';
  const made = 'made after the stream began: public.later;';
  {
    await using following = run(migration, follow(migration, '--resume'));
    await following.waitForOutput(/columns were changed on the source.*: public\.item/);
    await source.sqlAsOwner('create table later (id int)');
    following.kill('SIGTERM');
    await following.exit;
  }
  await setEndpos(migration);
  await using following = run(migration, follow(migration, '--resume'));
  const { code, stderr } = await following.exit;
  expect(code, stderr).toBe(0);
  // What the warning is about: nothing failed.
  expect(await target.sql('select price from item')).toEqual([{ price: '1.23' }]);
  const end = stderr.slice(stderr.indexOf('received everything up to the end position'));
  expect(end).toContain(changed);
  expect(end).toContain(made);
  expect(end).not.toContain('public.other');
});
