/** The disk says no. */
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { realDisk } from '../../src/journal/disk.js';
import type { JournalDisk } from '../../src/journal/disk.js';
import { JournalReader } from '../../src/journal/reader.js';
import { drain, lsn, openWriter, temporaryDirectory, transaction } from './messages.js';

const refusal = (code: string) => Object.assign(new Error(`${code}: no`), { code });

test('a full disk in the middle of a write: disk-full, for good, and the next open cuts what went', async () => {
  await using directory = await temporaryDirectory();
  let room = Infinity;
  const disk: JournalDisk = {
    ...realDisk,
    async write(file, bytes, position) {
      if (room === 0) throw refusal('ENOSPC');
      const written = await realDisk.write(file, bytes.subarray(0, Math.min(bytes.length, room)), position);
      room -= written;
      return written;
    },
  };
  const writer = await openWriter(directory.path, { disk });
  await writer.append(transaction(1n, 0x1000n));
  room = 100;
  await expect(writer.append(transaction(2n, 0x2000n))).rejects.toMatchObject({ code: 'disk-full' });
  room = Infinity;
  await expect(writer.append(transaction(3n, 0x3000n))).rejects.toMatchObject({ code: 'disk-full' });
  await expect(writer.sync()).rejects.toMatchObject({ code: 'disk-full' });
  expect(writer.written).toBe(lsn(0x1030n));
  await writer.close();

  const messages: string[] = [];
  const log = { error() {}, warn: (text: string) => messages.push(text), info() {}, notice() {}, debug() {} };
  await using again = await openWriter(directory.path, { log });
  expect(messages).toEqual([
    'cutting 100 bytes of an unfinished write off transform file 000000010000000000000000.json',
  ]);
  expect(again.recovered).toBe(lsn(0x1030n));
  await again.append(transaction(2n, 0x2000n));
  await using reader = await JournalReader.open({ directory: directory.path, follow: false });
  expect(await drain(reader)).toEqual([...transaction(1n, 0x1000n), ...transaction(2n, 0x2000n)]);
});

test.each(['EDQUOT', 'ENOSPC'])('%s is a full disk when a file is flushed, too', async (code) => {
  await using directory = await temporaryDirectory();
  let refuse = false;
  const disk: JournalDisk = {
    ...realDisk,
    sync: (file) => (refuse ? Promise.reject(refusal(code)) : realDisk.sync(file)),
  };
  const writer = await openWriter(directory.path, { disk });
  await writer.append(transaction(1n, 0x1000n));
  refuse = true;
  await expect(writer.sync()).rejects.toMatchObject({ code: 'disk-full' });
  await writer.close();
});

test('what was acknowledged outlives a power loss by name too: the directory in its own, then each file in it', async () => {
  await using directory = await temporaryDirectory();
  const calls: string[] = [];
  const disk: JournalDisk = {
    ...realDisk,
    async write(file, bytes, position) {
      calls.push('write');
      return realDisk.write(file, bytes, position);
    },
    async syncDirectory(path) {
      calls.push(path === dirname(directory.path) ? 'its name' : 'names in it');
      await realDisk.syncDirectory(path);
    },
  };
  // Also where another process made it, and was killed before it could do so.
  for (const _opening of [1, 2]) {
    const writer = await openWriter(directory.path, { disk });
    await writer.append(transaction(1n, 0x1000n));
    await writer.close();
  }
  expect(calls).toEqual(['its name', 'write', 'names in it', 'write', 'its name', 'names in it', 'write']);
});

test('a failed fsync is never tried again: the pages may be gone, and the second would succeed', async () => {
  await using directory = await temporaryDirectory();
  let syncs = 0;
  let refuse = false;
  const disk: JournalDisk = {
    ...realDisk,
    async sync(file) {
      syncs += 1;
      if (refuse) throw refusal('EIO');
      await realDisk.sync(file);
    },
  };
  const writer = await openWriter(directory.path, { disk });
  await writer.append(transaction(1n, 0x1000n));
  await writer.sync();
  await writer.append(transaction(2n, 0x2000n));
  refuse = true;
  const before = syncs;
  await expect(writer.sync()).rejects.toMatchObject({ code: 'work-directory-broken' });
  refuse = false;
  await expect(writer.sync()).rejects.toMatchObject({ code: 'work-directory-broken' });
  await expect(writer.append(transaction(3n, 0x3000n))).rejects.toMatchObject({
    code: 'work-directory-broken',
  });
  await writer.close();
  expect(syncs).toBe(before + 1);
  expect(writer.durable).toBe(lsn(0x1030n));
});

test('short writes are gone on with, byte by byte if need be', async () => {
  await using directory = await temporaryDirectory();
  let turn = 0;
  const disk: JournalDisk = {
    ...realDisk,
    write(file, bytes, position) {
      turn += 1;
      return realDisk.write(file, bytes.subarray(0, 1 + (turn % 7)), position);
    },
  };
  const batches = [1n, 2n, 3n].map((xid) => transaction(xid, xid * 0x1000n, 3));
  {
    await using writer = await openWriter(directory.path, { disk });
    for (const batch of batches) await writer.append(batch);
  }
  await using reader = await JournalReader.open({ directory: directory.path, follow: false });
  expect(await drain(reader)).toEqual(batches.flat());
});

test('what is written while an fsync runs is not counted as durable by it', async () => {
  await using directory = await temporaryDirectory();
  let release = () => {};
  let hold = false;
  const disk: JournalDisk = {
    ...realDisk,
    async sync(file) {
      if (hold) await new Promise<void>((resolve) => (release = resolve));
      await realDisk.sync(file);
    },
  };
  await using writer = await openWriter(directory.path, { disk });
  await writer.append(transaction(1n, 0x1000n));
  hold = true;
  const syncing = writer.sync();
  await writer.append(transaction(2n, 0x2000n));
  hold = false;
  release();
  await syncing;
  expect(writer.durable).toBe(lsn(0x1030n));
  expect(writer.written).toBe(lsn(0x2030n));
  await writer.sync();
  expect(writer.durable).toBe(lsn(0x2030n));
});

test('the journal of another source is refused', async () => {
  await using directory = await temporaryDirectory();
  {
    await using writer = await openWriter(directory.path);
    await writer.append(transaction(1n, 0x1000n));
  }
  await expect(openWriter(directory.path, { header: { systemIdentifier: '1' } })).rejects.toMatchObject({
    code: 'work-directory-used',
  });
  await expect(openWriter(directory.path, { segmentBytes: 1024n * 1024n })).rejects.toMatchObject({
    code: 'work-directory-used',
  });
});
