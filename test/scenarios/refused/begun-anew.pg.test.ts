/**
 * A clone that was refused, or stopped before any row was copied: what the next line does, in the same directory and in
 * another one. Whoever follows the advice on the terminal must not lose what is theirs. Without the check that a run
 * begins with, which finds most of this earlier.
 */
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../../support/directory.js';
import { cloneFollow, openMigration, runToEnd, succeed, uris } from '../../support/live-migration.js';
import { walferry } from '../../support/walferry.js';

const schema = 'create table item (id int primary key, body text); insert into item values (1, $$one$$)';
const theirs = `create table item (id int primary key, body text); insert into item values (7, 'not ours')`;

test('a target with tables of others: no advice drops them, and with --drop-if-exists the same line goes on', async () => {
  await using migration = await openMigration({ schema });
  const { target } = migration;
  await target.sqlAsOwner(theirs);

  const refused = await runToEnd(migration, ['clone', '--no-owner', '--skip-check']);
  expect(refused.code, refused.stderr).toBe(7);
  expect(refused.stderr).toContain('--drop-if-exists');
  expect(refused.stderr).not.toMatch(/--restart|--resume/);
  // Nothing was begun, so there is nothing to go on with.
  const again = await runToEnd(migration, ['clone', '--no-owner', '--skip-check', '--resume']);
  expect(again.code, again.stderr).toBe(7);
  expect(await target.sql('select * from item')).toEqual([{ id: '7', body: 'not ours' }]);

  await succeed(migration, ['clone', '--no-owner', '--drop-if-exists']);
  expect(await target.sql('select * from item')).toEqual([{ id: '1', body: 'one' }]);
});

test('a target with tables of others, with --follow: neither slot nor publication is left, and the line can be run again', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  await target.sqlAsOwner(theirs);
  const left = async () => [
    await source.sql(
      `select slot_name from pg_replication_slots where database = current_database()
       union all select pubname from pg_publication`,
    ),
    await target.sql('select * from walferry.position'),
  ];

  // As if its tables came between the check and the copy.
  const refused = await runToEnd(migration, cloneFollow(migration, '--skip-check'));
  expect(refused.code, refused.stderr).toBe(7);
  expect(refused.stderr).toContain('--drop-if-exists');
  expect(refused.stderr).not.toMatch(/--restart|--resume/);
  expect(await left()).toEqual([[], []]);
  expect(await target.sql('select * from item')).toEqual([{ id: '7', body: 'not ours' }]);

  await target.sqlAsOwner('drop table item');
  await source.sqlAsOwner(`insert into item values (2, 'two')`);
  // A position that is passed already: the run ends as soon as the copy is there.
  await succeed(migration, cloneFollow(migration, '--endpos', '0/1'));
  expect(await target.sql('select id from item order by 1')).toEqual([{ id: '1' }, { id: '2' }]);
  await succeed(migration, ['stream', 'cleanup', '--slot-name', `slot_${source.name}`]);
});

test('a directory does not take the copy of another one for its own, nor disturb it', async () => {
  await using migration = await openMigration({ schema });
  await using other = await temporaryDirectory();
  const { source, target } = migration;
  const inOther = async (...more: string[]) => {
    await using process = walferry(['clone', '--no-owner', '--skip-check', '--dir', other.path, ...more], {
      env: uris(migration),
    });
    return await process.exit;
  };
  // Killed between the two, so that the directory has something to go on with.
  const killed = await runToEnd(migration, ['clone', '--no-owner'], {
    WALFERRY_FAILPOINT: 'clone.pre-data:1',
  });
  expect(killed.signal).toBe('SIGKILL');
  const tasks = 'select name from walferry.task order by 1';
  const begun = await target.sql(tasks);
  expect((await inOther()).code).toBe(7);
  expect(await target.sql(tasks)).toEqual(begun);

  expect((await inOther('--drop-if-exists')).code).toBe(0);
  await source.sqlAsOwner(`insert into item values (2, 'two')`);
  const resumed = await runToEnd(migration, ['clone', '--no-owner', '--resume']);
  expect(resumed.code, resumed.stderr).toBe(7);
  expect(resumed.stderr).toMatch(/the target holds what another run has copied/);
  await succeed(migration, ['clone', '--no-owner', '--restart']);
  expect(await target.sql('select id from item order by 1')).toEqual([{ id: '1' }, { id: '2' }]);
});

test('a table that cannot be made: once it can, --resume copies everything from a new snapshot', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  await source.sql(`create type shell_of; create function shell_of_in(cstring) returns shell_of
      language internal immutable strict as 'int4in';
    create function shell_of_out(shell_of) returns cstring language internal immutable strict as 'int4out';
    create type shell_of (input = shell_of_in, output = shell_of_out, like = int4);
    create table needs (id shell_of); insert into needs values ('3'); grant select on needs to public`);

  const failed = await runToEnd(migration, ['clone', '--no-owner', '--skip-check']);
  expect(failed.code, failed.stderr).toBe(7);
  expect(failed.stderr).toMatch(/ERROR {2}.*TABLE public needs .*type "public.shell_of" does not exist/);
  // Why it does not: the reason is on the terminal too.
  expect(failed.stderr).toMatch(/TYPE public shell_of .*must be superuser/);

  await target.sql(`create type shell_of; create function shell_of_in(cstring) returns shell_of
      language internal immutable strict as 'int4in';
    create function shell_of_out(shell_of) returns cstring language internal immutable strict as 'int4out';
    create type shell_of (input = shell_of_in, output = shell_of_out, like = int4)`);
  await source.sqlAsOwner(`insert into item values (2, 'two')`);
  await succeed(migration, ['clone', '--no-owner', '--resume']);
  expect(await target.sql('select id from item order by 1')).toEqual([{ id: '1' }, { id: '2' }]);
  expect(await target.sql('select id::text from needs')).toEqual([{ id: '3' }]);
});
