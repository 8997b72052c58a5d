import { describe, expect, test } from 'vitest';
import { finalizeTarget } from '../../src/clone/clone.js';
import { loadTasks } from '../../src/catalog/tasks.js';
import { createDatabase } from '../support/databases.js';
import type { TestDatabase } from '../support/databases.js';
import { expectEqual } from '../support/equal.js';
import { cloneFor } from './clone-for.js';
import { dumpText } from './dump-text.js';

/** Five tables of different sizes, each with indexes, two with foreign keys. */
const shop = `
  create table a (id integer generated always as identity primary key, t text unique);
  create table b (id integer primary key, a integer references a);
  create table c (id integer primary key, b integer references b, x numeric);
  create table d (x text); create index d_x on d (x); create index d_l on d (length(x));
  create table e as select i as id, repeat(md5(i::text), 5) as x from generate_series(1, 20000) i;
  create index e_id on e (id);
  insert into a (t) select md5(i::text) from generate_series(1, 2000) i;
  insert into b select i, i from generate_series(1, 1500) i;
  insert into c select i, i, sqrt(i) from generate_series(1, 1000) i;
  insert into d select repeat('d', i % 50) from generate_series(1, 300) i;
  create materialized view m as select count(*) as n from c;`;

const indexes = `select indexdef from pg_indexes where schemaname = 'public' order by 1`;
const constraints = `
  select conrelid::regclass as t, conname, pg_get_constraintdef(oid) as def, convalidated
  from pg_constraint where connamespace = 'public'::regnamespace order by 1, 2`;
const tasks = `select name, done_at, bytes, rows from walferry.task order by name`;
/** One xmin a table: the transaction that copied it. */
const copiedBy = `select (select min(xmin::text) || max(xmin::text) from a) as a,
  (select min(xmin::text) || max(xmin::text) from b) as b, (select min(xmin::text) || max(xmin::text) from c) as c,
  (select min(xmin::text) || max(xmin::text) from d) as d, (select min(ctid::text) from e) as e,
  pg_relation_filenode('e') as e_file`;

async function expectSame(source: TestDatabase, target: TestDatabase): Promise<void> {
  await expectEqual(source, target);
  expect(await target.sql(indexes)).toEqual(await source.sql(indexes));
  expect(await target.sql(constraints)).toEqual(await source.sql(constraints));
  expect(await target.sql('select n from m')).toEqual([{ n: '1000' }]);
}

describe('a clone that is killed and resumed is complete, and copies no finished table again', () => {
  for (const at of [
    'clone.dumped:1',
    'clone.pre-data:1',
    'clone.table-copied:1',
    'clone.table-copied:3',
    'clone.table-committed:2',
    'clone.table-committed:5',
    'clone.table-recorded:1',
    'clone.index-built:1',
    'clone.index-built:6',
    'clone.copied:1',
    'clone.finalize:1',
  ] as const) {
    test(`killed at ${at}`, async () => {
      await using source = await createDatabase('source');
      await using target = await createDatabase('target');
      await source.sqlAsOwner(shop);
      await source.sqlAsOwner('refresh materialized view m');
      await using run = await cloneFor(source, target, { as: 'owner' });

      expect(await run.cloneAndDie(at)).toBe('SIGKILL');
      const held = await target.sql(tasks);
      const written = held.length === 0 ? {} : ((await target.sql(copiedBy))[0] ?? {});
      const summary = await run.clone({ resume: true });

      await expectSame(source, target);
      const after = await target.sql(tasks);
      expect(after).toEqual(expect.arrayContaining(held));
      const writtenAfter = (await target.sql(copiedBy))[0] ?? {};
      const done = held.flatMap(({ name }) => /^copy "public"\."(\w+)"$/.exec(name ?? '')?.[1] ?? []);
      for (const table of done) {
        expect([
          table,
          writtenAfter[table],
          writtenAfter['e_file'] === written['e_file'] || table !== 'e',
        ]).toEqual([table, written[table], true]);
      }
      expect(summary.tables.map(({ name, rows }) => [name, rows])).toEqual([
        ['a', 2000],
        ['b', 1500],
        ['c', 1000],
        ['d', 300],
        ['e', 20000],
      ]);
      expect(loadTasks(run.options.catalog).filter((task) => task.doneAt === null)).toEqual([]);
    });
  }

  test('a second resume has nothing to do, and needs no snapshot', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(shop);
    await source.sql('refresh materialized view m');
    await using run = await cloneFor(source, target);
    await run.clone();
    const held = await target.sql(tasks);
    await run.holder.close();

    await run.clone({ resume: true });

    expect(await target.sql(tasks)).toEqual(held);
    await expectSame(source, target);
  });

  test('finalize cut off between any two of its steps can be run again', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(`${shop} create function f() returns trigger language plpgsql as 'begin return new; end';
      create trigger t before insert on a for each row execute function f();
      alter table b enable row level security; create policy p on b using (true)`);
    await source.sql('refresh materialized view m');
    await using run = await cloneFor(source, target);
    await run.clone({ follow: true });
    // Half of what finalize makes is there: a key that is not validated, a trigger, a policy without its switch.
    await target.sql(`alter table b add constraint b_a_fkey foreign key (a) references a not valid;
      create trigger t before insert on a for each row execute function f(); create policy p on b using (true)`);

    await finalizeTarget(run.options);

    await expectSame(source, target);
    expect(await target.sql(`select relrowsecurity from pg_class where relname = 'b'`)).toEqual([
      { relrowsecurity: 't' },
    ]);
    expect(
      await target.sql(
        `select attidentity from pg_attribute where attrelid = 'a'::regclass and attname = 'id'`,
      ),
    ).toEqual([{ attidentity: 'a' }]);
  });
});

describe('what pg_restore makes in two steps', () => {
  const schema = `
    create type amount;
    create function amount_in(cstring) returns amount language internal immutable strict as 'int4in';
    create function amount_out(amount) returns cstring language internal immutable strict as 'int4out';
    create type amount (input = amount_in, output = amount_out, like = integer);
    create type span;
    create function span_canonical(span) returns span language internal immutable strict as 'int4range_canonical';
    create type span as range (subtype = integer, canonical = span_canonical);
    create type never;
    create function before(integer, integer) returns boolean language sql immutable as 'select $1 < $2';
    create function behind(integer, integer) returns boolean language sql immutable as 'select $1 > $2';
    create operator <# (leftarg = integer, rightarg = integer, function = before, commutator = #>);
    create operator #> (leftarg = integer, rightarg = integer, function = behind, commutator = <#);
    create extension postgres_fdw; create server away foreign data wrapper postgres_fdw;
    create user mapping for postgres server away options (password 'canary');
    create user mapping for public server away;
    create schema s; create publication one for tables in schema s;
    create table t (id integer primary key, during span); insert into t values (1, '[1,3)')`;
  const firstSteps = `
    drop type amount cascade; create type amount;
    drop operator <# (integer, integer), #> (integer, integer);
    create operator <# (leftarg = integer, rightarg = integer, function = before, commutator = #>)`;

  test.each([
    ['all of it', ''],
    ['the first steps', firstSteps],
  ])('is made once where the target has %s', async (_what, there) => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    await source.sql(schema);
    await using run = await cloneFor(source, target);
    expect(await run.cloneAndDie('clone.pre-data:1')).toBe('SIGKILL');
    if (there !== '') await target.sql(there);

    // The last time there is all of it, what comes behind the rows too.
    for (const _time of ['resumed', 'again']) {
      expect((await run.clone({ resume: true })).problems).toEqual([]);
    }

    expect(run.said).toEqual([]);
    expect(await dumpText(target)).toBe(await dumpText(source));
    expect(await target.sql('select 1 <# 2 as before, 1 #> 2 as behind')).toEqual([
      { before: 't', behind: 'f' },
    ]);
  });
});
