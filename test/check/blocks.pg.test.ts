/**
 * Everything that `check` calls a FAIL is shown to end a run: each case is set up on real servers, is found as the only
 * thing that fails, with its remedy, and a clone that is told not to check (--skip-check) ends with an error.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { Failure, failurePolicies, type FailureCode } from '../../src/failure.js';
import { clone, type CloneSettings } from '../../src/index.js';
import { openMigration, runToEnd, slotOf, uris, type Migration } from '../support/live-migration.js';
import { failing, wishOf, type WishChanges } from './wish.js';

type Case = {
  /** What fails, in the words of a title. */
  readonly name: string;
  readonly id: string;
  readonly code: FailureCode;
  readonly says: RegExp;
  readonly remedy: RegExp;
  /** On the source, as the superuser, after the table `item` was made by the owner. */
  readonly source?: (migration: Migration) => string;
  readonly target?: (migration: Migration) => string;
  readonly wish?: (migration: Migration) => WishChanges;
  /** Options of the clone that is to fail. */
  readonly options?: (migration: Migration) => CloneSettings;
  /** Where the run ends with another code than the one foretold: further on, it looks like one of these. */
  readonly endsWith?: readonly FailureCode[];
  /** What must be as it was after the run has ended. */
  readonly left?: (migration: Migration) => Promise<void>;
  /** Takes away what is not of the databases. */
  readonly undo?: (migration: Migration) => string;
};

const schema = `create table item (id int primary key, body text); insert into item values (1, 'one')`;
const follow = (): WishChanges => ({ follow: true });
const followOptions = (migration: Migration): CloneSettings => ({
  follow: true,
  slotName: slotOf(migration),
});

/** A file of the test's own, whose name says nothing. */
function file({ directory }: Migration, text: string): string {
  const name = path.join(directory, 'given');
  writeFileSync(name, text);
  return name;
}

const onSource: readonly Case[] = [
  {
    name: 'a table that our role may not read',
    id: 'source.tables',
    code: 'source-rights',
    source: () => 'alter table item owner to postgres; revoke all on item from public',
    says: /may not read public\.item/,
    remedy: /grant select on public\.item to "walferry_owner";/,
  },
  {
    name: 'a column of a row type whose columns a dump puts into another order',
    id: 'source.column-order',
    code: 'source-setup',
    source: () => `create table parent (a int); create table child (own int) inherits (parent);
      alter table parent add late int; create table holds (id int primary key, c child);
      grant select on parent, child, holds to public`,
    says: /c of public\.holds hold rows of public\.child/,
    remedy: /--filters/,
  },
  {
    name: 'a table of a schema that our role may not use',
    id: 'source.tables',
    code: 'source-rights',
    source: () =>
      'create schema hall; create table hall.t (id int primary key); grant select on hall.t to public',
    says: /may not read hall\.t/,
    remedy: /grant usage on schema "?hall"? to "walferry_owner"; grant select on hall\.t/,
  },
  {
    name: 'a partitioned table that our role may not read, beside partitions that it may',
    id: 'source.tables',
    code: 'source-rights',
    source: () =>
      `create table parted (id int) partition by list (id); create table parted_1 partition of parted default;
       grant select on parted_1 to public`,
    says: /may not read public\.parted$/m,
    remedy: /grant select on public\.parted to/,
  },
  {
    name: 'a partition that is half detached',
    id: 'source.half-detached',
    code: 'source-setup',
    // As a DETACH PARTITION CONCURRENTLY leaves it that is cancelled while it waits.
    source: () =>
      `create table parted (id int primary key) partition by list (id);
       create table parted_1 partition of parted for values in (1);
       alter table parted owner to walferry_owner; alter table parted_1 owner to walferry_owner;
       update pg_inherits set inhdetachpending = true where inhrelid = 'parted_1'::regclass`,
    says: /DETACH PARTITION CONCURRENTLY was interrupted, .* public\.parted_1$/,
    remedy: /alter table "public"\."parted" detach partition "public"\."parted_1" finalize;/,
  },
  {
    name: 'a sequence that our role may not read, beside tables that it may',
    id: 'source.sequences',
    code: 'source-rights',
    source: () => 'create sequence ticket; revoke all on sequence ticket from public',
    says: /may not read the sequences public\.ticket/,
    remedy: /grant select on all sequences in schema "?public"? to "walferry_owner"/,
  },
  {
    name: 'row security that hides rows from our role',
    id: 'source.tables',
    code: 'source-rights',
    source: () => 'alter table item enable row level security; alter table item force row level security',
    says: /row security hides rows of public\.item/,
    remedy: /alter role "walferry_owner" bypassrls/,
  },
  {
    name: 'a large object that our role may not read',
    id: 'source.large-objects',
    code: 'source-rights',
    source: () => `select lo_from_bytea(0, 'x')`,
    says: /may not read large object \d+/,
    remedy: /--skip-large-objects/,
  },
  {
    name: 'a system identifier that is kept from us',
    id: 'source.identity',
    code: 'source-rights',
    source: () => 'revoke execute on function pg_control_system() from public',
    says: /does not tell its system identifier/,
    remedy: /grant execute on function pg_control_system\(\)/,
  },
  {
    name: 'filters that name what is not there',
    id: 'objects.filters',
    code: 'filter-mismatch',
    wish: () => ({ filters: '[include-only-table]\npublic.nothing\n' }),
    options: (migration) => ({ filters: file(migration, '[include-only-table]\npublic.nothing\n') }),
    says: /the source has no table public\.nothing/,
    remedy: /clone --plan/,
  },
];

const forStream: readonly Case[] = [
  {
    name: 'a slot of the name',
    id: 'stream.slot',
    code: 'slot-exists',
    source: (migration) => `select pg_create_physical_replication_slot('${slotOf(migration)}')`,
    undo: (migration) => `select pg_drop_replication_slot('${slotOf(migration)}')`,
    says: /a replication slot ".*" exists/,
    remedy: /--slot-name/,
  },
  {
    name: 'a publication of the name',
    id: 'stream.publication',
    code: 'source-setup',
    source: (migration) => `create publication ${slotOf(migration)}`,
    says: /a publication named ".*" exists/,
    remedy: /stream cleanup/,
  },
  {
    name: 'a publication of the name, for tables without an identity',
    id: 'stream.inserts-publication',
    code: 'source-setup',
    source: (migration) => `create publication ${slotOf(migration)}_inserts;
      create table log (line text); alter table log owner to walferry_owner`,
    says: /a publication named ".*" exists/,
    remedy: /stream cleanup/,
  },
  {
    name: 'no right to make a publication',
    id: 'stream.publication',
    code: 'source-rights',
    source: ({ source }) => `alter database ${source.name} owner to postgres`,
    says: /may not make the publication/,
    remedy: /grant create on database "test_.*" to "walferry_owner"/,
  },
  {
    name: 'a table that belongs to somebody else',
    id: 'stream.ownership',
    code: 'source-rights',
    source: () => 'alter table item owner to postgres; grant select on item to public',
    says: /does not own 1 of them: public\.item/,
    remedy: /--publication/,
  },
  {
    name: 'a publication that is not there',
    id: 'stream.publication',
    code: 'source-setup',
    wish: () => ({ follow: { publication: 'nobodys' } }),
    options: (migration) => ({ ...followOptions(migration), publication: 'nobodys' }),
    says: /no publication named "nobodys"/,
    remedy: /Check --publication/,
  },
  {
    name: 'a publication of not every operation',
    id: 'stream.publication',
    code: 'source-setup',
    source: () => `create publication partial for table item with (publish = 'insert')`,
    wish: () => ({ follow: { publication: 'partial' } }),
    options: (migration) => ({ ...followOptions(migration), publication: 'partial' }),
    says: /does not publish every operation/,
    remedy: /alter publication "partial" set/,
  },
  {
    name: 'a publication without a column that must be there',
    id: 'stream.carried',
    code: 'source-setup',
    source: () => `create table strict (id int primary key, body text not null);
      grant select on strict to public; create publication narrow for table strict (id)`,
    wish: () => ({ follow: { publication: 'narrow' } }),
    options: (migration) => ({ ...followOptions(migration), publication: 'narrow' }),
    says: /public\.strict: its column list leaves out "body", NOT NULL without a default/,
    remedy: /leave --publication out/,
  },
  {
    name: 'a publication for a plugin that reads none',
    id: 'stream.plugin',
    code: 'usage',
    wish: () => ({ follow: { publication: 'any', plugin: 'test_decoding' } }),
    options: (migration) => ({
      ...followOptions(migration),
      ...{ publication: 'any', plugin: 'test_decoding' },
    }),
    says: /--publication has no meaning with --plugin test_decoding/,
    remedy: /^/,
  },
];

/** As where `output_plugin_libraries` does not list it: the server does not load it. */
const refusedPlugin: Case = {
  name: 'a plugin that the server does not load',
  id: 'stream.plugin',
  code: 'source-setup',
  source: ({ source }) => `alter database ${source.name} set dynamic_library_path = '/nowhere'`,
  wish: () => ({ follow: { plugin: 'wal2json' } }),
  options: (migration) => ({ ...followOptions(migration), plugin: 'wal2json' }),
  says: /wal2json/,
  remedy: /pgoutput/,
};

const onTarget: readonly Case[] = [
  {
    name: 'a database in which our role may make nothing',
    id: 'target.schemas',
    code: 'target-rights',
    target: ({ target }) =>
      `alter database ${target.name} owner to postgres; grant create on schema public to public`,
    says: /may not make a schema: permission denied for database/,
    remedy: /grant create on database "test_.*" to "walferry_neon";/,
  },
  {
    name: 'a schema in which our role may make nothing',
    id: 'target.tables-in-schemas',
    code: 'target-rights',
    target: () => 'alter schema public owner to postgres; revoke create on schema public from public',
    says: /may not make anything in schema "public": permission denied for schema public/,
    remedy: /grant create on schema "public" to "walferry_neon";/,
    endsWith: ['target-statement'],
  },
  {
    name: 'sessions that are read-only',
    id: 'target.writable',
    code: 'target-setup',
    target: ({ target }) => `alter database ${target.name} set default_transaction_read_only = on`,
    says: /new sessions are read-only/,
    remedy: /alter role "walferry_neon" in database "test_.*" set default_transaction_read_only = off;/,
    endsWith: ['target-statement'],
  },
  {
    name: 'our schema, of another version',
    id: 'target.own-schema',
    code: 'target-setup',
    target: () =>
      'create schema walferry; create table walferry.version (version int); insert into walferry.version values (99); grant usage on schema walferry to public; grant select on walferry.version to public',
    says: /the schema walferry has version 99/,
    remedy: /drop the schema walferry/,
  },
  {
    name: 'our schema, made by another role',
    id: 'target.own-schema',
    code: 'target-rights',
    target: () => 'create schema walferry; create table walferry.version (version int)',
    says: /permission denied for schema walferry/,
    remedy: /^/,
  },
  {
    name: 'tables that are there already',
    id: 'target.tables',
    code: 'target-not-empty',
    target: () => 'create table item (id int)',
    says: /has 1 of the source's tables already: public\.item/,
    remedy: /--drop-if-exists/,
  },
  {
    name: 'a table of a name of the source that holds rows, which stay',
    id: 'target.tables',
    code: 'target-not-empty',
    target: () => `create table item (id int primary key, body text); insert into item values (7, 'ours');
      grant all on item to public`,
    says: /has 1 of the source's tables already: public\.item/,
    remedy: /--drop-if-exists/,
    left: async ({ target }) =>
      expect(await target.sql('select * from item')).toEqual([{ id: '7', body: 'ours' }]),
  },
  {
    name: "a view of a table's name, also where tables may be dropped",
    id: 'target.names',
    code: 'target-not-empty',
    target: () => 'create view item as select 1 as id',
    wish: () => ({ dropIfExists: true }),
    options: () => ({ dropIfExists: true }),
    says: /views or other relations have the names of 1 table: public\.item/,
    remedy: /Drop or rename them/,
    endsWith: ['target-statement'],
  },
  {
    name: "an index of another table that has the name of one of the source's",
    id: 'target.names',
    code: 'target-not-empty',
    source: () => 'create index by_body on item (body)',
    target: () => 'create table other (id int); create index by_body on other (id)',
    wish: () => ({ dropIfExists: true }),
    options: () => ({ dropIfExists: true }),
    says: /the names of 1 of the source's indexes: public\.by_body is an index of public\.other/,
    remedy: /Drop or rename them/,
  },
  {
    name: "large objects with the OIDs of the source's",
    id: 'target.large-objects',
    code: 'target-not-empty',
    source: () => `select lo_from_bytea(777001, 'x'); grant select on large object 777001 to public`,
    target: () => `select lo_from_bytea(777001, 'y')`,
    says: /has 1 large objects with OIDs of the source's already, for example 777001/,
    remedy: /--drop-if-exists/,
  },
];

/** A connection is waited for a minute before the run ends. */
const ofConnections: readonly Case[] = [
  {
    name: 'too few connections on the source',
    id: 'room.source-connections',
    code: 'source-setup',
    source: ({ source }) => `alter database ${source.name} connection limit 4`,
    // Two of the four are this test's own sessions. Whichever session is one too many ends the run: pg_dump's or ours.
    says: /2 connections left by the connection limit of database .*, and a run needs 3/,
    remedy: /alter database .* connection limit -1;/,
    endsWith: ['client-tool-failed', 'source-setup'],
  },
  {
    name: 'too few connections on the target',
    id: 'room.target-connections',
    code: 'target-setup',
    target: ({ target }) => `alter database ${target.name} connection limit 2`,
    says: /1 connection left by the connection limit of database/,
    remedy: /connection limit -1;/,
    endsWith: ['client-tool-failed', 'target-setup'],
  },
];

const ofObjects: readonly Case[] = [
  {
    name: 'an extension that the target does not offer in the version that is required',
    id: 'objects.extensions',
    code: 'target-setup',
    source: () => 'create extension citext',
    wish: () => ({
      restore: {
        ...{ noOwner: true, noAcl: true, noComments: false, noTablespaces: false },
        requirements: [{ name: 'citext', version: '99.0' }],
      },
    }),
    options: (migration) => ({ requirements: file(migration, '[{"name": "citext", "version": "99.0"}]') }),
    says: /citext is required in version 99\.0/,
    remedy: /Install it on the target/,
  },
  {
    name: 'an extension that only a superuser may make, and that an index needs',
    id: 'objects.extension-rights',
    code: 'target-rights',
    source: () => 'create extension bloom; create index on item using bloom (id)',
    says: /may not make extension bloom, which is needed by index public\.item_id_idx/,
    remedy: /create extension "bloom";/,
    endsWith: ['target-statement'],
  },
  {
    name: "a collation that the target's system does not have",
    id: 'objects.collations',
    code: 'target-setup',
    source: () =>
      'create table named (id int primary key, name text collate "de-x-icu"); grant select on named to public',
    target: () => 'drop collation pg_catalog."de-x-icu"',
    says: /no collation "de-x-icu", used by column name of table public\.named/,
    remedy: /collate/,
    endsWith: ['target-statement'],
  },
  {
    name: 'a collation that cannot be made',
    id: 'objects.collations',
    code: 'target-setup',
    source: () => `create collation odd from "C"; set allow_system_table_mods = on;
      update pg_collation set collcollate = 'xx_XX', collctype = 'xx_XX' where collname = 'odd'`,
    says: /collation "public"\."odd" cannot be made: could not create locale/,
    remedy: /collate/,
    endsWith: ['target-statement'],
  },
  {
    name: 'a function that only a superuser can make, and that a table needs',
    id: 'objects.superuser',
    code: 'target-rights',
    source: () => `
      create function absolute (int) returns int language internal strict immutable as 'int4abs';
      create table measured (id int primary key, size int check (absolute(size) > 0));
      grant select on measured to public`,
    says: /only a superuser can make function public\.absolute\(integer\), in language internal, which tables need/,
    remedy: /--filters/,
    endsWith: ['target-statement'],
  },
];

test('a tablespace in which our role may make nothing ends a clone, until it may', async () => {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  const name = `${source.name}_space`;
  for (const { sql } of [source, target]) {
    await sql('set allow_in_place_tablespaces = on');
    await sql(`create tablespace ${name} location ''`);
  }
  try {
    await source.sql(
      `create table placed (id int primary key) tablespace ${name}; grant select on placed to public`,
    );
    const failed = await failing(wishOf(migration));
    expect(failed.map(({ id, code, reason }) => [id, code, reason])).toEqual([
      ['objects.tablespaces', 'target-rights', `our role may make nothing in ${name} on the target`],
    ]);
    const options = ['--no-owner', '--no-acl'];
    const refused = await runToEnd(migration, ['clone', ...options]);
    expect(refused.stderr).toContain(failed[0]?.reason);
    const ended = await runToEnd(migration, ['clone', '--skip-check', ...options]);
    expect(ended.code, ended.stderr).toBe(7);
    await target.sql(`grant create on tablespace ${name} to public; drop schema public cascade; create schema public;
      grant all on schema public to public`);
    const done = await runToEnd(migration, ['clone', '--restart', ...options]);
    expect(done.code, done.stderr).toBe(0);
  } finally {
    for (const { sql } of [source, target]) {
      await sql('drop table if exists placed');
      await sql(`drop tablespace ${name}`);
    }
  }
});

test('a source that is the target too is refused whatever is skipped, and keeps its tables', async () => {
  await using migration = await openMigration({ schema });
  const { source } = migration;
  const target = source.neonUri.replace('127.0.0.1', 'localhost');
  const failed = await failing(wishOf(migration, { target, dropIfExists: true }));
  expect(failed.map(({ id, code }) => [id, code])).toEqual([['target.same', 'target-setup']]);
  for (const more of [[], ['--skip-check']]) {
    const exit = await runToEnd(migration, ['clone', '--drop-if-exists', '--target', target, ...more]);
    expect(exit.code, exit.stderr).toBe(7);
    expect(exit.stderr).toMatch(/one and the same database/);
  }
  expect(await source.sql('select * from item')).toEqual([{ id: '1', body: 'one' }]);
});

async function expectBlocked(one: Case): Promise<void> {
  await using migration = await openMigration({ schema });
  const { source, target } = migration;
  if (one.source !== undefined) await source.sql(one.source(migration));
  if (one.target !== undefined) await target.sql(one.target(migration));
  try {
    const failed = await failing(wishOf(migration, one.wish?.(migration) ?? {}));
    expect(failed.map(({ id, code }) => [id, code])).toEqual([[one.id, one.code]]);
    expect(failed[0]?.reason).toMatch(one.says);
    expect(failed[0]?.remedy ?? '').toMatch(one.remedy);

    const { PGCOPYDB_SOURCE_PGURI, PGCOPYDB_TARGET_PGURI } = uris(migration);
    const ended = await clone({
      ...{ source: PGCOPYDB_SOURCE_PGURI, target: PGCOPYDB_TARGET_PGURI, dir: migration.directory },
      ...{ noOwner: true, noAcl: true, skipCheck: true },
      ...(one.options?.(migration) ?? (one.id.startsWith('stream.') ? followOptions(migration) : {})),
    }).then(
      () => null,
      (error: unknown) => error,
    );
    expect(ended).toBeInstanceOf(Failure);
    const { code, message } = ended as Failure;
    const foretold = (one.endsWith ?? [one.code]).map((each) => failurePolicies[each].exit);
    expect(foretold, message).toContain(failurePolicies[code].exit);
    await one.left?.(migration);
  } finally {
    if (one.undo !== undefined) await source.sql(one.undo(migration));
  }
}

describe.concurrent('one after the other', () => {
  describe.sequential('on the source', () => {
    test.each(onSource)('$name', expectBlocked);
  });
  describe.sequential('for a stream', () => {
    test.each([...forStream, refusedPlugin].map((one) => ({ wish: follow, ...one })))('$name', expectBlocked);
  });
  describe.sequential('on the target', () => {
    test.each(onTarget)('$name', expectBlocked);
  });
  describe.sequential('of what is copied', () => {
    test.each(ofObjects)('$name', expectBlocked);
  });
});

// They do nothing but wait: at the same time as the others.
describe.concurrent('after a minute', () => {
  test.each(ofConnections)('$name', expectBlocked);
});
