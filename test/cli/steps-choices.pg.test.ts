/** What the steps of a clone are told to leave out, or to copy besides, each for itself. */
import { describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';
import { walferry, type WalferryExit } from '../support/walferry.js';

type Work = { readonly source: TestDatabase; readonly target: TestDatabase; readonly directory: string };

async function good(
  { source, target, directory }: Work,
  words: string,
  sides: 'both' | 'source' | 'target' = 'both',
): Promise<WalferryExit> {
  const given = [
    ...(sides === 'target' ? [] : ['--source', source.uri]),
    ...(sides === 'source' ? [] : ['--target', target.uri]),
  ];
  await using process = walferry([...words.split(' '), '--dir', directory, ...given]);
  const exit = await process.exit;
  expect([words, exit.code, exit.stderr]).toEqual([words, 0, expect.not.stringContaining('ERROR')]);
  return exit;
}

const choosy = (database: TestDatabase) => `
  create schema ext; create extension hstore schema ext; comment on extension hstore is 'ours';
  create extension citext;
  create collation german (provider = icu, locale = 'de');
  create table t (id int primary key);
  alter database ${database.name} set work_mem to '7MB'`;

async function found(target: TestDatabase): Promise<Record<string, string | null>> {
  const [row] = await target.sql(`
    select (select count(*) from pg_extension where oid >= 16384) as extensions,
      (select count(*) from pg_namespace where nspname = 'ext') as schemas,
      (select count(*) from pg_collation where collname = 'german') as collations,
      (select count(*) from pg_description where description = 'ours') as comments,
      (select count(*) from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
        where d.datname = current_database()) as properties,
      to_regclass('t') as t`);
  return row ?? {};
}

const everything = { extensions: '2', schemas: '1', collations: '1', comments: '1', properties: '1', t: 't' };
const skipAll = '--skip-extensions --skip-collations --skip-db-properties';
const nothing = { extensions: '0', schemas: '0', collations: '0', comments: '0', properties: '0', t: 't' };

describe('a step that goes by a dump leaves out', () => {
  test('what it is told itself, though the dump has all of it', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: temporary.path };
    await source.sql(choosy(source));
    await good(work, 'dump schema', 'source');

    await good(work, `copy schema ${skipAll}`);
    expect(await found(target)).toEqual(nothing);

    // The dump has lost nothing by that.
    await target.sql('drop table t');
    await good(work, 'restore schema --restart --skip-ext-comments', 'target');
    expect(await found(target)).toEqual({ ...everything, comments: '0' });
  });

  test('what the dump was told; copy extensions makes these all the same', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await using temporary = await temporaryDirectory();
    const work = { source, target, directory: temporary.path };
    await source.sql(choosy(source));
    await good(work, 'dump schema --skip-extensions', 'source');

    await good(work, 'restore schema', 'target');
    expect(await found(target)).toEqual({ ...everything, extensions: '0', schemas: '0', comments: '0' });

    await good(work, 'copy extensions');
    expect(await found(target)).toEqual({ ...everything, comments: '0' });
  });
});

test('copy schema --roles copies the roles of the source, with their passwords or without', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await using temporary = await temporaryDirectory();
  const work = { source, target, directory: temporary.path };
  const role = `role_of_${source.name}`;
  await source.sql(
    `create role ${role} login password 'secret'; create table t (id int); alter table t owner to ${role}`,
  );
  const owner = `select tableowner as owner, rolpassword as password from pg_tables join pg_authid on rolname = tableowner
    where tablename = 't'`;
  try {
    await good(work, 'copy schema --roles');
    expect(await target.sql(owner)).toEqual(await source.sql(owner));

    await target.sql(`drop table t; drop role ${role}`);
    await good(work, 'copy schema --roles --restart --no-role-passwords');
    expect(await target.sql(owner)).toEqual([{ owner: role, password: null }]);
  } finally {
    for (const database of [source, target]) {
      await database.sql(`drop table if exists t; drop role if exists ${role}`);
    }
  }
});
