/**
 * What a change costs in the journal, in microseconds: encoded only, written (without and with an fsync at the end),
 * read back from the files, taken from memory, and the checksum's share. Run after `npm run build`:
 * node scripts/bench/journal.mjs [changes]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from '../../dist/src/journal/checksum.js';
import { LineEncoder } from '../../dist/src/journal/encode.js';
import { JournalReader } from '../../dist/src/journal/reader.js';
import { JournalWriter } from '../../dist/src/journal/writer.js';
import { silentLog } from '../../dist/src/log.js';

const changes = Number(process.argv[2] ?? 400_000);
const perTransaction = 4;
const perBatch = 400;
const never = new AbortController().signal;

const relation = {
  schema: 'public',
  name: 'pgbench_accounts',
  identity: 'default',
  columns: ['aid', 'bid', 'abalance', 'filler'].map((name) => ({ name, typeOid: 23 })),
  key: [0],
};

/** Batches as a socket read gives them: small transactions, each change with an LSN of its own. */
function makeBatches() {
  const batches = [];
  let batch = [];
  let lsn = 0x1000_0000n;
  for (let change = 0; change < changes; change += perTransaction) {
    const xid = BigInt(1000 + change);
    const commitLsn = lsn + 0x500n;
    batch.push({ kind: 'begin', xid, commitLsn, commitTime: 762_000_000_000_000n + xid });
    for (let row = 0; row < perTransaction; row += 1) {
      lsn += 0x98n;
      const cells = [String(change + row), '1', String(change * 7), ' '.repeat(84)];
      batch.push({ kind: 'change', xid, lsn, change: { kind: 'update', relation, key: null, row: cells } });
    }
    lsn = commitLsn + 0x30n;
    batch.push({ kind: 'commit', xid, commitLsn, endLsn: lsn, commitTime: 762_000_000_000_000n + xid });
    if (batch.length >= perBatch) {
      batches.push(batch);
      batch = [];
    }
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

function report(what, start) {
  const cpu = process.cpuUsage(start.cpu);
  const wall = ((performance.now() - start.wall) * 1000) / changes;
  const used = (cpu.user + cpu.system) / changes;
  console.log(`${what.padEnd(34)} ${wall.toFixed(2)} µs a change, ${used.toFixed(2)} µs of CPU`);
}

const begin = () => ({ cpu: process.cpuUsage(), wall: performance.now() });

async function drain(reader) {
  let count = 0;
  for (;;) {
    const batch = await reader.next(never);
    if (batch === null) return count;
    for (const message of batch) if (message.kind === 'change') count += 1;
  }
}

async function round(directory) {
  const batches = makeBatches();
  let start = begin();
  let bare = 0;
  for (const batch of batches) {
    for (const message of batch) {
      if (message.kind === 'change') bare += JSON.stringify(message.change.row).length;
    }
  }
  report(`JSON.stringify of ${(bare / 1e6).toFixed(0)} MB of rows alone`, start);

  start = begin();
  const encoder = new LineEncoder(0);
  let length = 0;
  for (const batch of batches) for (const message of batch) length += encoder.encode(message).length;
  report('encode', start);

  const sample = Buffer.alloc(Math.ceil(length / batches.length), 'x');
  start = begin();
  for (let batch = 0; batch < batches.length; batch += 1) crc32(sample, 0);
  report('checksum', start);

  const options = { directory, timeline: 1, segmentBytes: 16n * 1024n * 1024n, header: {}, log: silentLog };
  const writer = await JournalWriter.open(options);
  start = begin();
  for (const batch of batches) await writer.append(batch);
  report('append', start);
  await writer.sync();
  report('append and sync', start);
  await writer.close();

  start = begin();
  const reader = await JournalReader.open({ directory, follow: false });
  if ((await drain(reader)) !== changes) throw new Error('changes are missing');
  report(`read ${(writer.bytes / 1e6).toFixed(0)} MB of files`, start);
  await reader.close();

  start = begin();
  await (await JournalWriter.open(options)).close();
  report('open again (newest file)', start);
  await rm(directory, { recursive: true });

  const live = await JournalWriter.open(options);
  const level = await JournalReader.open({ directory, writer: live, follow: true });
  start = begin();
  let count = 0;
  for (const batch of batches) {
    await live.append(batch);
    do for (const message of await level.next(never)) if (message.kind === 'change') count += 1;
    while (!level.level);
  }
  report('append, and taken from memory', start);
  if (count !== changes) throw new Error('changes are missing');
  await level.close();
  await live.close();
  await rm(directory, { recursive: true });
}

const parent = await mkdtemp(join(tmpdir(), 'walferry-bench-'));
try {
  for (let run = 1; run <= 3; run += 1) {
    console.log(`run ${run}`);
    await round(join(parent, 'cdc'));
  }
} finally {
  await rm(parent, { recursive: true, force: true });
}
