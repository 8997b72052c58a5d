/** A table made while the stream is followed. */
import { expect, test } from 'vitest';
import { follow, openMigration, run, setEndpos, setupStream } from '../../support/live-migration.js';

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
