import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { buildIndexes, dumpSource, restorePostDataOnly, restorePreDataOnly } from '../../src/clone/steps.js';
import { createDatabase } from '../support/databases.js';
import { cloneFor } from './clone-for.js';

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const thrown: unknown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (thrown instanceof Failure) return thrown;
  throw new Error(`expected a Failure, got ${String(thrown)}`);
}

const source = `
  create table item (id int primary key, name varchar(20), during int4range,
    constraint apart exclude using gist (during with &&) where (name in ('a', 'b')));
  create index by_name on item (name) where name in ('a', 'b');
  create index by_id on item (id);
  insert into item select i, 'n' || i, int4range(i, i + 1) from generate_series(1, 50) i;`;

const indexesOf = `
  select c.relname as name, t.relname as table, i.indisvalid as valid from pg_index i
  join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
  where c.relnamespace = 'public'::regnamespace order by 1`;

describe("the name of one of the source's indexes is taken", () => {
  test.each([
    [
      'by an index of another table',
      'create table other (a int); create index by_name on other (a)',
      /public\.by_name is an index of public\.other/,
    ],
    ['by a table', 'create table by_id ()', /public\.by_id is a table/],
    ['where a constraint makes the index', 'create view apart as select 1', /public\.apart is a view/],
    [
      'where pg_restore makes the index',
      'create table other (a int); create index parent_a on other (a)',
      /public\.parent_a is an index of public\.other/,
    ],
  ])('%s: a clone is refused before it makes anything', async (_how, there, words) => {
    await using from = await createDatabase('source');
    await using to = await createDatabase('target');
    await from.sql(`${source}
      create table parent (a int) partition by list (a); create index parent_a on parent (a)`);
    await to.sql(there);
    await using run = await cloneFor(from, to);

    const failure = await failureOf(run.clone());

    expect(failure).toMatchObject({
      code: 'target-not-empty',
      message: expect.stringMatching(words) as string,
    });
    expect(await to.sql(`select to_regclass('item') as item`)).toEqual([{ item: null }]);
    expect(await failureOf(run.clone({ dropIfExists: true }))).toMatchObject({ code: 'target-not-empty' });
  });

  test('by an index of a table that is dropped: it goes with the table', async () => {
    await using from = await createDatabase('source');
    await using to = await createDatabase('target');
    await from.sql(`${source} create table line (id int)`);
    await to.sql('create table line (id int); create index by_name on line (id)');
    await using run = await cloneFor(from, to);

    await run.clone({ dropIfExists: true });

    expect(await to.sql(indexesOf)).toEqual(await from.sql(indexesOf));
  });

  test('by an index of another table that came after the rows: the run says so, and ends when it is gone', async () => {
    await using from = await createDatabase('source');
    await using to = await createDatabase('target');
    await from.sql(source);
    await using run = await cloneFor(from, to);
    await run.cloneAndDie('clone.table-committed:1');
    await to.sql('create table other (a int); create index by_name on other (a)');

    const failure = await failureOf(run.clone({ resume: true }));
    expect(failure.code).toBe('target-setup');
    expect(failure.message).toContain(
      'could not build index public.by_name: the target has an index of public.other of this name',
    );

    await to.sql('drop table other');
    await run.clone({ resume: true });
    expect(await to.sql(indexesOf)).toEqual(await from.sql(indexesOf));
  });
});

describe('indexes of tables that somebody else has made', () => {
  test.each([
    [
      'of another table',
      'create table other (a int); create index by_name on other (a)',
      /by_name: the target has an index of public\.other/,
    ],
    [
      'on other columns',
      'create index by_name on item (id)',
      /by_name: the target has another index \(CREATE INDEX by_name ON public\.item USING btree \(id\)\)/,
    ],
    ['that is unique', `create unique index by_id on item (id)`, /by_id: the target has another index/],
    [
      'with another condition',
      `create index by_name on item (name) where name in ('a', 'c')`,
      /by_name: the target has another index/,
    ],
    [
      'as a constraint of another kind',
      'alter table item add constraint apart check (id > 0)',
      /constraint apart of public\.item: the target has another constraint \(CHECK/,
    ],
    [
      'as a constraint with another condition',
      'alter table item add constraint apart exclude using gist (during with &&)',
      /the target has another constraint \(EXCLUDE/,
    ],
  ])("%s are not taken for the source's", async (_how, there, words) => {
    await using from = await createDatabase('source');
    await using to = await createDatabase('target');
    await from.sql(source);
    await to.sql(`create table item (id int not null, name varchar(20), during int4range); ${there}`);
    await using run = await cloneFor(from, to);
    await dumpSource(run.options);

    const failure = await failureOf(buildIndexes(run.options, 'indexes and constraints'));

    expect(failure).toMatchObject({ code: 'target-setup', message: expect.stringMatching(words) as string });
  });

  test('an invalid one is not taken for built', async () => {
    await using from = await createDatabase('source');
    await using to = await createDatabase('target');
    await from.sql('create table item (id int); create unique index by_id on item (id)');
    await to.sql('create table item (id int); insert into item values (1), (1)');
    await expect(to.sql('create unique index concurrently by_id on item (id)')).rejects.toThrow(/unique/);
    await using run = await cloneFor(from, to);
    await dumpSource(run.options);

    const failure = await failureOf(buildIndexes(run.options, 'indexes and constraints'));

    expect(failure.message).toContain('by_id: the target has an invalid index of this name');
  });

  test('the same ones are left, also where the server prints them in other words', async () => {
    await using from = await createDatabase('source');
    await using to = await createDatabase('target');
    await from.sql(source);
    const [{ definition } = {}] = await from.sql(`select pg_get_indexdef('by_name'::regclass) as definition`);
    const [{ constraint } = {}] = await from.sql(
      `select pg_get_constraintdef(oid) as "constraint" from pg_constraint where conname = 'apart'`,
    );
    await to.sql(`create table item (id int primary key, name varchar(20), during int4range);
      ${definition}; alter table item add constraint apart ${constraint}`);
    // Were the words the same, there would be nothing to see here.
    expect(await to.sql(`select pg_get_indexdef('by_name'::regclass) as definition`)).not.toEqual([
      { definition },
    ]);
    const oids = `select relname, oid from pg_class where relname in ('by_name', 'apart', 'item_pkey') order by 1`;
    const before = await to.sql(oids);
    await using run = await cloneFor(from, to);
    await dumpSource(run.options);

    await buildIndexes(run.options, 'indexes and constraints');

    expect(await to.sql(oids)).toEqual(before);
    expect(await to.sql(indexesOf)).toEqual(await from.sql(indexesOf));
    expect(await to.sql(`select to_regclass('pg_temp.walferry_trial') as trial`)).toEqual([{ trial: null }]);
  });
});

test('the same one in other words, and a role that may make no temporary table: not known, and what to grant', async () => {
  await using from = await createDatabase('source');
  await using to = await createDatabase('target');
  await from.sqlAsOwner(
    `create table item (id int, name varchar(20)); create index by_name on item (name) where name in ('a', 'b')`,
  );
  const [{ definition } = {}] = await from.sql(`select pg_get_indexdef('by_name'::regclass) as definition`);
  await to.sqlAsOwner(`create table item (id int, name varchar(20)); ${definition}`);
  const [{ owner } = {}] = await to.sql(
    'select pg_get_userbyid(datdba) as owner from pg_database where datname = current_database()',
  );
  await to.sql(`revoke temporary on database ${to.name} from public, ${owner}`);
  await using run = await cloneFor(from, to, { as: 'owner' });
  await dumpSource(run.options);

  const failure = await failureOf(buildIndexes(run.options, 'indexes and constraints'));
  expect(failure.code).toBe('target-rights');
  expect(failure.message).toMatch(
    /by_name: .* whether it is the same cannot be found out: target: permission denied to create temporary tables/,
  );
  expect(failure.remedy).toContain('TEMPORARY');

  await to.sql(`grant temporary on database ${to.name} to ${owner}`);
  await buildIndexes(run.options, 'indexes and constraints');
  expect(await to.sql(indexesOf)).toEqual(await from.sql(indexesOf));
});

describe('an index that pg_restore makes', () => {
  test.each([
    [
      'of a materialized view',
      'create materialized view seen as select id from item; create index taken on seen (id)',
    ],
    [
      'of a partitioned table',
      'create table parent (a int) partition by list (a); create index taken on parent (a)',
    ],
  ])('%s: one of another table that has its name is told, the same one is left', async (_of, sql) => {
    await using from = await createDatabase('source');
    await using to = await createDatabase('target');
    await from.sql(`create table item (id int primary key); ${sql}`);
    await using run = await cloneFor(from, to);
    await dumpSource(run.options);
    await restorePreDataOnly(run.options, null, { resume: false, dropIfExists: false });
    await to.sql('create table other (a int); create index taken on other (a)');

    const failure = await failureOf(restorePostDataOnly(run.options));
    expect(failure.message).toMatch(
      /INDEX public taken .*could not be created: relation "taken" already exists/,
    );

    await to.sql('drop table other');
    for (const _again of [1, 2]) await restorePostDataOnly(run.options);
    expect(await to.sql(indexesOf)).toEqual(await from.sql(indexesOf));
  });
});
