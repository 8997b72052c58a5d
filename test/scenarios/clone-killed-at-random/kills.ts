/**
 * kill -9 again and again while a database is cloned, with the snapshot held by `walferry snapshot` in a process of its
 * own, and each time the same line with --resume. Some deaths come after a random while, the others after a random
 * number of copies, so that a slow machine meets the copy too.
 *
 * What was copied by whom is read on the target: every row of a table carries the transaction that wrote it, and so does
 * the row of the task table that speaks of them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { TestDatabase } from '../../support/databases.js';
import { contents } from '../../support/equal.js';
import { openMigration, run, type Migration } from '../../support/live-migration.js';
import { seededRandom, testSeed } from '../../support/random.js';
import { until } from '../../support/until.js';
import type { WalferryProcess } from '../../support/walferry.js';

export type CloneKills = {
  readonly kills: number;
  /** Tables of a size to be copied alone; as many small ones, which are copied together. */
  readonly tables: number;
  /** How long a run lives at most that dies after a while. */
  readonly longestLifeMs: number;
};

function schema(tables: number): string {
  return `
    create table big (id int primary key, filler text);
    insert into big select i, repeat(md5(i::text), 10) from generate_series(1, 12000) i;
    create index on big (filler);
    do $$ begin for n in 1..${tables} loop
      execute format('create table mid_%s (id int primary key, of_big int references big, filler text unique)', n);
      execute format('insert into mid_%s select i, i, repeat(md5((i * 7)::text), 12) from generate_series(1, 900) i', n);
      execute format('create table small_%s (id serial primary key, t text)', n);
      execute format('insert into small_%s (t) select md5(i::text) from generate_series(1, 20) i', n);
      execute format('create index on small_%s (t)', n);
    end loop; end $$;
    create materialized view counted as select count(*) as n from big;
    analyze`;
}

const inParts = ['--split-tables-larger-than', '1MB', '--split-max-parts', '4'];

/** Task rows of copies, with the transaction that wrote each. */
const tasksQuery = `select name, xmin::text as writer, done_at, rows from walferry.task where name like 'copy "%' order by 1`;

type Task = Record<string, string | null>;

async function copiedTasks(target: TestDatabase): Promise<Task[]> {
  const [there] = await target.sql(`select to_regclass('walferry.task') as task`);
  return (there?.['task'] ?? null) === null ? [] : await target.sql(tasksQuery);
}

export async function killCloneAgainAndAgain({ kills, tables, longestLifeMs }: CloneKills): Promise<void> {
  const random = seededRandom(testSeed(`a clone killed ${kills} times at random`));
  await using migration = await openMigration({ role: 'superuser', schema: schema(tables) });
  const { source, target } = migration;

  // Given a snapshot that another process holds, and a source that goes on,
  await using holder = run(migration, ['snapshot']);
  await holder.waitForOutput(/^[0-9A-F]+-[0-9A-F]+-\d+$/m);
  const wanted = await contents(source);
  await source.sql(
    `delete from small_1; update mid_1 set filler = filler || 'x'; insert into big values (0, 'new')`,
  );

  // when the clone is killed, and killed again,
  let [atWork, seen]: [number, Task[]] = [0, []];
  let deaths = 0;
  for (; deaths < kills; deaths += 1) {
    await using life = clone(migration, deaths > 0);
    if (deaths % 2 === 1 && random() < 0.6) {
      // A fast machine is not to be done in that time.
      const much = moreCopies(target, seen.length + 6, life);
      await Promise.race([sleep(random() * longestLifeMs), much]);
    } else await moreCopies(target, seen.length + 1 + Math.floor(random() * 3), life);
    life.kill();
    const exit = await life.exit;
    if (exit.code === 0) break;
    expect(exit.signal, exit.stderr).toBe('SIGKILL');
    // What its sessions were at may still be committed: they are waited for.
    await until('the sessions of the dead run are gone', () => noSession(target));
    const now = await copiedTasks(target);
    expect(now, 'finished tables are not copied again').toEqual(expect.arrayContaining(seen));
    if (now.length > seen.length) atWork += 1;
    seen = now;
  }

  // and at last left alone,
  const last = clone(migration, true);
  const exit = await last.exit;
  expect(exit.code, exit.stderr).toBe(0);

  // then the target is what the snapshot showed, and every row came with the one copy that its task speaks of.
  expect(await contents(target)).toEqual(wanted);
  const tasks = await copiedTasks(target);
  expect(tasks).toEqual(expect.arrayContaining(seen));
  expect(await rowsByWriter(target)).toEqual(sumByWriter(tasks));
  expect(await described(target)).toEqual(await described(source));
  expect(await target.sql('select n from counted')).toEqual([{ n: '12000' }]);
  process.stdout.write(`${deaths} kills, ${atWork} of them after new copies; ${tasks.length} copies\n`);
  expect(deaths, 'kills before the clone was complete').toBeGreaterThan(kills * 0.7);
  expect(atWork, 'kills after new copies').toBeGreaterThan(kills / 3);
}

function clone(migration: Migration, resume: boolean): WalferryProcess {
  const jobs = ['--table-jobs', '2', '--index-jobs', '2'];
  return run(migration, ['clone', ...jobs, ...inParts, ...(resume ? ['--resume'] : [])]);
}

/** Until the target holds so many copies, or the run has ended. */
async function moreCopies(target: TestDatabase, count: number, life: WalferryProcess): Promise<void> {
  let ended = false;
  void life.exit.then(() => (ended = true));
  await until(`${count} copies`, async () => ended || (await copiedTasks(target)).length >= count, {
    timeoutMs: 120_000,
  });
}

async function noSession(target: TestDatabase): Promise<boolean> {
  const rows = await target.sql(
    `select from pg_stat_activity where datname = current_database() and application_name like 'walferry%'`,
  );
  return rows.length === 0;
}

/** \`table writer\` → rows. */
async function rowsByWriter(target: TestDatabase): Promise<Record<string, number>> {
  const tables = await target.sql(
    `select relname as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`,
  );
  const selects = tables.map(
    ({ name }) => `select '${name}' as name, xmin::text as writer, count(*) as n from ${name} group by 2`,
  );
  const rows = await target.sql(selects.join(' union all '));
  return Object.fromEntries(rows.map(({ name, writer, n }) => [`${name} ${writer}`, Number(n)]));
}

function sumByWriter(tasks: readonly Task[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { name, writer, rows } of tasks) {
    const table = /^copy "public"\."(\w+)"/.exec(name ?? '')?.[1] ?? name;
    const key = `${table} ${writer}`;
    sums[key] = (sums[key] ?? 0) + Number(rows);
  }
  return sums;
}

async function described(database: TestDatabase): Promise<Task[]> {
  return await database.sql(`
    select indexdef as what, null as valid from pg_indexes where schemaname = 'public'
    union all select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid), convalidated::text
      from pg_constraint where connamespace = 'public'::regnamespace
    union all select schemaname || '.' || sequencename, last_value::text from pg_sequences order by 1, 2`);
}
