import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { finalizeTarget, setSequences } from '../../src/clone/clone.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase } from '../support/databases.js';
import type { TestDatabase } from '../support/databases.js';
import { expectEqual } from '../support/equal.js';
import { cloneFor } from './clone-for.js';
import { dumpText } from './dump-text.js';
import { richPrivileges, richRows, richSchema, richTables } from './rich-schema.js';

async function makeRich(source: TestDatabase, as: 'superuser' | 'owner' = 'superuser'): Promise<void> {
  const sql = as === 'owner' ? source.sqlAsOwner : source.sql;
  for (const text of [richSchema, richTables, richRows]) await sql(text);
}

/** Every sequence's last_value and is_called. */
async function sequences(database: TestDatabase): Promise<Record<string, string>> {
  const names = await database.sql(
    `select format('%I.%I', schemaname, sequencename) as name from pg_sequences order by 1`,
  );
  const values: Record<string, string> = {};
  for (const { name } of names) {
    const [row] = await database.sql(`select last_value, is_called from ${name}`);
    values[name ?? ''] = `${row?.['last_value']} ${row?.['is_called']}`;
  }
  return values;
}

async function contentsOfViews(database: TestDatabase): Promise<unknown> {
  return [
    await database.sql('select * from app.first order by sensor'),
    await database.sql('select * from app.a_second'),
    await database.sql('select * from app.on_grouped order by id limit 5'),
    await database.sql('select app.by_key(7)'),
    await database.sql(`select relispopulated from pg_class where relname = 'unfilled'`),
  ];
}

/** Objects that fire, forbid or point elsewhere: none of them may exist while changes are applied. */
const firingObjects = `
  select (select count(*) from pg_constraint where contype = 'f') as foreign_keys,
    (select count(*) from pg_trigger where not tgisinternal) as triggers,
    (select count(*) from pg_rewrite where rulename <> '_RETURN' and oid >= 16384) as rules,
    (select count(*) from pg_policy) as policies,
    (select count(*) from pg_class where relrowsecurity) as row_security,
    (select count(*) from pg_event_trigger) as event_triggers,
    (select count(*) from pg_attribute where attidentity = 'a') as always_identities`;

describe('a clone of a rich schema', () => {
  test('by a superuser has the same schema, rows and sequences', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await makeRich(source);
    await source.sql(richPrivileges);
    await using run = await cloneFor(source, target);

    const summary = await run.clone();

    expect(summary.problems).toEqual([]);
    expect(run.said).toEqual([]);
    expect(await dumpText(target)).toBe(await dumpText(source));
    await expectEqual(source, target);
    expect(await sequences(target)).toEqual(await sequences(source));
    expect(await contentsOfViews(target)).toEqual(await contentsOfViews(source));
    // A table that was written frozen is known to be visible to all.
    const [large] = await target.sql(
      `select relpages, relallvisible from pg_class where oid = 'app.large'::regclass`,
    );
    expect(large?.['relallvisible']).toBe(large?.['relpages']);
    expect(summary.tables.find((table) => table.name === 'large')).toMatchObject({
      rows: 20000,
      parts: 1,
      indexes: 2,
    });
    expect(summary.steps.at(-1)?.durationMs).toBeGreaterThan(0);
  });

  test('by an ordinary role is the same too, and what it may not do is reported once, with the SQL', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await makeRich(source, 'owner');
    await source.sql(richPrivileges);
    // The owner himself is no exception to FORCE, and could not read all rows.
    await source.sql('alter table app.egg no force row level security');
    await using run = await cloneFor(source, target, { as: 'owner' });

    const summary = await run.clone();

    // Only a superuser may make these, or speak for the role that made the database.
    expect(summary.problems.map((problem) => problem.sql?.trim().split('\n')[0])).toEqual([
      "CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert, update, delete, truncate');",
      'ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA app GRANT SELECT ON TABLES  TO pg_monitor;',
      'CREATE EVENT TRIGGER watch ON ddl_command_end',
      "COMMENT ON EVENT TRIGGER watch IS 'looks';",
    ]);
    await source.sql(`drop publication everything; drop event trigger watch;
      alter default privileges in schema app revoke select on tables from pg_monitor`);
    const plain = ['--no-owner'];
    expect(ownerless(await dumpText(target, ...plain))).toBe(ownerless(await dumpText(source, ...plain)));
    await expectEqual(source, target);
    expect(await sequences(target)).toEqual(await sequences(source));
    expect(await contentsOfViews(target)).toEqual(await contentsOfViews(source));
  });

  test('by a role that has its database and nothing else, on the target', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await makeRich(source, 'owner');
    await source.sql('alter table app.egg no force row level security');
    const weak = `weak_${target.name}`;
    await target.sql(
      `create role ${weak} login password 'weak'; alter database ${target.name} owner to ${weak}`,
    );
    const uri = new URL(target.uri);
    uri.username = weak;
    uri.password = 'weak';
    try {
      await using run = await cloneFor(source, target, { as: 'owner' });

      const summary = await run.clone({ target: readConninfo(uri.href, {}) });

      expect(summary.problems).toEqual([]);
      const plain = ['--no-owner'];
      expect(ownerless(await dumpText(target, ...plain))).toBe(ownerless(await dumpText(source, ...plain)));
      await expectEqual(source, target);
      expect(await contentsOfViews(target)).toEqual(await contentsOfViews(source));
    } finally {
      await target.sql(`reassign owned by ${weak} to postgres; drop owned by ${weak}; drop role ${weak}`);
    }
  });

  test('with follow leaves nothing that fires until finalize, which may be run again', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await makeRich(source);
    await source.sql(richPrivileges);
    await source.sql('create publication ours for table app.customer');
    await using run = await cloneFor(source, target);
    const work = { ...run.options, leaveOut: { publications: ['ours'] } };

    await run.clone({ ...work, follow: true });

    const none = { foreign_keys: '0', triggers: '0', rules: '0', policies: '0' };
    const nothing = { ...none, row_security: '0', event_triggers: '0', always_identities: '0' };
    expect(await target.sql(firingObjects)).toEqual([nothing]);
    // The bodies of grouped views are there, the materialized views wait for the last change.
    expect(await target.sql('select count(*) as n from app.on_grouped')).toEqual([{ n: '3002' }]);
    expect(await target.sql(`select relispopulated from pg_class where relname = 'first'`)).toEqual([
      { relispopulated: 'f' },
    ]);

    await target.sql('update app.customer set id = id');
    await finalizeTarget(work);
    await setSequences(work);
    await source.sql('drop publication ours');

    expect(await dumpText(target)).toBe(await dumpText(source));
    expect(await sequences(target)).toEqual(await sequences(source));
    expect(await contentsOfViews(target)).toEqual(await contentsOfViews(source));
    expect((await finalizeTarget(work)).problems).toEqual([]);
    expect(await dumpText(target)).toBe(await dumpText(source));
  });
});

test('a clone killed in the middle of pre-data makes what is missing', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await makeRich(source);
  await using run = await cloneFor(source, target);
  await run.cloneAndDie('clone.pre-data:1', { follow: true });
  // As if the kill had come before these were made.
  await target.sql(`alter table app.measure detach partition app.measure_2020; drop view app.on_grouped;
    drop table app.hen cascade; drop table app.part_ref cascade; drop function app.quiet();
    drop statistics app.customer_stats; alter table app.scratch alter column id drop default`);

  await run.clone({ resume: true });

  expect(await dumpText(target)).toBe(await dumpText(source));
  await expectEqual(source, target);
});

test('a clone killed between CREATE and its owner sets the owner when it goes on, but not of what was there before', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  const keeper = `keeper_${randomBytes(4).toString('hex')}`;
  const owners = `
    select 'table' as what, relname as name, pg_get_userbyid(relowner) as owner from pg_class where relname in ('one', 'two', 'v')
    union all select 'schema', nspname, pg_get_userbyid(nspowner) from pg_namespace where nspname = 'App'
    union all select 'function', proname, pg_get_userbyid(proowner) from pg_proc where proname in ('mine', 'theirs')
    union all select 'type', typname, pg_get_userbyid(typowner) from pg_type where typname = 'mood' order by 1, 2`;
  const function_ = (name: string) =>
    `create function ${name}() returns text language sql as $$\nALTER TABLE public.two OWNER TO postgres;\nselect 'x'\n$$`;
  for (const database of [source, target]) await database.sql(`create role ${keeper}`);
  try {
    await source.sql(`
      create schema "App"; create type mood as enum ('good'); create table "App".one (m mood); create table two (id int);
      create view v as select * from two; set check_function_bodies = off; ${function_('mine')}; ${function_('theirs')};
      alter schema "App" owner to ${keeper}; alter type mood owner to ${keeper}; alter table "App".one owner to ${keeper};
      alter table two owner to ${keeper}; alter view v owner to ${keeper};
      alter function mine() owner to ${keeper}; alter function theirs() owner to ${keeper}`);
    await target.sql(`set check_function_bodies = off; ${function_('theirs')}`);
    await using run = await cloneFor(source, target);
    await run.cloneAndDie('clone.pre-data:1');
    // As if the kill had come before their owners were set.
    await target.sql(`alter schema "App" owner to postgres; alter type mood owner to postgres;
      alter table "App".one owner to postgres; alter view v owner to postgres; alter function mine() owner to postgres`);

    await run.clone({ resume: true });

    const wanted = (await source.sql(owners)).map((row) =>
      row['name'] === 'theirs' ? { ...row, owner: 'postgres' } : row,
    );
    expect(await target.sql(owners)).toEqual(wanted);
  } finally {
    for (const database of [source, target])
      await database.sql(`drop owned by ${keeper} cascade; drop role ${keeper}`);
  }
});

/** Grants name the owner as grantor, and his own rights where they were written out. */
function ownerless(text: string): string {
  return text
    .replaceAll('walferry_owner', 'OWNER')
    .replaceAll('walferry_neon', 'OWNER')
    .replaceAll('TO postgres', 'TO OWNER');
}
