import { randomBytes } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Log } from '../../src/log.js';
import { copyRoles, replayRoles } from '../../src/clone/roles.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase } from '../support/databases.js';
import type { TestDatabase } from '../support/databases.js';
import { useMajors } from '../support/majors.js';
import { cloneFor } from './clone-for.js';

const majors = useMajors();

// Roles belong to the server, which other tests use too: each test has names of its own, and removes them.
function roleNames(): { app: string; group: string; boss: string } & AsyncDisposable & {
    on: TestDatabase[];
  } {
  const mark = randomBytes(4).toString('hex');
  const names = { app: `app "${mark}"; x`, group: `group_${mark}`, boss: `boss_${mark}` };
  const on: TestDatabase[] = [];
  return {
    ...names,
    on,
    [Symbol.asyncDispose]: async () => {
      for (const database of on) {
        for (const name of Object.values(names)) {
          await database.sql(`drop role if exists "${name.replaceAll('"', '""')}"`);
        }
      }
    },
  };
}

const canary = 'canary-password';

async function makeRoles(
  source: TestDatabase,
  { app, group, boss }: ReturnType<typeof roleNames>,
): Promise<void> {
  const quoted = `"${app.replaceAll('"', '""')}"`;
  await source.sql(`
    create role ${group} createdb;
    create role ${quoted} login password '${canary}' connection limit 7 valid until '2040-01-01 00:00:00+00' in role ${group};
    create role ${boss} superuser replication bypassrls createrole;
    grant ${group} to ${boss} with admin option;
    grant pg_monitor to ${quoted};
    alter role ${quoted} set work_mem to '7MB';
    comment on role ${quoted} is 'a ; ''comment'''`);
}

const attributes = (app: string) => `
  select rolcanlogin, rolcreatedb, rolconnlimit, rolvaliduntil at time zone 'UTC' as until, (select setconfig::text from pg_db_role_setting where setrole = a.oid and setdatabase = 0) as config,
    rolpassword, shobj_description(oid, 'pg_authid') as comment
  from pg_authid a where rolname = '${app}'`;

const memberships = (names: readonly string[]) => `
  select pg_get_userbyid(m.roleid) as role, pg_get_userbyid(m.member) as member, m.admin_option
  from pg_auth_members m where pg_get_userbyid(m.member) in (${names.map((name) => `'${name}'`).join(', ')})
  order by 1, 2`;

function options(source: TestDatabase, target: TestDatabase, as: 'superuser' | 'owner') {
  const lines: string[] = [];
  const say = (message: string) => void lines.push(message);
  const log: Log = { error: say, warn: say, info: say, notice: say, debug: say };
  const uri = (database: TestDatabase) => (as === 'owner' ? database.neonUri : database.uri);
  return {
    lines,
    options: {
      source: readConninfo(uri(source), {}),
      target: readConninfo(uri(target), {}),
      serverVersion: 150000,
      passwords: true,
      log,
    },
  };
}

describe('roles', () => {
  test('as superuser are the same on the target, passwords and all; a second time they are skipped', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using names = roleNames();
    names.on.push(source, target);
    await makeRoles(source, names);
    const run = options(source, target, 'superuser');

    const problems = await copyRoles(run.options);

    const { app, group, boss } = names;
    expect(problems.filter(({ object }) => [app, group, boss].some((name) => object.includes(name)))).toEqual(
      [],
    );
    expect(await target.sql(attributes(app))).toEqual(await source.sql(attributes(app)));
    expect(await target.sql(memberships([app, group, boss]))).toEqual(
      await source.sql(memberships([app, group, boss])),
    );
    expect(
      await target.sql(
        `select rolsuper, rolreplication, rolbypassrls, rolcreaterole from pg_roles where rolname = '${boss}'`,
      ),
    ).toEqual([{ rolsuper: 't', rolreplication: 't', rolbypassrls: 't', rolcreaterole: 't' }]);
    expect(run.lines.join('\n')).not.toMatch(/SCRAM|canary/);

    await target.sql(`alter role ${boss} nosuperuser; alter role ${group} password 'other'`);
    expect(await copyRoles(run.options)).toEqual(problems);
    // Roles that are there stay as they are.
    expect(await target.sql(`select rolsuper from pg_roles where rolname = '${boss}'`)).toEqual([
      { rolsuper: 'f' },
    ]);
  });

  test('are copied by a role that has small time limits', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using names = roleNames();
    names.on.push(source, target);
    await makeRoles(source, names);
    const { boss } = names;
    await source.sql(`
      alter role ${boss} login password '${canary}';
      alter role ${boss} set statement_timeout = '1ms';
      alter role ${boss} set lock_timeout = '1ms';
      alter role ${boss} set idle_in_transaction_session_timeout = '1ms';
      alter role ${boss} set idle_session_timeout = '1ms'`);
    const run = options(source, target, 'superuser');
    const as = new URL(source.uri);
    as.username = boss;
    as.password = canary;

    await copyRoles({ ...run.options, source: readConninfo(as.href, {}) });

    expect(await target.sql(`select rolname from pg_roles where rolname = '${boss}'`)).toEqual([
      { rolname: boss },
    ]);
  });

  test('as an ordinary role are made without passwords, and what may not be given is reported', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using names = roleNames();
    names.on.push(source, target);
    await makeRoles(source, names);
    const { app, group, boss } = names;
    const run = options(source, target, 'owner');

    const problems = await copyRoles(run.options);

    expect(problems[0]).toEqual({
      object: 'passwords of the roles',
      message: expect.stringContaining('pg_authid') as string,
      sql: null,
    });
    const ofBoss = problems.filter(({ object }) => object === `role ${boss}`);
    expect(ofBoss.map(({ sql }) => sql)).toEqual([
      `ALTER ROLE "${boss}" WITH SUPERUSER;`,
      `ALTER ROLE "${boss}" WITH REPLICATION;`,
      `ALTER ROLE "${boss}" WITH BYPASSRLS;`,
    ]);
    const [made] = await target.sql(attributes(app));
    expect(made).toMatchObject({
      rolcanlogin: 't',
      rolconnlimit: '7',
      rolpassword: null,
      config: '{work_mem=7MB}',
    });
    expect(await target.sql(`select rolcreatedb from pg_roles where rolname = '${group}'`)).toEqual([
      { rolcreatedb: 't' },
    ]);
    const members = await target.sql(memberships([app, boss]));
    expect(members.map(({ role }) => role)).toEqual(expect.arrayContaining([group, group]));
    // The statements can be run as they are.
    for (const { sql } of ofBoss) await target.sql(sql ?? '');
    expect(await target.sql(`select rolsuper from pg_roles where rolname = '${boss}'`)).toEqual([
      { rolsuper: 't' },
    ]);
  });

  test('come before the schema, so that owners and grants find them; no password is in any file', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using names = roleNames();
    names.on.push(source, target);
    const { group, boss } = names;
    await source.sql(`create role ${group} login password '${canary}'; create role ${boss};
      create table t (id integer); alter table t owner to ${group}; grant select on t to ${boss}`);
    await using run = await cloneFor(source, target);

    const summary = await run.clone({ roles: { passwords: true } });

    expect(summary.problems.filter(({ sql }) => sql?.includes(' t ') === true)).toEqual([]);
    expect(
      await target.sql(
        `select tableowner, has_table_privilege('${boss}', 't', 'select') as granted from pg_tables where tablename = 't'`,
      ),
    ).toEqual([{ tableowner: group, granted: 't' }]);
    const folder = path.join(run.options.directory, 'schema');
    for (const file of await readdir(folder)) {
      expect(await readFile(path.join(folder, file), 'latin1')).not.toMatch(/SCRAM-SHA|canary/);
    }
    for (const database of [source, target]) await database.sql(`drop table t`);
  });
});

describe('memberships with options of their own', () => {
  const letters = ['a', 'b', 'c', 'd', 'e'];

  /** As pg_dumpall prints them for a source from 16 on. */
  function scriptOf({ group, boss, mark }: { group: string; boss: string; mark: string }): string {
    const role = (name: string, inherits: boolean) =>
      `CREATE ROLE ${name}; ALTER ROLE ${name} WITH NOSUPERUSER ${inherits ? 'INHERIT' : 'NOINHERIT'} NOLOGIN;`;
    return `${role(group, true)} ${role(boss, true)}
      ${letters.map((letter) => role(`${letter}_${mark}`, letter < 'd')).join('\n')}
      GRANT ${group} TO ${boss} WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;
      GRANT ${group} TO a_${mark} WITH INHERIT TRUE GRANTED BY ${boss};
      GRANT ${group} TO b_${mark} WITH INHERIT FALSE GRANTED BY ${boss};
      GRANT ${group} TO c_${mark} WITH INHERIT TRUE, SET FALSE GRANTED BY "not ""there""";
      GRANT ${group} TO d_${mark} WITH INHERIT FALSE GRANTED BY ${boss};
      GRANT ${group} TO e_${mark} WITH ADMIN OPTION, INHERIT TRUE GRANTED BY ${boss};
      GRANT pg_nobody_has_it TO a_${mark} WITH INHERIT TRUE GRANTED BY postgres;`;
  }

  async function replay(database: TestDatabase, columns: string) {
    const mark = randomBytes(4).toString('hex');
    const [group, boss] = [`group_${mark}`, `boss_${mark}`];
    const run = options(database, database, 'superuser');
    try {
      const problems = await replayRoles(scriptOf({ group, boss, mark }), run.options);
      const rows = await database.sql(`
        select left(pg_get_userbyid(member), 1) as member, ${columns}, pg_get_userbyid(grantor) = '${boss}' as of_boss
        from pg_auth_members where roleid = '${group}'::regrole and member <> '${boss}'::regrole order by 1`);
      return {
        rows: rows.map((row) => Object.values(row).join(' ')),
        problems: problems.map(({ object, message, sql }) => [object.replace(`_${mark}`, ''), message, sql]),
      };
    } finally {
      const members = letters.map((letter) => `${letter}_${mark}`).join(', ');
      await database.sql(
        `drop role if exists ${members}; drop role if exists ${boss}; drop role if exists ${group}`,
      );
    }
  }

  test('are what they were on a target that has them, by another grantor where theirs is not there', async (context) => {
    const server = await majors.server(context, 16, 'target');
    await using target = await createDatabase('target', { server });

    const { rows, problems } = await replay(target, 'admin_option, inherit_option, set_option');

    expect(rows).toEqual(['a f t t t', 'b f f t t', 'c f t f f', 'd f f t t', 'e t t t t']);
    expect(problems).toEqual([
      ['role a', 'it is a member of pg_nobody_has_it on the source, which the target does not have', null],
    ]);
  });

  test('give no more on an older target than on the source, and what is lost is told', async () => {
    await using target = await createDatabase('target');

    const { rows, problems } = await replay(target, 'admin_option');

    expect(rows).toEqual(['a f t', 'd f t', 'e t t']);
    expect(problems).toEqual([
      ['role b', expect.stringMatching(/not made a member .* WITH INHERIT FALSE/), null],
      ['role c', expect.stringMatching(/not made a member .* WITH SET FALSE/), null],
      ['role e', expect.stringMatching(/has to SET ROLE/), null],
      ['role a', expect.stringContaining('pg_nobody_has_it'), null],
    ]);
  });
});
