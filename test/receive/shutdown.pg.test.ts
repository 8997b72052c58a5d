import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { JournalReader } from '../../src/journal/reader.js';
import { JournalWriter } from '../../src/journal/writer.js';
import { silentLog } from '../../src/log.js';
import { zeroLsn } from '../../src/model/lsn.js';
import type { StreamMessage } from '../../src/model/message.js';
import { Acknowledge } from '../../src/receive/acknowledge.js';
import { receive } from '../../src/receive/receive.js';
import { pgoutput } from '../../plugins/pgoutput/plugin.js';
import { startServer } from '../support/clusters.js';
import { createDatabase } from '../support/databases.js';
import { until } from '../support/until.js';
import { createStream, currentLsn, MemoryJournal, startReceiving } from './stream-tools.js';

test.each(['durable', 'applied'] as const)(
  'with --ack %s a source that shuts down is not held up, and is followed again when it is back',
  async (mode) => {
    await using server = await startServer('source', { settings: { wal_level: 'logical' } });
    await using source = await createDatabase('source', { server });
    await source.sql('create table t (id int primary key)');
    await using stream = await createStream(source);
    const journal = new MemoryJournal();
    const receiving = startReceiving(stream, journal, { mode, feedbackIntervalMs: 100 });
    await source.sql('insert into t values (1)');
    await until('it is durable', () => journal.durableCommits.size === 1);

    // With `applied` nothing is applied here, so the source waits for what cannot come.
    await server.cluster.stop('fast');
    await server.cluster.start();
    await using after = await source.session();
    await after.sql('insert into t values (2)');
    await until('the second is durable', () => journal.durableCommits.size === 2, { timeoutMs: 60_000 });
    expect(journal.connections).toBeGreaterThan(1);
    expect(journal.applied).toHaveLength(2);
    await receiving.stop();
  },
);

test('the journal on disk gives back what the slot sent, after a new process as well', async () => {
  await using source = await createDatabase('source');
  await source.sql('create table t (id int primary key, note text)');
  await using stream = await createStream(source);
  const directory = await mkdtemp(join(tmpdir(), 'walferry-'));
  try {
    const run = async (endpos: () => Promise<Awaited<ReturnType<typeof currentLsn>>>) => {
      await using journal = await JournalWriter.open({
        directory,
        timeline: 1,
        segmentBytes: 16n * 1024n * 1024n,
        header: { systemIdentifier: stream.systemIdentifier },
        log: silentLog,
      });
      const end = await endpos();
      await receive({
        stream: { ...stream, feedbackIntervalMs: 50 },
        plugin: pgoutput,
        journal,
        acknowledge: new Acknowledge('durable', { durable: journal.recovered ?? zeroLsn, applied: zeroLsn }),
        endpos: () => end,
        signal: new AbortController().signal,
        log: silentLog,
      });
      expect(journal.durable >= end).toBe(true);
    };
    await source.sql(`insert into t select n, 'ü' from generate_series(1, 100) n`);
    await run(() => currentLsn(source));
    await source.sql(`update t set id = id + 1000 where id <= 3; delete from t where id > 10`);
    await run(() => currentLsn(source));

    const reader = await JournalReader.open({ directory, follow: false });
    const read: StreamMessage[] = [];
    for (;;) {
      const batch = await reader.next(new AbortController().signal);
      if (batch === null) break;
      read.push(...batch);
    }
    const kinds = read.flatMap((message) => (message.kind === 'change' ? [message.change.kind] : []));
    const count = (kind: string) => kinds.filter((one) => one === kind).length;
    expect([count('insert'), count('update'), count('delete')]).toEqual([100, 3, 93]);
  } finally {
    await rm(directory, { recursive: true });
  }
});
