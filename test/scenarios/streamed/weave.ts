/**
 * Huge transactions for a source that streams them: they interleave with each other and with small ones, roll savepoints
 * back, are given up whole, and commit in another order than they began. What streams is told by the source itself.
 */
import type { TestDatabase, TestSession } from '../../support/databases.js';

export const wovenSchema = `
  create table entry (id bigint primary key, who text not null, body text);
  create table twin (who text, n int); alter table twin replica identity full;
  create table small (id int primary key, note text);
  create table cleared (id int primary key);`;

/** From now on this database's transactions are streamed once 64 kB of their changes are decoded. */
export async function streamEarly(source: TestDatabase): Promise<void> {
  await source.sql(`alter database ${source.name} set logical_decoding_work_mem = '64kB'`);
}

/** Rows enough for several blocks of a stream. */
const rows = 1500;

function insert(
  session: Pick<TestSession, 'sql'>,
  who: string,
  from: number,
  count = rows,
): Promise<unknown> {
  return session.sql(
    `insert into entry select i, '${who}', repeat('${who} ', 20) || i from generate_series(${from}, ${from + count - 1}) i`,
  );
}

export type WeaveOptions = {
  /** Something that is to happen while transactions are open, twice. */
  readonly between?: () => Promise<void>;
  /** Not while tables are copied: a snapshot does not see the rows of a table that was truncated after it. */
  readonly truncate?: boolean;
};

/** Four transactions side by side; `round` keeps the keys of several calls apart. */
export async function weave(source: TestDatabase, round: number, options: WeaveOptions = {}): Promise<void> {
  const { between = async () => {}, truncate = true } = options;
  const base = round * 1_000_000;
  let smalls = round * 1000;
  const small = () => source.sql(`insert into small values (${(smalls += 1)}, 'between')`);
  await using a = await source.session();
  await using b = await source.session();
  await using c = await source.session();
  await using d = await source.session();
  await a.sql('begin');
  await insert(a, 'a', base);
  await b.sql('begin; savepoint kept');
  await insert(b, 'b', base + 100_000);
  await small();
  await between();

  // Savepoints that are rolled back after they were streamed, nested ones among them, and one that is released.
  await b.sql('savepoint outer_one');
  await insert(b, 'gone', base + 110_000);
  await b.sql(`update entry set body = 'gone too' where who = 'b'; savepoint inner_one`);
  await insert(b, 'gone deeper', base + 120_000);
  await b.sql(
    `delete from entry where id between ${base + 100_000} and ${base + 100_500}; release inner_one`,
  );
  await insert(b, 'gone at last', base + 130_000);
  await b.sql('rollback to outer_one');
  await b.sql(`update entry set body = 'by b' where id between ${base + 100_000} and ${base + 100_100}`);

  // One that is given up whole, and one that begins last and commits first.
  await c.sql('begin');
  await insert(c, 'c', base + 200_000);
  await d.sql(`begin; insert into cleared select i from generate_series(1, 50) i on conflict do nothing`);
  await insert(d, 'd', base + 300_000);
  if (truncate) await d.sql(`truncate cleared; insert into cleared values (${round})`);
  await small();
  await insert(c, 'c', base + 210_000);
  await c.sql('rollback');
  await d.sql(`savepoint s; insert into twin select 'gone', i % 3 from generate_series(1, 800) i; rollback to s;
    insert into twin select 'd', i % 3 from generate_series(1, 800) i; commit`);
  await between();

  // The others go on over what was committed meanwhile.
  await a.sql(
    `update entry set body = 'a over d', id = id + 50000 where id between ${base + 300_000} and ${base + 300_300}`,
  );
  await a.sql(`delete from twin where ctid in (select ctid from twin where who = 'd' limit 100)`);
  await small();
  await insert(b, 'b', base + 140_000);
  await b.sql('release kept; commit');
  await a.sql(`update entry set body = 'a over b' where id between ${base + 100_000} and ${base + 100_050}`);
  await insert(a, 'a', base + 10_000);
  await a.sql('commit');
  await small();
}

/** How many transactions the source has streamed through a slot, and how many it had to spill to its disk. */
export async function streamingOf(
  source: TestDatabase,
  slot: string,
): Promise<{ streamed: number; spilled: number }> {
  const [row] = await source.sql(
    `select stream_txns as streamed, spill_txns as spilled from pg_stat_replication_slots where slot_name = '${slot}'`,
  );
  return { streamed: Number(row?.['streamed']), spilled: Number(row?.['spilled']) };
}
