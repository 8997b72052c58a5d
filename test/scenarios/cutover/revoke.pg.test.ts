/**
 * `--freeze revoke`: privileges to write are taken away and given back exactly, also after kill -9 in between. And what
 * an ordinary role may do to stop writes.
 */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { TestDatabase, TestRow } from '../../support/databases.js';
import { openMigration, run, runToEnd } from '../../support/live-migration.js';
import { until } from '../../support/until.js';
import { anyLag, cutover, followed, shopSchema } from './shop.js';

/** Roles of a test alone: they belong to the server, not to a database. */
async function makeRoles(
  source: TestDatabase,
): Promise<AsyncDisposable & { clerk: string; manager: string; helper: string }> {
  const suffix = randomBytes(4).toString('hex');
  const [clerk, manager, helper] = ['clerk', 'manager', 'helper'].map((name) => `${name} ${suffix}`) as [
    string,
    string,
    string,
  ];
  for (const role of [clerk, manager, helper]) await source.sql(`create role "${role}"`);
  return {
    clerk,
    manager,
    helper,
    [Symbol.asyncDispose]: async () => {
      for (const role of [clerk, manager, helper]) {
        await source.sql(`drop owned by "${role}"; drop role "${role}"`);
      }
    },
  };
}

/** Every privilege on every table and column, as it was granted. */
function privileges(source: TestDatabase): Promise<TestRow[]> {
  return source.sql(`
    with held as (
      select c.oid::regclass::text as name, '' as column, a.*
        from pg_class c, aclexplode(c.relacl) a where c.relnamespace = 'public'::regnamespace
      union all
      select c.oid::regclass::text, t.attname, a.*
        from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
       where c.relnamespace = 'public'::regnamespace)
    select name, "column", grantor::regrole::text, grantee::regrole::text, privilege_type, is_grantable
      from held order by 1, 2, 3, 4, 5`);
}

async function expectRefused(source: TestDatabase, role: string, statement: string): Promise<void> {
  await using session = await source.session();
  await session.sql(`set role "${role}"`);
  await expect(session.sql(statement)).rejects.toThrow(/permission denied/);
}

async function expectAllowed(source: TestDatabase, role: string, statement: string): Promise<void> {
  await using session = await source.session();
  await session.sql(`set role "${role}"`);
  await session.sql(statement);
}

const insert = 'insert into sale (item, amount) values (1, 1)';

describe('--freeze revoke', () => {
  test('takes privileges to write from everybody, and an undo gives them back exactly', async () => {
    await using migration = await openMigration({ schema: shopSchema, role: 'superuser' });
    const { source, target } = migration;
    await using roles = await makeRoles(source);
    const { clerk, manager, helper } = roles;
    await source.sql(`
      grant select, insert on sale to "${clerk}";
      grant update (note) on sale to "${clerk}" with grant option;
      grant all on sale to "${manager}" with grant option;
      grant delete, truncate on item to public;
      create sequence ticket; grant usage, select on ticket to "${clerk}"; grant update on ticket to "${manager}";
      create view recent as select * from sale; create view latest as select * from recent;
      grant insert, update (note) on latest to "${clerk}";
      set role "${manager}"; grant insert, update on sale to "${helper}"; grant update (amount) on sale to "${helper}";
      set role "${clerk}"; grant update (note) on sale to "${helper}" with grant option;
      reset role`);
    await using following = await followed(migration, '--no-acl');
    const before = await privileges(source);

    // Killed while the source is frozen,
    await using dying = run(migration, ['cutover', ...anyLag, '--freeze', 'revoke'], {
      WALFERRY_FAILPOINT: 'cutover.endpos-set',
    });
    expect((await dying.exit).signal).toBe('SIGKILL');
    for (const role of [clerk, manager, helper]) await expectRefused(source, role, insert);
    await expectRefused(source, clerk, `update sale set note = 'x'`);
    await expectRefused(source, helper, 'update sale set amount = 2');
    await expectRefused(source, clerk, 'truncate item');
    await expectRefused(source, clerk, `select nextval('ticket')`);
    await expectRefused(source, manager, `select setval('ticket', 5)`);
    await expectAllowed(source, clerk, 'select last_value from ticket');
    await expectRefused(source, clerk, 'insert into latest (item, amount) values (1, 1)');
    await expectRefused(source, clerk, `update latest set note = 'x'`);
    await expectAllowed(source, clerk, 'select count(*) from sale');

    // a second cutover is refused, and the undo gives back what was taken, twice too.
    const second = await runToEnd(migration, ['cutover', ...anyLag, '--freeze', 'revoke']);
    expect(second.code).toBe(12);
    expect(second.stderr).toContain('walferry cutover --abort');
    const aborted = await runToEnd(migration, ['cutover', ...anyLag, '--abort']);
    expect(aborted.code, aborted.stderr).toBe(0);
    expect(await privileges(source)).toEqual(before);
    const again = await runToEnd(migration, ['cutover', ...anyLag, '--abort']);
    expect(again.code, again.stderr).toBe(0);
    await expectAllowed(source, helper, insert);
    await until('the sale is on the target', async () => (await target.sql('select from sale')).length === 1);

    // Killed in the middle of the undo, the next one completes it.
    await target.sql(`update item set name = 'tampered with' where id = 1`);
    await using undoing = run(migration, ['cutover', ...anyLag, '--freeze', 'revoke'], {
      WALFERRY_FAILPOINT: 'cutover.taken-back',
    });
    expect((await undoing.exit).signal).toBe('SIGKILL');
    await expectRefused(source, helper, insert);
    expect((await runToEnd(migration, ['cutover', ...anyLag, '--abort'])).code).toBe(0);
    expect(await privileges(source)).toEqual(before);

    // And a cutover that succeeds leaves them taken.
    await target.sql(`update item set name = 'item 1' where id = 1`);
    const { exit, report } = await cutover(migration, '--freeze', 'revoke');
    expect(exit.code, exit.stderr).toBe(0);
    expect(report.source_frozen).toBe(true);
    expect((await following.exit).code).toBe(0);
    await expectRefused(source, clerk, insert);
  });

  test('functions that write with rights that stay are named, and no others', async () => {
    await using migration = await openMigration({ schema: shopSchema, role: 'superuser' });
    const { source } = migration;
    const body = `language sql begin atomic insert into sale (item, amount) values (1, 1); end`;
    await source.sql(`
      grant insert on sale to public;
      create function sell(int) returns void security definer ${body};
      create procedure "re fund"() security definer ${body};
      create function sell_as_caller() returns void ${body};
      create function sell_for_nobody() returns void security definer ${body};
      revoke execute on function sell_for_nobody() from public;
      create function looks() returns bigint stable security definer language sql as 'select count(*) from sale';
      create function fires() returns trigger security definer language plpgsql as 'begin return new; end'`);
    await using _following = await followed(migration, '--no-acl');
    const dry = await runToEnd(migration, ['cutover', ...anyLag, '--dry-run', '--freeze', 'revoke']);
    expect(dry.stdout).toMatch(
      /SECURITY DEFINER .*: public\."re fund"\(\) \(of postgres\), public\.sell\(integer\) \(of postgres\)\n/,
    );
    const readOnly = await runToEnd(migration, ['cutover', ...anyLag, '--dry-run']);
    expect(readOnly.stdout).not.toContain('SECURITY DEFINER');
  });

  test('what an ordinary role may not do is said at the start, with what it may', async () => {
    await using migration = await openMigration({ schema: shopSchema });
    const { source } = migration;
    await using roles = await makeRoles(source);
    await using _following = await followed(migration, '--no-acl');
    // Nothing to revoke: the tables are their owner's alone.
    const nothing = await runToEnd(migration, ['cutover', ...anyLag, '--freeze', 'revoke']);
    expect(nothing.code).toBe(12);
    expect(nothing.stderr).toContain('--freeze revoke is not possible: nobody but owners and superusers');
    // A grant in the name of somebody whom the role may not act for.
    await source.sqlAsOwner(`grant insert on sale to "${roles.manager}" with grant option`);
    await source.sql(`set role "${roles.manager}"; grant insert on sale to public; reset role`);
    const foreign = await runToEnd(migration, ['cutover', ...anyLag, '--freeze', 'revoke']);
    expect(foreign.code).toBe(12);
    expect(foreign.stderr).toContain(`the role may not act as ${roles.manager}`);
    // A role for which the default of the database does not hold; in this one alone, since other tests cut over too.
    await source.sql(
      `alter role "${roles.clerk}" login; alter role "${roles.clerk}" in database ${source.name} set default_transaction_read_only = off`,
    );
    const own = await runToEnd(migration, ['cutover', ...anyLag]);
    expect(own.code).toBe(12);
    expect(own.stderr).toContain(`which is stronger: ${roles.clerk}`);
    // A database that belongs to somebody else.
    await source.sql(
      `alter role "${roles.clerk}" in database ${source.name} reset default_transaction_read_only; alter database ${source.name} owner to postgres`,
    );
    const foreignDatabase = await runToEnd(migration, ['cutover', ...anyLag]);
    expect(foreignDatabase.code).toBe(12);
    expect(foreignDatabase.stderr).toContain(`the role does not own the database ${source.name}`);
    expect(foreignDatabase.stderr).toContain('--freeze none: possible');
    // Nothing of all this was begun.
    await source.sqlAsOwner(insert);
    expect((await runToEnd(migration, ['cutover', ...anyLag, '--abort'])).stderr).toContain(
      'no cutover to be undone',
    );
  });
});
