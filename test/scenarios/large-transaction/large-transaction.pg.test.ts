/**
 * One transaction that is much larger than the memory the program may use. Nothing of it may be gathered whole: not
 * what arrives, not what is written, not what is applied.
 */
import { expect, test } from 'vitest';
import { expectEqual } from '../../support/equal.js';
import { follow, openMigration, run, setEndpos, setupStream, slotOf } from '../../support/live-migration.js';
import { MemoryWatch } from './memory.js';

const rows = 300_000;
const heapMegabytes = 128;

/** The heap's limit, and what node, SQLite, sockets and buffers need beside it. */
const mostMegabytes = heapMegabytes + 250;

// Half a minute when nothing else runs.
const timeout = 300_000;

/** logical_decoding_work_mem of the source: with little it streams the transaction while it runs, with much it does not. */
const ways = [
  { way: 'streamed while it runs', workMemory: '64kB' },
  { way: 'sent when it commits', workMemory: '2GB' },
];

test.each(ways)(
  `a transaction of ${rows} rows, $way, passes with a heap of ${heapMegabytes} MB`,
  { timeout },
  async ({ workMemory }) => {
    await using migration = await openMigration({
      role: 'superuser',
      schema:
        'create table many (id int primary key, body text not null); create table one (id int primary key)',
      onBoth: true,
    });
    const { source, target } = migration;
    await source.sql(`alter database ${source.name} set logical_decoding_work_mem = '${workMemory}'`);
    await setupStream(migration);
    await using following = run(migration, follow(migration), {
      NODE_OPTIONS: `--max-old-space-size=${heapMegabytes}`,
    });
    await following.waitForOutput(/applying changes from/);
    using memory = new MemoryWatch(following.pid);
    // 300,000 inserts, updates of a third and deletes of some: half a million changes, some 200 bytes each.
    await source.sql(`begin;
    insert into many select i, repeat(md5(i::text), 5) from generate_series(1, ${rows}) i;
    update many set body = reverse(body) where id % 3 = 0;
    delete from many where id % 10 = 0;
    commit;
    insert into one values (1)`);
    await setEndpos(migration);
    const exit = await following.exit;
    expect(exit.code, exit.stderr).toBe(0);
    const [streamed] = await source.sql(
      `select (stream_txns > 0)::text as any from pg_stat_replication_slots where slot_name = '${slotOf(migration)}'`,
    );
    expect(streamed?.['any']).toBe(String(workMemory === '64kB'));
    await expectEqual(source, target);
    expect(await target.sql('select count(*) as n from many')).toEqual([{ n: String(rows - rows / 10) }]);
    if (memory.peak === 0) return;
    process.stdout.write(`a transaction of ${rows} rows: ${memory.peak} MB resident at most\n`);
    expect(memory.peak).toBeLessThan(mostMegabytes);
  },
);
