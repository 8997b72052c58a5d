import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { JournalReader } from '../../src/journal/reader.js';
import { drain, lsn, openWriter, segmentBytes, temporaryDirectory, transaction } from './messages.js';

test('what is appended is read back from the files, in order, across rotations and reopening', async () => {
  await using directory = await temporaryDirectory();
  const batches = [
    [{ kind: 'connected', lsn: lsn(0x100) } as const],
    transaction(1n, 0x1000n, 3),
    transaction(2n, segmentBytes + 0x1000n, 3),
    [...transaction(3n, segmentBytes + 0x2000n, 1), ...transaction(4n, 5n * segmentBytes, 2)],
  ];
  {
    await using writer = await openWriter(directory.path);
    expect(writer.recovered).toBeNull();
    for (const batch of batches) await writer.append(batch);
    expect(writer.durable).toBe(lsn(segmentBytes + 0x2030n));
    await writer.sync();
    expect(writer.durable).toBe(lsn(5n * segmentBytes + 0x30n));
  }
  {
    await using writer = await openWriter(directory.path);
    expect(writer.recovered).toBe(lsn(5n * segmentBytes + 0x30n));
    batches.push(transaction(5n, 5n * segmentBytes + 0x4000n, 1));
    await writer.append(batches.at(-1) ?? []);
  }
  const files = await readdir(directory.path);
  expect(files).toEqual([
    '000000010000000000000000.json',
    '000000010000000000000001.json',
    '000000010000000000000005.json',
  ]);
  expect((await stat(directory.path)).mode & 0o777).toBe(0o700);
  expect((await stat(join(directory.path, files[0] ?? ''))).mode & 0o777).toBe(0o600);
  await using reader = await JournalReader.open({ directory: directory.path, follow: false });
  expect(await drain(reader)).toStrictEqual(batches.flat());
});
