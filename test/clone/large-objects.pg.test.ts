import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { loadProblems } from '../../src/clone/problems.js';
import { createDatabase } from '../support/databases.js';
import type { TestDatabase } from '../support/databases.js';
import { cloneFor } from './clone-for.js';

/** Empty, small, at the edge of small, several chunks, sparse: and more than one range of them. */
const objects = `
  select lo_from_bytea(300000, '');
  select lo_from_bytea(300000 + i, decode(repeat(md5(i::text), i), 'hex')) from generate_series(1, 200) i;
  select lo_from_bytea(400001, decode(repeat('ab', 256 * 1024), 'hex'));
  select lo_from_bytea(400002, decode(repeat('cd', 256 * 1024 + 1), 'hex'));
  select lo_from_bytea(400003, decode(repeat(md5('x'), 200000), 'hex'));
  select lo_create(400004);
  select lo_put(400004, 3000000, 'far');
  create table picture (id integer primary key, raster oid);
  insert into picture select i, 300000 + i from generate_series(1, 200) i;`;

const contents = `
  select oid, md5(lo_get(oid)) as content, length(lo_get(oid)) as length from pg_largeobject_metadata
  where oid between 300000 and 400004 order by oid`;

const properties = `
  select oid, pg_get_userbyid(lomowner) as owner, lomacl::text as acl, obj_description(oid, 'pg_largeobject') as comment
  from pg_largeobject_metadata where oid between 300000 and 300003 order by oid`;

// Large objects belong to a database, so that the tests' are apart.
async function expectSame(source: TestDatabase, target: TestDatabase, query: string): Promise<void> {
  expect(await target.sql(query)).toEqual(await source.sql(query));
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const thrown: unknown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (thrown instanceof Failure) return thrown;
  throw new Error(`expected a Failure, got ${String(thrown)}`);
}

describe('large objects', () => {
  test('have the same OIDs, contents, owners, privileges and comments, as the snapshot saw them', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${objects}
      comment on large object 300001 is 'a \\ and a ''';
      grant select on large object 300001 to public;
      grant select, update on large object 300002 to pg_monitor with grant option;
      alter large object 300002 owner to pg_read_all_data;
      revoke update on large object 300003 from postgres`);
    await using run = await cloneFor(source, target);
    // The holder's snapshot is taken: none of this may be seen.
    const before = await source.sql(contents);
    await source.sql(
      `select lo_unlink(300005); select lo_put(300006, 0, 'changed'); select lo_create(300500)`,
    );

    const summary = await run.clone();

    expect(summary.problems).toEqual([]);
    expect(await target.sql(contents)).toEqual(before);
    await expectSame(source, target, properties);
    const step = summary.steps.find((one) => one.step.startsWith('Large Objects'));
    expect(step).toMatchObject({ connection: 'both', concurrency: 3 });
    expect(step?.bytes).toBeGreaterThan(6_000_000);
    // Two ranges, three large ones, and the whole.
    const [tasks] = await target.sql(
      `select count(*) as n from walferry.task where name like 'large object%'`,
    );
    expect(tasks).toEqual({ n: '6' });
  });

  test('by an ordinary role over TLS; what it may not do is one line for all objects, with the SQL', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sqlAsOwner(objects);
    await source.sql(`grant select on large object 300001 to pg_monitor;
      alter large object 300002 owner to postgres; grant select on large object 300002 to walferry_owner;
      alter large object 300003 owner to postgres; grant select on large object 300003 to walferry_owner`);
    await using run = await cloneFor(source, target, { as: 'owner' });

    const summary = await run.clone({ noOwner: false });

    await expectSame(source, target, contents);
    const told = summary.problems.filter(({ object }) => object.includes('large objects'));
    expect(told.map(({ object, sql }) => [object, sql?.split('\n').length])).toContainEqual([
      'owner postgres of 2 large objects',
      2,
    ]);
    expect(told.find(({ object }) => object.startsWith('owner postgres'))?.sql).toBe(
      'alter large object 300002 owner to "postgres";\nalter large object 300003 owner to "postgres";',
    );
    expect(
      await target.sql(
        `select lomacl::text ~ 'pg_monitor=r' as acl from pg_largeobject_metadata where oid = 300001`,
      ),
    ).toEqual([{ acl: 't' }]);
  });

  test('are left out with --skip-large-objects', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(objects);
    await using run = await cloneFor(source, target);

    const summary = await run.clone({ skipLargeObjects: true });

    expect(await target.sql('select count(*) as n from pg_largeobject_metadata')).toEqual([{ n: '0' }]);
    expect(await target.sql('select count(*) as n from picture')).toEqual([{ n: '200' }]);
    expect(summary.steps.find((one) => one.step.startsWith('Large Objects'))?.connection).toBeNull();
  });

  test('a target that has none gets everything else, and it is said', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sqlAsOwner(objects);
    await target.sql(`revoke execute on function lo_create(oid), lo_from_bytea(oid, bytea) from public`);
    await using run = await cloneFor(source, target, { as: 'owner' });

    const summary = await run.clone();

    expect(summary.problems).toEqual([
      {
        object: 'large objects',
        message: expect.stringMatching(
          /not copied.*permission denied for function lo_(?:create|from_bytea)/,
        ) as string,
        sql: null,
      },
    ]);
    expect(loadProblems(run.options.directory)).toEqual(summary.problems);
    expect(await target.sql('select count(*) as n from picture')).toEqual([{ n: '200' }]);
  });

  test('OIDs that are taken are refused before anything is made, and replaced with --drop-if-exists', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(objects);
    await target.sql(`select lo_from_bytea(300007, 'theirs'), lo_from_bytea(500000, 'others')`);
    await using run = await cloneFor(source, target);

    const failure = await failureOf(run.clone());
    expect(failure.code).toBe('target-not-empty');
    expect(failure.message).toContain(
      "1 large objects with OIDs of the source's already, for example 300007",
    );
    expect(await target.sql(`select to_regclass('picture') as picture`)).toEqual([{ picture: null }]);

    await run.clone({ dropIfExists: true });
    await expectSame(source, target, contents);
    expect(await target.sql(`select convert_from(lo_get(500000), 'UTF8') as left`)).toEqual([
      { left: 'others' },
    ]);

    // Once more into the same target.
    await using again = await cloneFor(source, target);
    await again.clone({ dropIfExists: true });
    await expectSame(source, target, contents);
  });

  test('that our role may not read are named before anything is copied', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql('select lo_create(300000), lo_create(300001)');
    await using run = await cloneFor(source, target, { as: 'owner' });

    const failure = await failureOf(run.clone());

    expect(failure.code).toBe('source-rights');
    expect(failure.message).toContain('may not read large object 300000 and 1 other large objects');
  });

  test.each([1, 3])('killed at the commit number %i, the rest follows with --resume', async (commit) => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(objects);
    await using run = await cloneFor(source, target);
    await run.cloneAndDie(`clone.large-objects-committed:${commit}`);

    await run.clone({ resume: true });

    await expectSame(source, target, contents);
  });
});
