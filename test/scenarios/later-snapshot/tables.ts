/** What the scenarios of a copy that goes on from a later snapshot copy, and how. */
import { ledgerSchema } from '../../support/load.js';

/**
 * Beside the ledger: a table that is copied in parts, partitions between which rows move, a table that is truncated, and
 * one without a key, in which equal rows are told apart by nothing.
 */
export const schema = `${ledgerSchema};
  create table large (id int primary key, word text not null);
  insert into large select i, repeat(md5(i::text), 4) from generate_series(1, 4000) i;
  create table shard (id int, place text, note text, primary key (place, id)) partition by list (place);
  create table shard_a partition of shard for values in ('a');
  create table shard_b partition of shard for values in ('b');
  create table shard_c partition of shard for values in ('c');
  insert into shard select i, (array['a', 'b', 'c'])[1 + i % 3], 'old' from generate_series(1, 300) i;
  create table emptied (id int primary key, note text);
  insert into emptied select i, 'old' from generate_series(1, 50) i;
  create table twins (word text, n int);
  alter table twins replica identity full;
  insert into twins select 'same', i % 3 from generate_series(1, 30) i;
`;

/** One transaction over all of them: seen by the later snapshot, or not, as a whole. */
export const touchAll = (mark: string) => `
  update large set word = '${mark}' where id % 97 = 0;
  delete from large where id % 101 = 3;
  insert into large values (100000 + (random() * 1000000000)::int, '${mark}') on conflict do nothing;
  update shard set place = case place when 'a' then 'b' when 'b' then 'c' else 'a' end where id % 7 = 0;
  insert into twins values ('same', 1), ('same', 1);
  delete from twins where ctid = (select min(ctid) from twins where n = 1);
  insert into event (kind) values ('${mark}');`;

/** A table at a time, the largest in parts: there is always something left to be copied. */
export const copyOptions = ['--no-owner', '--table-jobs', '1', '--split-tables-larger-than', '200kB'];
