/**
 * A transaction of several gigabytes of changes, in the memory that any stream may use. What it took stands in
 * docs/measurements/apply.md.
 */
import { expect, test } from 'vitest';
import type { TestDatabase } from '../../support/databases.js';
import { follow, openMigration, run, setEndpos, setupStream } from '../../support/live-migration.js';
import { MemoryWatch } from './memory.js';

const rows = 3_000_000;
const mostMegabytes = 256;

test(`a transaction of ${rows} rows passes in ${mostMegabytes} MB`, async () => {
  await using migration = await openMigration({
    role: 'superuser',
    schema:
      'create table many (id int primary key, body text not null); create table one (id int primary key)',
    onBoth: true,
  });
  const { source, target } = migration;
  await setupStream(migration);
  await using following = run(migration, follow(migration));
  await following.waitForOutput(/applying changes from/);
  using memory = new MemoryWatch(following.pid);
  await source.sql(`begin;
    insert into many select i, repeat(md5(i::text), 10) from generate_series(1, ${rows}) i;
    update many set body = reverse(body) where id % 10 = 0;
    delete from many where id % 20 = 0;
    commit;
    insert into one values (1)`);
  await setEndpos(migration);
  const exit = await following.exit;
  expect(exit.code, exit.stderr).toBe(0);
  expect(await summary(target)).toEqual(await summary(source));
  process.stdout.write(`a transaction of ${rows} rows: ${memory.peak} MB resident at most\n`);
  expect(memory.peak).toBeLessThan(mostMegabytes);
});

/** Rows are too many to be fetched: their number, and a sum over the hash of each. */
function summary(database: TestDatabase): Promise<unknown> {
  return database.sql(
    `select count(*) as rows, sum(hashtextextended(m::text, 0)::numeric) as hashes, (select count(*) from one) as last
     from many m`,
  );
}
