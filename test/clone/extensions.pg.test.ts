import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { copyExtensionsOnly, dumpSource } from '../../src/clone/steps.js';
import { createDatabase } from '../support/databases.js';
import type { TestDatabase } from '../support/databases.js';
import { expectEqual } from '../support/equal.js';
import { cloneFor } from './clone-for.js';

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const thrown: unknown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (thrown instanceof Failure) return thrown;
  throw new Error(`expected a Failure, got ${String(thrown)}`);
}

const installed = `select extname as name, extversion as version, nspname as schema from pg_extension e
  join pg_namespace n on n.oid = extnamespace where e.oid >= 16384 order by 1`;

/**
 * hstore with two configuration tables and a sequence, as a script with pg_extension_config_dump would have made
 * them. No extension of PostgreSQL's own has any.
 */
async function makeConfigurable(database: TestDatabase): Promise<void> {
  await database.sql(`create extension hstore;
    create table rule (id integer primary key, kind integer, "Te xt" text, twice integer generated always as (id * 2) stored);
    create table kind (id integer primary key);
    alter table rule add foreign key (kind) references kind;
    create sequence counter;
    insert into kind values (1); insert into rule (id, kind, "Te xt") values (1, 1, 'comes with the extension');
    alter extension hstore add table rule; alter extension hstore add table kind; alter extension hstore add sequence counter;
    update pg_extension set extconfig = array['rule'::regclass, 'kind'::regclass, 'counter'::regclass]::oid[],
      extcondition = array['where id > 10', 'where id > 1', ''] where extname = 'hstore'`);
}

describe('extensions', () => {
  test('rows of configuration tables that are the user’s are copied, as the snapshot saw them', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await makeConfigurable(source);
    await makeConfigurable(target);
    await source.sql(`insert into kind values (2); insert into rule (id, kind, "Te xt") values (11, 2, e'own\\t\\\\'), (12, 1, null);
      select setval('counter', 42)`);
    await using run = await cloneFor(source, target);
    await source.sql(`insert into rule (id) values (13)`);

    const summary = await run.clone();

    expect(summary.problems).toEqual([]);
    expect(await target.sql('select id, kind, "Te xt" as text, twice from rule order by id')).toEqual([
      { id: '1', kind: '1', text: 'comes with the extension', twice: '2' },
      { id: '11', kind: '2', text: 'own\t\\', twice: '22' },
      { id: '12', kind: '1', text: null, twice: '24' },
    ]);
    expect(await target.sql('select last_value, is_called from counter')).toEqual([
      { last_value: '42', is_called: 't' },
    ]);

    // A second clone into the same target finds them there, and replaces them where that is asked for.
    await source.sql('delete from rule where id = 12');
    await using second = await cloneFor(source, target);
    const again = await second.clone({ dropIfExists: true });
    expect(again.problems).toEqual([]);
    expect(await target.sql('select id from rule order by id')).toEqual([
      { id: '1' },
      { id: '11' },
      { id: '13' },
    ]);
    await using third = await cloneFor(source, target);
    const kept = await third.clone();
    expect(kept.problems.map(({ object }) => object)).toEqual([
      'rows of public.kind of extension hstore',
      'rows of public.rule of extension hstore',
    ]);
  });

  test('an ordinary role that may not write them is told so; the rest goes on', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await makeConfigurable(source);
    await makeConfigurable(target);
    await source.sql(`insert into rule (id) values (11); grant select on rule, kind, counter to public;
      create table plain as select 1 as id; grant select on plain to public`);
    await target.sql(`revoke pg_write_all_data from walferry_neon`);
    try {
      await using run = await cloneFor(source, target, { as: 'owner' });
      const summary = await run.clone();
      expect(summary.problems.map(({ object, message }) => `${object}: ${message}`)).toEqual([
        expect.stringMatching(/^rows of public.kind of extension hstore: permission denied/),
        expect.stringMatching(/^rows of public.rule of extension hstore: permission denied/),
        expect.stringMatching(/^rows of public.counter of extension hstore: permission denied/),
      ]);
      expect(await target.sql('select id from plain')).toEqual([{ id: '1' }]);
    } finally {
      await target.sql(`grant pg_write_all_data to walferry_neon`);
    }
  });

  test('a required version is made, in its schema, before what needs it', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create schema ext; create extension hstore schema ext; create extension citext;
      create table t (tags ext.hstore, name citext); insert into t values ('a=>1', 'N')`);
    await using run = await cloneFor(source, target);

    const summary = await run.clone({ requirements: [{ name: 'hstore', version: '1.4' }] });

    expect(summary.problems).toEqual([]);
    const [citext] = await source.sql(
      `select extversion as version from pg_extension where extname = 'citext'`,
    );
    expect(await target.sql(installed)).toEqual([
      { name: 'citext', version: citext?.['version'], schema: 'public' },
      { name: 'hstore', version: '1.4', schema: 'ext' },
    ]);
    await expectEqual(source, target);
  });

  test('a required version that the target does not offer is named before anything is made', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql('create extension hstore; create table t (id integer)');
    await using run = await cloneFor(source, target);

    const failure = await failureOf(run.clone({ requirements: [{ name: 'hstore', version: '9.9' }] }));

    expect(failure.code).toBe('target-setup');
    expect(failure.message).toMatch(
      /^extension hstore is required in version 9\.9, which the target does not offer: it has 1\.\d/,
    );
    expect(await target.sql(`select to_regclass('t') as t`)).toEqual([{ t: null }]);
  });

  test('one that the target does not offer is named with what needs it, before anything is made', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    // As if hstore were called by a name that no other server knows.
    await source.sql(`create extension hstore; create table t (id integer, tags hstore); create index on t using gin (tags);
      update pg_extension set extname = 'our_own' where extname = 'hstore'`);
    await using run = await cloneFor(source, target);

    const failure = await failureOf(run.clone());

    expect(failure.code).toBe('target-setup');
    expect(failure.message).toMatch(
      /^the target does not offer extension our_own, which is needed by column tags of table (?:public\.)?t, index (?:public\.)?t_tags_idx$/,
    );
    expect(await target.sql(`select to_regclass('t') as t`)).toEqual([{ t: null }]);
  });

  test('one that nothing needs is reported, and the rest is cloned', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create extension hstore; create table t as select 1 as id;
      update pg_extension set extname = 'our_own' where extname = 'hstore'`);
    await using run = await cloneFor(source, target);

    const summary = await run.clone();

    expect(summary.problems[0]).toMatchObject({
      object: expect.stringContaining('EXTENSION - our_own') as string,
      sql: expect.stringContaining('CREATE EXTENSION IF NOT EXISTS our_own') as string,
    });
    await expectEqual(source, target);
  });

  test('keys, indexes and checks of its own tables and domains do not need one, and its rows do not end the run', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await makeConfigurable(source);
    await source.sql(`create domain small as integer constraint below check (value < 10);
      alter extension hstore add domain small;
      create index on rule ("Te xt"); alter table rule add constraint above check (id > 0);
      insert into rule (id) values (11);
      create table t as select 1 as id;
      update pg_extension set extname = 'our_own' where extname = 'hstore'`);
    await using run = await cloneFor(source, target);

    const summary = await run.clone();

    expect(summary.problems.map(({ object }) => object)).toEqual([
      'EXTENSION - our_own',
      'COMMENT - EXTENSION our_own',
      'rows of public.kind of extension our_own',
      'rows of public.rule of extension our_own',
      'rows of public.counter of extension our_own',
    ]);
    expect(await target.sql('select id from t')).toEqual([{ id: '1' }]);
  });

  test('--skip-extensions makes none, nor their schemas, and needs those that are used', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create schema ext; create extension hstore schema ext; create schema own; create extension citext schema own;
      create table own.t (id integer); create table u (tags ext.hstore)`);
    await using run = await cloneFor(source, target);

    const failure = await failureOf(run.clone({ skipExtensions: true }));
    expect(failure.message).toBe(
      'the target does not have extension hstore, which is needed by column tags of table public.u',
    );

    await target.sql('create schema ext; create extension hstore schema ext');
    const summary = await run.clone({ skipExtensions: true });
    expect(summary.problems).toEqual([]);
    expect(await target.sql(installed)).toMatchObject([{ name: 'hstore' }]);
    expect(await target.sql(`select to_regclass('own.t')::text as t`)).toEqual([{ t: 'own.t' }]);

    await using empty = await createDatabase('target');
    await source.sql('drop table u');
    await using second = await cloneFor(source, empty);
    await second.clone({ skipExtensions: true });
    expect(await empty.sql(`select nspname from pg_namespace where nspname in ('ext', 'own')`)).toEqual([
      { nspname: 'own' },
    ]);
  });

  test('--skip-ext-comments and --skip-collations leave these out', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create extension hstore; comment on extension hstore is 'ours';
      create collation german (provider = icu, locale = 'de'); comment on collation german is 'x'; create table t (a text)`);
    await using run = await cloneFor(source, target);

    const summary = await run.clone({ skipExtensionComments: true, skipCollations: true });

    expect(summary.problems).toEqual([]);
    expect(
      await target.sql(
        `select obj_description(oid, 'pg_extension') <> 'ours' as own from pg_extension where extname = 'hstore'`,
      ),
    ).toEqual([{ own: 't' }]);
    expect(await target.sql(`select count(*) as n from pg_collation where collname = 'german'`)).toEqual([
      { n: '0' },
    ]);
  });
});

describe('copy extensions', () => {
  test('makes an extension where it is, in a schema that nobody may make', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create extension adminpack; create schema ext; create extension hstore schema ext`);
    await using run = await cloneFor(source, target);
    await dumpSource(run.options);

    await copyExtensionsOnly(run.options);

    expect(await target.sql(installed)).toEqual(await source.sql(installed));
    expect(await target.sql(installed)).toMatchObject([{ schema: 'pg_catalog' }, { schema: 'ext' }]);
  });

  test('makes the schema as a clone does: with its owner, its privileges and its comment', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`create schema "My ext"; create extension hstore schema "My ext"; create schema other;
      comment on schema "My ext" is 'of extensions'; grant usage on schema "My ext" to public, pg_monitor;
      alter schema "My ext" owner to pg_database_owner`);
    await using run = await cloneFor(source, target);
    await dumpSource({ ...run.options, skipExtensions: true });

    await copyExtensionsOnly(run.options);

    const schemas = `select nspname, nspowner::regrole as owner, nspacl, obj_description(oid, 'pg_namespace') as comment
      from pg_namespace where nspname in ('My ext', 'other')`;
    expect(await target.sql(schemas)).toEqual(
      (await source.sql(schemas)).filter(({ nspname }) => nspname === 'My ext'),
    );
    expect(await target.sql(installed)).toEqual(await source.sql(installed));
  });

  test('asks for no right to make a schema that is there, and says which it may not make', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sqlAsOwner('create schema ext; create extension hstore schema ext');
    await target.sqlAsOwner('create schema ext; create extension hstore schema ext');
    await using run = await cloneFor(source, target, { as: 'owner' });
    await dumpSource(run.options);
    await copyExtensionsOnly(run.options);
    const refuse = `revoke create on database ${target.name} from walferry_neon`;
    await target.sqlAsOwner(refuse);

    await copyExtensionsOnly(run.options);

    await target.sqlAsOwner('drop schema ext cascade');
    const failure = await failureOf(copyExtensionsOnly(run.options));
    expect(failure.message).toMatch(/SCHEMA - ext .*could not be created: permission denied for database/);
  });
});
