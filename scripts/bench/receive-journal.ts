/**
 * From the slot into transform files, on disk: one backlog of small transactions received, decoded and journaled as a
 * run does it, with its fsyncs; beside it pg_recvlogical, which writes what it receives to a file as it is, and so shows
 * how fast the server sends. Nothing is acknowledged, so that every run receives the same.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pgoutput } from '../../plugins/pgoutput/plugin.js';
import { JournalWriter } from '../../src/journal/writer.js';
import { silentLog } from '../../src/log.js';
import { formatLsn, readLsn, zeroLsn, type Lsn } from '../../src/model/lsn.js';
import type { FeedbackPositions } from '../../src/postgres/feedback.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { Acknowledge } from '../../src/receive/acknowledge.js';
import { receive } from '../../src/receive/receive.js';
import { runMeasured } from './client-cost.js';
import { untilSome, workloads } from './follow.js';
import { timeHere, type Case } from './measure.js';
import { createDatabase, execute, type BenchServers } from './servers.js';

const name = 'bench_journal';

type Backlog = { readonly uri: string; readonly from: Lsn; readonly to: Lsn };

export async function receiveJournalCases({ source }: BenchServers, scale: number): Promise<readonly Case[]> {
  const database = await createDatabase(source, 'journal');
  const backlog = await makeBacklog(source.uri({ database, parameters: { sslmode: 'disable' } }), scale);
  const inDirectory = async <T>(work: (directory: string) => Promise<T>): Promise<T> => {
    const directory = await mkdtemp(path.join(os.tmpdir(), 'walferry-bench-'));
    try {
      return await work(directory);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  };
  return [
    {
      name: 'received, decoded, journaled',
      run: () => inDirectory((directory) => timeHere(() => receiveIntoJournal(backlog, directory))),
    },
    {
      name: 'pg_recvlogical to a file',
      run: () => inDirectory((directory) => receiveIntoFile(backlog, directory, source.address.programs)),
    },
  ];
}

async function makeBacklog(uri: string, scale: number): Promise<Backlog> {
  const { tables, backlog } = workloads.follow;
  await execute(uri, tables, `create publication ${name} for all tables`);
  const [made] = await execute(
    uri,
    `select lsn::text from pg_create_logical_replication_slot('${name}', 'pgoutput')`,
  );
  await execute(uri, 'set synchronous_commit = off', backlog(scale));
  // Something that commits behind the end position.
  const [end] = await execute(
    uri,
    `select pg_logical_emit_message(true, 'bench', '')`,
    'select pg_current_wal_insert_lsn()::text as lsn',
  );
  await execute(uri, `select pg_logical_emit_message(true, 'bench', '')`);
  return { uri, from: readLsn(String(made?.['lsn'])), to: readLsn(String(end?.['lsn'])) };
}

/** Tells the source nothing that would move the slot. */
class Silent extends Acknowledge {
  override positions(): FeedbackPositions {
    return { written: zeroLsn, flushed: zeroLsn, applied: zeroLsn };
  }
}

async function receiveIntoJournal({ uri, from, to }: Backlog, directory: string): Promise<void> {
  const signal = new AbortController().signal;
  await using writer = await JournalWriter.open({
    directory,
    timeline: 1,
    segmentBytes: 16n * 1024n * 1024n,
    header: {},
    log: silentLog,
  });
  await receive({
    stream: {
      conninfo: readConninfo(uri, {}),
      slot: name,
      publications: [name],
      systemIdentifier: null,
      startLsn: from,
    },
    plugin: pgoutput,
    journal: writer,
    acknowledge: new Silent('durable', { durable: from, applied: from }),
    endpos: () => to,
    signal,
    log: silentLog,
  });
}

/** It acknowledges what it has at its end: of a slot of its own. */
async function receiveIntoFile({ uri, to }: Backlog, directory: string, programs: string) {
  const program = path.join(programs, 'pg_recvlogical');
  const file = path.join(directory, 'received');
  const slot = `${name}_file`;
  await execute(uri, `select pg_copy_logical_replication_slot('${name}', '${slot}')`);
  try {
    return await runMeasured(
      `'${program}' -d "$BENCH_SOURCE" -S ${slot} --start --no-loop --endpos ${formatLsn(to)} -F 1 -f '${file}' ` +
        `-o proto_version=1 -o publication_names=${name}`,
      { BENCH_SOURCE: uri },
    );
  } finally {
    // Its walsender ends a moment after the client.
    await untilSome(uri, `select from pg_replication_slots where slot_name = '${slot}' and not active`);
    await execute(uri, `select pg_drop_replication_slot('${slot}')`);
  }
}
