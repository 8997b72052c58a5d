import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Failure } from '../../src/failure.js';
import { readLsn, zeroLsn, type Lsn } from '../../src/model/lsn.js';
import type { StreamMessage } from '../../src/model/message.js';
import { emitMark } from '../../src/postgres/logical-message.js';
import { openWriter, temporaryDirectory } from '../journal/messages.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { until } from '../support/until.js';
import {
  confirmedLsn,
  createStream,
  currentLsn,
  MemoryJournal,
  openSession,
  receiveAll,
  startReceiving,
} from './stream-tools.js';

async function tableSource(): Promise<TestDatabase> {
  const source = await createDatabase('source');
  await source.sql('create table t (id int primary key, note text)');
  return source;
}

/** The cells of the first column of every insert that was received whole. */
const ids = (journal: MemoryJournal) =>
  journal.applied.flatMap((change) => (change.kind === 'insert' ? [change.row[0]] : []));

/** Kills the process that reads from the slot; returns once it is gone. */
async function killReader(source: TestDatabase, slot: string): Promise<void> {
  const [row] = await source.sql(
    `select active_pid::text as pid, pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${slot}' and active_pid is not null`,
  );
  expect(row).toBeDefined();
  await until('the reader is gone', async () => {
    const left = await source.sql(`select from pg_stat_activity where pid = ${row?.['pid']}`);
    return left.length === 0;
  });
}

test('transactions come in the order of their commits, however they began', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  await using first = await source.session();
  await using second = await source.session();

  await first.sql(`begin; insert into t values (1)`);
  await second.sql(`begin; insert into t values (2)`);
  await first.sql(`insert into t values (3)`);
  await second.sql(`insert into t values (4); commit`);
  await source.sql(`insert into t values (5)`);
  await first.sql(`commit`);
  const journal = await receiveAll(source, stream);

  expect(ids(journal)).toEqual(['2', '4', '5', '1', '3']);
  const [, , late] = journal.transactions;
  expect(late !== undefined && late.xid < (journal.transactions[0]?.xid ?? 0n)).toBe(true);
});

test('the xid is the 64-bit one', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const [row] = await source.sql(`insert into t values (1) returning pg_current_xact_id()::text as xid`);
  const journal = await receiveAll(source, stream);
  expect(journal.transactions.find((one) => one.changes.length > 0)?.xid).toBe(BigInt(row?.['xid'] ?? ''));
});

test('rows of one statement that share a position all come', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  await source.sql(`insert into t select n, 'x' from generate_series(1, 500) n`);
  await source.sql(`copy t from program 'seq 501 1000' with (format csv)`.replace('t from', 't (id) from'));
  const journal = await receiveAll(source, stream);

  expect(ids(journal)).toEqual(Array.from({ length: 1000 }, (_, nth) => String(nth + 1)));
  const copied = journal.transactions.find(
    (one) => one.changes.length === 500 && new Set(one.lsns).size < 500,
  );
  expect(copied).toBeDefined();
});

test('commits adjacent in the log, with a new process after each: none is lost, none comes twice', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const journal = new MemoryJournal();
  const commits: Lsn[] = [];
  for (let id = 1; id <= 3; id += 1) {
    // Two commits and nothing in between; the position after each is the end of its commit record.
    for (const half of [1, 2]) {
      await source.sql(`insert into t values (${id * 10 + half})`);
      const [row] = await source.sql(`select pg_current_wal_insert_lsn()::text as lsn`);
      commits.push(readLsn(row?.['lsn'] ?? ''));
    }
    // When the end position is exactly the end of the first commit, then that one is received and the other is not.
    for (const end of commits.slice(-2)) {
      const receiving = startReceiving(stream, journal);
      receiving.setEndpos(end);
      expect(await receiving.ended).toBeNull();
      expect(await confirmedLsn(source, stream.slot)).toBe(journal.durable);
    }
  }
  expect(ids(journal)).toEqual(['11', '12', '21', '22', '31', '32']);
});

test('a reader killed in the middle of a transaction: it comes again whole, and the half that was written is void', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const journal = new MemoryJournal();
  let braked = false;
  const receiving = startReceiving(stream, journal, { brake: () => braked });
  await source.sql(`insert into t values (0)`);
  await until('the first is durable', () => journal.durableCommits.size > 0);

  // More than the sockets and queues hold, so that the reader is killed with the transaction under way.
  await source.sql(`insert into t select n, repeat('x', 1000) from generate_series(1, 20000) n`);
  await until('changes arrive', () => journal.messages.length > 100);
  braked = true;
  expect(journal.messages.at(-1)).toMatchObject({ kind: 'change' });
  await killReader(source, stream.slot);
  braked = false;
  receiving.setEndpos(await currentLsn(source));
  expect(await receiving.ended).toBeNull();

  expect(journal.connections).toBe(2);
  expect(journal.messages.filter((message) => message.kind === 'begin').length).toBeGreaterThan(
    journal.transactions.length,
  );
  expect(ids(journal)).toEqual(Array.from({ length: 20_001 }, (_, nth) => String(nth)));
});

test('a row that no line of a transform file can hold is neither written nor acknowledged, and says which table', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  await using directory = await temporaryDirectory();
  // Given a line's limit that is lower than the engine's, and a row behind others that is above it,
  await source.sql(`insert into t values (1, 'x')`);
  const before = await currentLsn(source);
  await source.sql(`insert into t values (2, 'x'), (3, repeat('x', 20000))`);
  const end = await currentLsn(source);
  const longestLine = 10_000;
  const receiveOnce = async () => {
    await using journal = await openWriter(directory.path, { longestLine });
    const receiving = startReceiving(stream, new MemoryJournal(), { journal, feedbackIntervalMs: 10 });
    receiving.setEndpos(end);
    return { failure: await receiving.ended, durable: journal.durable };
  };

  // when it is received, and received once more,
  for (const { failure, durable } of [await receiveOnce(), await receiveOnce()]) {
    // then it is refused each time, and what came before it is all that the source may forget.
    expect(failure).toMatchObject({ code: 'plugin-limit' });
    expect(failure?.message).toMatch(/a row of public\.t at [0-9A-F]+\/[0-9A-F]+ is longer/);
    expect(durable <= before).toBe(true);
  }
  expect((await confirmedLsn(source, stream.slot)) <= before).toBe(true);
});

test('what is acknowledged is exactly the end of a commit that is durable, never one only written', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const journal = new MemoryJournal();
  const receiving = startReceiving(stream, journal, { feedbackIntervalMs: 10 });
  await source.sql(`insert into t values (1)`);
  const before = await until('the first is acknowledged', async () => {
    const confirmed = await confirmedLsn(source, stream.slot);
    return [...journal.durableCommits].some((end) => end <= confirmed) && confirmed;
  });
  // Others write to the server too, and keepalives tell of it: exactly the end of a commit, or one of these.
  const positions = journal.messages.flatMap((message) =>
    message.kind === 'commit' ? [message.endLsn] : message.kind === 'keepalive' ? [message.lsn] : [],
  );
  expect(positions).toContain(before);

  let release = () => {};
  journal.held = new Promise((resolve) => {
    release = resolve;
  });
  await source.sql(`insert into t values (2)`);
  await until('the second is written', () => ids(journal).length === 2);
  await until('that is reported as written', async () => {
    const [row] = await source.sql(
      `select write_lsn::text as lsn from pg_stat_replication where application_name = 'walferry receive' and pid = (select active_pid from pg_replication_slots where slot_name = '${stream.slot}')`,
    );
    return readLsn(row?.['lsn'] ?? '0/0') >= journal.written;
  });
  const durableThen = journal.durable;
  expect(durableThen < journal.written).toBe(true);
  expect(await confirmedLsn(source, stream.slot)).toBe(durableThen);
  expect(durableThen >= before).toBe(true);

  release();
  const second = journal.transactions.findLast((one) => one.changes.length > 0)?.endLsn;
  await until(
    'the second is acknowledged',
    async () => (await confirmedLsn(source, stream.slot)) >= (second ?? 0n),
  );
  await receiving.stop();
});

test('with --ack applied the slot waits for the target', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const journal = new MemoryJournal();
  const start = await confirmedLsn(source, stream.slot);
  const receiving = startReceiving(stream, journal, { mode: 'applied', feedbackIntervalMs: 10 });
  await source.sql(`insert into t values (1)`);
  await source.sql(`insert into t values (2)`);
  await until('both are durable', () => journal.durableCommits.size === 2);
  await sleep(100);
  expect(await confirmedLsn(source, stream.slot)).toBe(start);

  const [first] = journal.transactions;
  receiving.acknowledge.applied(first?.endLsn ?? start);
  await until('the first is acknowledged', async () => {
    return (await confirmedLsn(source, stream.slot)) === first?.endLsn;
  });
  await receiving.stop();
});

test('an idle source reaches the end position that --current gives, and does not hold its log', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const journal = new MemoryJournal();
  const receiving = startReceiving(stream, journal, { feedbackIntervalMs: 20 });
  await until('it is connected', () => journal.connections === 1);
  // Nobody writes to this database, but the cluster writes its log: keepalives alone move the slot.
  await using elsewhere = await createDatabase('source');
  await elsewhere.sql(`create table noise as select generate_series(1, 1000) as n`);
  const [row] = await source.sql(`select pg_current_wal_lsn()::text as lsn`);
  const noise = readLsn(row?.['lsn'] ?? '');
  await until('keepalives are acknowledged', async () => (await confirmedLsn(source, stream.slot)) >= noise);
  expect(journal.transactions).toEqual([]);

  await using session = await openSession(source);
  const mark = await emitMark(session);
  receiving.setEndpos(mark);
  expect(await receiving.ended).toBeNull();
  expect(journal.messages.at(-1)).toEqual({ kind: 'endpos', lsn: mark });
  expect(journal.durable >= mark).toBe(true);
  expect(await confirmedLsn(source, stream.slot)).toBe(journal.durable);
});

test('an end position that is reached already ends a run without asking the source', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  await source.sql(`insert into t values (1)`);
  const journal = await receiveAll(source, stream);
  const lines = journal.messages.length;

  const again = startReceiving(stream, journal);
  again.setEndpos(journal.durable);
  expect(await again.ended).toBeNull();
  expect(journal.messages.slice(lines)).toEqual([{ kind: 'endpos', lsn: journal.durable }]);
});

test('an end position that is moved while what reaches it is written is reached only later', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  await source.sql(`insert into t values (1)`);
  const first = await currentLsn(source);
  await source.sql(`insert into t values (2)`);
  const second = await currentLsn(source);

  let move = () => {};
  class MovingJournal extends MemoryJournal {
    override async append(batch: readonly StreamMessage[]): Promise<void> {
      await super.append(batch);
      if (this.written >= first) move();
    }
  }
  const journal = new MovingJournal();
  const receiving = startReceiving(stream, journal);
  receiving.setEndpos(first);
  move = () => receiving.setEndpos(second);
  expect(await receiving.ended).toBeNull();
  expect(await receiving.reached).toBe(first);
  expect(journal.messages.at(-1)).toEqual({ kind: 'endpos', lsn: first });
  expect(ids(journal)).toEqual(['1']);

  const goingOn = startReceiving(stream, journal);
  goingOn.setEndpos(second);
  expect(await goingOn.ended).toBeNull();
  expect(await goingOn.reached).toBe(second);
  expect(ids(journal)).toEqual(['1', '2']);
});

test('a consumer that rests longer than wal_sender_timeout keeps its connection', async () => {
  await using source = await tableSource();
  await source.sql(`alter database ${source.name} set wal_sender_timeout = '500ms'`);
  await using stream = await createStream(source);
  const journal = new MemoryJournal();
  let braked = false;
  const receiving = startReceiving(stream, journal, { brake: () => braked, feedbackIntervalMs: 60_000 });
  await until('it is connected', () => journal.connections === 1);
  braked = true;
  await source.sql(`insert into t select n, repeat('x', 1000) from generate_series(1, 10000) n`);
  await sleep(2000);
  braked = false;
  receiving.setEndpos(await currentLsn(source));
  expect(await receiving.ended).toBeNull();
  expect(journal.connections).toBe(1);
  expect(ids(journal)).toHaveLength(10_000);
});

test('a consumer that rests ends when the end position was passed already', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const journal = new MemoryJournal();
  let braked = false;
  let askedWhileBraked = 0;
  const brake = () => {
    if (braked) askedWhileBraked += 1;
    return braked;
  };
  const receiving = startReceiving(stream, journal, { brake });
  await source.sql(`insert into t values (1)`);
  await until('the first is durable', () => journal.durableCommits.size > 0);
  braked = true;
  await until('it rests', () => askedWhileBraked > 1);
  const end = [...journal.durableCommits].at(-1) ?? zeroLsn;
  receiving.setEndpos(end);
  expect(await receiving.ended).toBeNull();
  expect(await receiving.reached).toBe(end);
});

test('whoever reads the journal and does not go on keeps nobody from stopping', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const journal = new MemoryJournal();
  let waits = 0;
  const pace = () => {
    waits += 1;
    return waits < 3 ? null : new Promise<void>(() => {});
  };
  const receiving = startReceiving(stream, journal, { pace });
  await until('it waits', () => waits === 3);
  await receiving.stop();
  expect(await receiving.ended).toMatchObject({ code: 'stopped' });
});

test('stopping leaves everything durable and acknowledged, and the slot free', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const journal = new MemoryJournal();
  const receiving = startReceiving(stream, journal, { feedbackIntervalMs: 60_000 });
  await source.sql(`insert into t values (1)`);
  await until('it is written', () => ids(journal).length === 1);
  await receiving.stop();

  expect(await receiving.ended).toMatchObject({ code: 'stopped' });
  expect(journal.durable).toBe(journal.written);
  expect(await confirmedLsn(source, stream.slot)).toBe(journal.durable);
  const [slot] = await source.sql(
    `select active::text from pg_replication_slots where slot_name = '${stream.slot}'`,
  );
  expect(slot).toEqual({ active: 'false' });
});

test('a slot that somebody else moved on is refused: what lies in between is gone', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  await source.sql(`insert into t values (1)`);
  await source.sql(`select pg_replication_slot_advance('${stream.slot}', pg_current_wal_lsn())`);
  const receiving = startReceiving(stream, new MemoryJournal());
  expect(await receiving.ended).toMatchObject({ code: 'slot-ahead' });
});

test('a slot that is gone, or read by somebody else, or a server that is another one', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const other = startReceiving({ ...stream, systemIdentifier: '1' }, new MemoryJournal());
  expect(await other.ended).toMatchObject({
    code: 'slot-lost',
    message: expect.stringContaining('another server'),
  });

  const journal = new MemoryJournal();
  const reading = startReceiving(stream, journal);
  await until('it is connected', () => journal.connections === 1);
  const second = startReceiving(stream, new MemoryJournal(), { reconnectForMs: 200 });
  expect(await second.ended).toMatchObject({ code: 'slot-busy' });
  await reading.stop();

  const missing = startReceiving({ ...stream, slot: 'no_such_slot' }, new MemoryJournal());
  expect(await missing.ended).toMatchObject({ code: 'slot-lost' });
});

test('a publication that is dropped under the stream stops it with what to do', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  await source.sql(`drop publication "${stream.slot}"; insert into t values (1)`);
  const receiving = startReceiving(stream, new MemoryJournal());
  const failure = await receiving.ended;
  expect(failure).toMatchObject({ code: 'source-setup' });
  expect(failure?.remedy).toMatch(/--restart/);
});

test('a journal that fails stops the run, and nothing more is acknowledged', async () => {
  await using source = await tableSource();
  await using stream = await createStream(source);
  const start = await confirmedLsn(source, stream.slot);
  const journal = new MemoryJournal();
  const receiving = startReceiving(stream, journal, { feedbackIntervalMs: 10 });
  await until('it is connected', () => journal.connections === 1);
  journal.held = Promise.reject(new Failure('disk-full', 'no room'));
  journal.held.catch(() => {});
  await source.sql(`insert into t values (1)`);
  expect(await receiving.ended).toMatchObject({ code: 'disk-full' });
  const [first] = journal.transactions;
  expect((await confirmedLsn(source, stream.slot)) < (first?.endLsn ?? start)).toBe(true);
});
