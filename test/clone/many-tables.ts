/** A clone of very many tables, each with an index, by the program itself; and what it cost. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import type { TestServer } from '../support/clusters.js';
import { temporaryDirectory } from '../support/directory.js';
import { walferry } from '../support/walferry.js';

export type ManyTables = { readonly peakMegabytes: number; readonly seconds: number };

const madeAtOnce = 500;

async function makeTables(source: TestDatabase, count: number): Promise<void> {
  for (let from = 0; from < count; from += madeAtOnce) {
    await source.sql(`do $$ begin for n in ${from}..${Math.min(from + madeAtOnce, count) - 1} loop
      execute format('create table many_%s (id int primary key, name text)', n);
      execute format('insert into many_%s values (%s, ''row of %s'')', n, n, n);
      end loop; end $$`);
  }
}

/** Resident memory of the process at its most, in megabytes; 0 once it is gone (or where Linux is not). */
function peakMegabytes(pid: number): number {
  try {
    return Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** Clones `count` tables and expects every row and key on the target. */
export async function cloneManyTables(
  count: number,
  servers: { readonly source?: TestServer; readonly target?: TestServer } = {},
): Promise<ManyTables> {
  await using source = await createDatabase('source', servers.source ? { server: servers.source } : {});
  await using target = await createDatabase('target', servers.target ? { server: servers.target } : {});
  await using directory = await temporaryDirectory();
  await makeTables(source, count);
  const began = performance.now();
  const args = ['clone', '--dir', directory.path, '--source', source.uri, '--target', target.uri];
  await using process = walferry([...args, '--table-jobs', '2', '--index-jobs', '2']);
  let peak = 0;
  const watching = setInterval(() => (peak = Math.max(peak, peakMegabytes(process.pid))), 100);
  const exit = await process.exit.finally(() => clearInterval(watching));
  const seconds = (performance.now() - began) / 1000;
  expect(exit.code, exit.stderr).toBe(0);
  const [keys] = await target.sql(
    `select count(*) as n from pg_constraint where contype = 'p' and conrelid::regclass::text like 'many%'`,
  );
  expect(keys).toEqual({ n: String(count) });
  const [tasks] = await target.sql(
    `select count(*) as n, sum(rows) as rows from walferry.task where name like 'copy "%'`,
  );
  expect(tasks).toEqual({ n: String(count), rows: String(count) });
  for (const n of [0, Math.floor(count / 2), count - 1]) {
    expect(await target.sql(`select * from many_${n}`)).toEqual([{ id: String(n), name: `row of ${n}` }]);
  }
  return { peakMegabytes: peak, seconds };
}
