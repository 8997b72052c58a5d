import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { pruneJournal } from '../../src/journal/prune.js';
import { JournalReader } from '../../src/journal/reader.js';
import { listSegments, loadSegments } from '../../src/journal/segment.js';
import type { StreamMessage } from '../../src/model/message.js';
import { drain, lsn, openWriter, person, segmentBytes, temporaryDirectory, transaction } from './messages.js';

const file = (segment: number) => `00000001000000000000000${segment}.json`;
const at = (segment: number) => BigInt(segment) * segmentBytes + 0x1000n;
const everything = { dryRun: false, keepBytes: 0 };

/** A part of a streamed transaction: it begins or goes on here, and its commit is not known yet. */
const streamed = (xid: bigint, segment: number): StreamMessage[] => [
  // A begin without a position stays in the file at hand: this opens the right one, and moves nothing else.
  { kind: 'message', xid: null, lsn: lsn(at(segment)), prefix: 'here', content: '' },
  { kind: 'begin', xid, commitLsn: null, commitTime: null },
  { kind: 'change', xid, lsn: lsn(at(segment)), change: { kind: 'delete', relation: person, key: ['1'] } },
];

async function write(directory: string, messages: readonly StreamMessage[]): Promise<void> {
  await using writer = await openWriter(directory);
  await writer.append(messages);
}

test('files of which all is applied go, the newest never', async () => {
  await using directory = await temporaryDirectory();
  await write(
    directory.path,
    [1, 2, 3, 4].flatMap((segment) => transaction(BigInt(segment), at(segment))),
  );
  const before = await pruneJournal(directory.path, lsn(at(2)), { dryRun: true, keepBytes: 0 });
  expect(before.files).toEqual([file(1)]);
  expect((await readdir(directory.path)).length).toBe(4);
  // The second file's transaction ends 0x30 after its commit record's start.
  expect((await pruneJournal(directory.path, lsn(at(2) + 0x2fn), everything)).files).toEqual([file(1)]);
  expect((await pruneJournal(directory.path, lsn(at(2) + 0x30n), everything)).files).toEqual([file(2)]);
  expect((await pruneJournal(directory.path, lsn(at(9)), everything)).files).toEqual([file(3)]);
  expect(await readdir(directory.path)).toEqual([file(4)]);
});

test('the reserve stays, the newest of what is applied', async () => {
  await using directory = await temporaryDirectory();
  await using writer = await openWriter(directory.path);
  await writer.append([1, 2, 3, 4].flatMap((segment) => transaction(BigInt(segment), at(segment))));
  const bytes = writer.bytes;
  const pruned = await pruneJournal(directory.path, lsn(at(9)), { dryRun: false, keepBytes: 1, writer });
  expect(pruned.files).toEqual([file(1), file(2)]);
  expect(writer.bytes).toBe(bytes - pruned.bytes);
  const none = await pruneJournal(directory.path, lsn(at(9)), { dryRun: false, keepBytes: 1_000_000 });
  expect(none).toEqual({ files: [], bytes: 0 });
});

test('a file with the beginning of an unfinished transaction stays until it has ended and is applied', async () => {
  await using directory = await temporaryDirectory();
  const end = at(3);
  await write(directory.path, [
    ...transaction(1n, at(0)),
    ...streamed(50n, 1),
    ...transaction(2n, at(2)),
    { kind: 'commit', xid: 50n, commitLsn: lsn(end), endLsn: lsn(end + 8n), commitTime: 0n },
    ...transaction(3n, at(4)),
  ]);
  // Everything before the third file is applied, but for transaction 50, which began in the second.
  expect((await pruneJournal(directory.path, lsn(at(2) + 0x30n), everything)).files).toEqual([file(0)]);
  expect((await pruneJournal(directory.path, lsn(end + 7n), everything)).files).toEqual([]);
  expect((await pruneJournal(directory.path, lsn(end + 8n), everything)).files).toEqual([1, 2, 3].map(file));
});

test('a reader that starts at a position skips files, and no transaction that it needs', async () => {
  await using directory = await temporaryDirectory();
  const needed = [
    ...streamed(51n, 2),
    ...transaction(2n, at(3)),
    { kind: 'commit', xid: 51n, commitLsn: lsn(at(3)), endLsn: lsn(at(3) + 8n), commitTime: 0n } as const,
  ];
  await write(directory.path, [
    ...transaction(1n, at(0)),
    // Begins in a file that is skipped, ends before the position: its rest must not appear without its beginning.
    ...streamed(50n, 1),
    { kind: 'connected', lsn: lsn(at(1)) },
    ...streamed(50n, 1),
    { kind: 'keepalive', lsn: lsn(at(2) - 0x100n), time: 0n },
    { kind: 'change', xid: 50n, lsn: lsn(at(2)), change: { kind: 'delete', relation: person, key: ['2'] } },
    { kind: 'commit', xid: 50n, commitLsn: lsn(at(2)), endLsn: lsn(at(2) + 8n), commitTime: 0n },
    ...needed,
  ]);
  const read = async (from: bigint) => {
    await using reader = await JournalReader.open({
      directory: directory.path,
      follow: false,
      from: lsn(from),
    });
    expect(reader.oldestLsn).toBeNull();
    // Awaited here, or the reader would be closed first.
    return await drain(reader);
  };
  const ofFifty = (messages: readonly StreamMessage[]) =>
    messages.filter((message) => 'xid' in message && message.xid === 50n).map((message) => message.kind);
  const fromSecond = await read(at(2));
  expect(fromSecond.slice(-needed.length)).toEqual(needed);
  expect(ofFifty(fromSecond)).toEqual(['begin', 'change', 'begin', 'change', 'change', 'commit']);
  // 51 began in the third file, which must therefore be read, but of 50, applied, nothing shows.
  const fromThird = await read(at(2) + 8n);
  expect(fromThird.map((message) => message.kind)[0]).toBe('keepalive');
  expect(fromThird.slice(1)).toEqual(needed);
});

test('orphans of a pruned file are dropped, and the journal says from where it reaches', async () => {
  await using directory = await temporaryDirectory();
  const change: StreamMessage = {
    kind: 'change',
    xid: 50n,
    lsn: lsn(at(2)),
    change: { kind: 'delete', relation: person, key: ['2'] },
  };
  const rest = [...transaction(3n, at(3)), ...transaction(4n, at(4))];
  const commit = (segment: number): StreamMessage => ({
    kind: 'commit',
    xid: 50n,
    commitLsn: lsn(at(segment)),
    endLsn: lsn(at(segment) + 8n),
    commitTime: 0n,
  });
  await write(directory.path, [...transaction(1n, at(0)), ...streamed(50n, 1), change, commit(2), ...rest]);
  // The first two go; the reserve keeps the third, with the end of a transaction whose beginning is gone.
  const { files } = await pruneJournal(directory.path, lsn(at(3)), { dryRun: false, keepBytes: 1 });
  expect(files).toEqual([file(0), file(1)]);
  await using reader = await JournalReader.open({ directory: directory.path, follow: false });
  expect(reader.oldestLsn).toBe(lsn(at(0) + 0x30n));
  expect(await drain(reader)).toEqual(rest);
});

test('a journal that begins behind a position says so, and goes on saying it', async () => {
  await using directory = await temporaryDirectory();
  const oldest = async () => {
    await using reader = await JournalReader.open({ directory: directory.path, follow: false });
    return reader.oldestLsn;
  };
  expect(await oldest()).toBeNull();
  await write(directory.path, [{ kind: 'connected', lsn: lsn(0x777) }, ...streamed(50n, 1)]);
  expect(await oldest()).toBe(lsn(0x777));
  await write(directory.path, [{ kind: 'connected', lsn: lsn(0x777) }, ...streamed(51n, 2)]);
  await write(directory.path, [
    { kind: 'connected', lsn: lsn(0x777) },
    ...transaction(1n, at(3)),
    ...transaction(2n, at(4)),
  ]);
  expect(await oldest()).toBe(lsn(0x777));
  await pruneJournal(directory.path, lsn(at(4)), everything);
  expect(await readdir(directory.path)).toEqual([file(4)]);
  expect(await oldest()).toBe(lsn(at(3) + 0x30n));
});

test('a file that is pruned under a reader which still needs it is damage, not the end', async () => {
  await using directory = await temporaryDirectory();
  await write(
    directory.path,
    [1, 2, 3].flatMap((segment) => transaction(BigInt(segment), at(segment))),
  );
  await using reader = await JournalReader.open({ directory: directory.path, follow: false });
  await pruneJournal(directory.path, lsn(at(9)), everything);
  await expect(drain(reader)).rejects.toMatchObject({ code: 'journal-damaged' });
});

test('a reader is opened beside a pruning: files that go after they were listed are done with', async () => {
  await using directory = await temporaryDirectory();
  await write(
    directory.path,
    [1, 2, 3].flatMap((segment) => transaction(BigInt(segment), at(segment))),
  );
  const listed = await listSegments(directory.path);
  await pruneJournal(directory.path, lsn(at(1) + 0x30n), everything);
  const loaded = await loadSegments(directory.path, listed);
  expect(loaded.map(({ name }) => name)).toEqual([file(2), file(3)]);

  // One in the middle is another matter.
  await unlink(join(directory.path, file(3)));
  await expect(loadSegments(directory.path, listed.slice(1))).rejects.toThrow(/3\.json .*it is missing/);
});
