import { expect } from 'vitest';
import type { TestDatabase } from './databases.js';

const tables = `
  select format('%I.%I', n.nspname, c.relname) as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema', 'walferry')
     and n.nspname !~ '^pg_toast'
   order by 1`;

/** Every row of every table as text, sorted: says exactly what differs, and shares no code with `walferry compare`. */
export async function contents(database: TestDatabase): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const { name } of await database.sql(tables)) {
    const columns = await database.sql(
      `select string_agg(format('%I', attname), ',' order by attname) as list from pg_attribute
        where attrelid = '${name?.replaceAll("'", "''")}'::regclass and attnum > 0 and not attisdropped`,
    );
    const list = columns[0]?.['list'];
    const rows = await database.sql(
      `select count(*) as count, md5(string_agg(row, E'\\n' order by row collate "C")) as md5
         from (select (row(${list ?? ''}))::text as row from only ${name}) as rows`,
    );
    all[name ?? ''] = `${rows[0]?.['count']} rows, ${rows[0]?.['md5']}`;
  }
  return all;
}

/** Expects every table of both databases to hold the same rows. */
export async function expectEqual(source: TestDatabase, target: TestDatabase): Promise<void> {
  expect(await contents(target)).toEqual(await contents(source));
}

/** Expects what the load of load.ts keeps: the accounts' sum, and a journal that explains every balance. */
export async function expectLedger(database: TestDatabase): Promise<void> {
  const [sum] = await database.sql('select sum(balance) as sum, count(*) as count from account');
  expect(sum).toEqual({ sum: '200000.00', count: '200' });
  const unexplained = await database.sql(
    `select id from account
      where balance <> 1000 + (select coalesce(sum(amount), 0) from journal where to_id = account.id)
                            - (select coalesce(sum(amount), 0) from journal where from_id = account.id)`,
  );
  expect(unexplained).toEqual([]);
}
