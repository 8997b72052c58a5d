/** A live stream over the tables and commands that are easily got wrong: both sides are equal at the end. */
import { expect, test } from 'vitest';
import { expectEqual } from '../support/equal.js';
import { cloneFollow, openMigration, run, setEndpos } from '../support/live-migration.js';

const schema = `
  create table parent (id int primary key, v text);
  create table child (extra text, primary key (id)) inherits (parent);
  create table bare (); alter table bare replica identity full;
  create table included (id int not null, v text, w text);
  create unique index included_key on included (id) include (v);
  alter table included replica identity using index included_key;
  create table one (id int primary key); create table two (id int primary key, one int references one);
  create table root (id int, region int, v text, primary key (id, region)) partition by list (region);
  create table root_1 partition of root for values in (1);
  create table root_2 partition of root for values in (2);
  create table emptied (id int primary key) partition by range (id);
  create table emptied_1 partition of emptied for values from (0) to (100);
  create table swapped (id int primary key, u int unique, v text);
  create table equal_rows (a int, v text); alter table equal_rows replica identity full;
  create table no_equality (j json, p point, x xml); alter table no_equality replica identity full;
  create table numbered (id int generated always as identity primary key, v text);
  insert into numbered (v) select 'n' from generate_series(1, 4);
  create materialized view seen as select id, v from only parent;
  create unique index on seen (id);
  insert into parent select i, 'p' from generate_series(1, 5) i;
  insert into child select i, 'c', 'x' from generate_series(1, 5) i;
  insert into included select i, 'v' || i, 'w' from generate_series(1, 5) i;
  insert into one select generate_series(1, 3); insert into two values (1, 1);
  insert into root select i, 1, 'v' from generate_series(1, 5) i;
  insert into emptied values (1), (2);
  insert into swapped select i, i, 's' from generate_series(1, 4) i;
  insert into equal_rows select 1, 'same' from generate_series(1, 5);
  insert into no_equality select '{"a": 1}', '(1,2)', '<a/>' from generate_series(1, 3)`;

const changes = [
  // Only the named table of an inheritance.
  `update only parent set v = 'parent alone' where id = 1; delete from only parent where id = 2`,
  `update parent set v = 'both' where id = 3; delete from child where id = 4`,
  // Rows without columns are told apart by nothing: one is as good as another.
  `insert into bare default values; insert into bare default values; delete from bare where ctid = '(0,1)'`,
  `update included set v = 'other', w = 'other' where id = 1; update included set id = 50 where id = 2;
   delete from included where id = 3`,
  `truncate one, two; insert into one values (9); insert into two values (9, 9)`,
  // Rows that move to another partition, and back.
  `update root set region = 2 where id in (1, 2); update root set region = 1, v = 'back' where id = 2`,
  `truncate emptied; insert into emptied values (7)`,
  // The key of a GENERATED ALWAYS identity: left alone beside a change, and changed to what its sequence gives.
  `update numbered set v = 'other' where id = 1; update numbered set id = default where id in (2, 3); delete from numbered where id = 4`,
  // Keys that swap places, by a third; values of a second constraint too, in both orders.
  `update swapped set id = 100 where id = 1; update swapped set id = 1 where id = 2; update swapped set id = 2 where id = 100`,
  `update swapped set u = 100 where id = 1; update swapped set u = 2 where id = 2;
   update swapped set u = 1 where id = 1`,
  `update equal_rows set v = 'one of them' where ctid = (select min(ctid) from equal_rows);
   delete from equal_rows where ctid = (select min(ctid) from equal_rows where v = 'same')`,
  `update no_equality set p = '(3,4)' where ctid = (select min(ctid) from no_equality);
   delete from no_equality where ctid = (select max(ctid) from no_equality)`,
];

test('tables of odd kinds, partition moves, swaps and prepared transactions arrive as they were', async () => {
  await using migration = await openMigration({ role: 'superuser', schema });
  const { source, target } = migration;
  await using migrating = run(migration, cloneFollow(migration));
  await migrating.waitForOutput(/applying changes from/);

  for (const change of changes) await source.sql(`begin; ${change}; commit`);
  await source.sql('refresh materialized view concurrently seen');
  await source.sql(
    `begin; insert into parent values (70, 'prepared'); prepare transaction 'kept_${source.name}'`,
  );
  await source.sql(
    `begin; insert into parent values (71, 'lost'); prepare transaction 'lost_${source.name}'`,
  );
  await source.sql(`insert into parent values (72, 'between')`);
  await source.sql(`commit prepared 'kept_${source.name}'`);
  await source.sql(`rollback prepared 'lost_${source.name}'`);
  await setEndpos(migration);
  const exit = await migrating.exit;

  expect(exit.code, exit.stderr).toBe(0);
  await expectEqual(source, target);
  for (const table of [
    'only parent',
    'only child',
    'equal_rows',
    'no_equality',
    'root_1',
    'root_2',
    'swapped',
    'numbered',
    'bare',
  ]) {
    const rows = `select t::text as row from ${table} t order by 1`;
    expect([table, await target.sql(rows)]).toEqual([table, await source.sql(rows)]);
  }
  // The publications are the source's: they are not copied, and the target publishes nothing.
  expect(await source.sql('select from pg_publication')).not.toEqual([]);
  expect(await target.sql('select from pg_publication')).toEqual([]);
});
