/** Children whose columns pg_dump puts into another order: told, and refused where values would mean something else. */
import { expect, test } from 'vitest';
import { readFilters } from '../../src/filter/parse.js';
import { createDatabase } from '../support/databases.js';
import { expectEqual } from '../support/equal.js';
import { cloneFor } from './clone-for.js';

// On the target the child has (a, late, own).
const schema = `
  create table parent (a int); create table child (own int) inherits (parent); alter table parent add late int;
  create table joined (b int, a int); create table top (a int, b int); alter table joined inherit top;
  create table same (own int) inherits (parent);
  insert into child (a, own, late) values (1, 2, 3); insert into joined (a, b) values (4, 5)`;

test('the tables are named, and each value is in its column', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(schema);
  await using run = await cloneFor(source, target);

  await run.clone();

  expect(run.said).toEqual([
    'warn the columns of public.child, public.joined stand in another order on the target, inherited ones first, as pg_dump makes them: name the columns in INSERT and SELECT',
  ]);
  // What is foretold is so.
  expect(await target.sql('select * from child')).toEqual([{ a: '1', late: '3', own: '2' }]);
  const order = `select string_agg(attname, ' ' order by attnum) as columns from pg_attribute
    where attrelid = 'child'::regclass and attnum > 0`;
  expect(await target.sql(order)).toEqual([{ columns: 'a late own' }]);
  await expectEqual(source, target);
});

test.each<[string, string, string]>([
  ['a column of the row type', 'create table holds (id int, c child)', 'c of public.holds hold rows of'],
  [
    'an array of it in a composite type',
    'create type pair as (x child[]); create table holds (p pair)',
    'p of',
  ],
  ['a domain of it', 'create domain kid as child; create table holds (id int, d kid)', 'd of public.holds'],
  [
    'ranges of it',
    'create type span as range (subtype = child); create table holds (r span, m multispan)',
    'r of public.holds, m of public.holds',
  ],
])('%s ends the clone before anything is made', async (_what, more, says) => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(`${schema}; ${more.replace('multispan', 'span_multirange')}`);
  await using run = await cloneFor(source, target);
  await expect(run.clone()).rejects.toMatchObject({
    code: 'source-setup',
    message: expect.stringContaining(says) as string,
  });
  expect(
    await target.sql(`select relname from pg_class where relnamespace = 'public'::regnamespace`),
  ).toEqual([]);

  // What a filter leaves out holds nothing.
  await run.clone({ filters: readFilters('[exclude-table]\npublic.holds\n', 'filter.ini') });
  expect(await target.sql('select a, own, late from child')).toEqual([{ a: '1', own: '2', late: '3' }]);
});

test('a table whose rows are left out holds none of them: the clone goes on', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await source.sql(
    `${schema}; create table holds (id int, c child); insert into holds values (1, '(1,2,3)')`,
  );
  await using run = await cloneFor(source, target);
  await run.clone({ filters: readFilters('[exclude-table-data]\npublic.holds\n', 'filter.ini') });
  expect(await target.sql('select from holds')).toEqual([]);
  expect(await target.sql('select a, own, late from child')).toEqual([{ a: '1', own: '2', late: '3' }]);
});
