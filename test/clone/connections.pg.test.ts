/** How many connections a clone has at most: the servers themselves are told to refuse one more. */
import { expect, test } from 'vitest';
import { startServer } from '../support/clusters.js';
import { createDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';
import { walferry } from '../support/walferry.js';

const jobs = { table: 3, index: 2 };

// The owner's objects, so that the limit, which superusers do not have, counts for all of it.
const schema = `
  do $$ begin for n in 1..30 loop
    execute format('create table t_%s (id int primary key, of int, t text)', n);
    execute format('insert into t_%s select i, i, repeat(md5(i::text), 40) from generate_series(1, 1000) i', n);
    execute format('create index on t_%s (t); create index on t_%s (of)', n, n);
    execute format('alter table t_%s add foreign key (of) references t_%s', n, greatest(n - 1, 1));
    perform lo_from_bytea(0, 'object');
  end loop; end $$;
  create materialized view m as select count(*) from t_1`;

const complaint = /no more connections|trying again|after \d+ attempts/;

test('at most table jobs + 2 connections to the source, and table jobs + index jobs + 2 to the target', async () => {
  // Servers of its own, since it is the roles that are limited: a database's limit counts autovacuum as well.
  await using sourceServer = await startServer('source');
  await using targetServer = await startServer('target');
  await using source = await createDatabase('source', { server: sourceServer });
  await using target = await createDatabase('target', { server: targetServer });
  await using directory = await temporaryDirectory();
  await source.sqlAsOwner(schema);
  // The test's own session of the owner is one of them.
  await source.sql(`alter role ${sourceServer.owner.name} connection limit ${jobs.table + 2 + 1}`);
  await target.sql(`alter role ${targetServer.owner.name} connection limit ${jobs.table + jobs.index + 2}`);
  const args = ['clone', '--no-owner', '--dir', directory.path, '--source', source.neonUri];
  const counts = ['--table-jobs', String(jobs.table), '--index-jobs', String(jobs.index)];

  await using process = walferry([...args, '--target', target.neonUri, ...counts]);
  const exit = await process.exit;

  expect(exit.code, exit.stderr).toBe(0);
  expect(exit.stderr).not.toMatch(complaint);
  const [row] = await target.sql(
    `select count(*) as n, count(*) filter (where convalidated) as valid from pg_constraint where contype = 'f'`,
  );
  expect(row).toEqual({ n: '30', valid: '30' });
});
