/**
 * Every byte of a file cut off or flipped. The claim: what comes out is a prefix of what went in, and either the end of
 * an unfinished write is cut, or the file is refused by name.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { asFailure } from '../../src/failure.js';
import type { StreamMessage } from '../../src/model/message.js';
import { openWriter, segmentBytes, temporaryDirectory, transaction } from './messages.js';
import { disk, middle, newest, readWhatIsThere, writeThreeFiles } from './three-files.js';

test('the newest file, truncated at every byte: whole writes remain, and the journal goes on after them', async () => {
  await using directory = await temporaryDirectory();
  const batches = await writeThreeFiles(directory.path);
  const path = join(directory.path, newest);
  const good = await readFile(path);
  const possible = [2, 3, 4].map((count) => batches.slice(0, count).flat());
  const after = transaction(9n, 2n * segmentBytes + 0x9000n);
  for (let length = 0; length < good.length; length += 1) {
    await writeFile(path, good.subarray(0, length));
    const seen = await readWhatIsThere(directory.path);
    expect(seen.failure).toBeNull();
    expect(possible).toContainEqual(seen.messages);
    {
      await using writer = await openWriter(directory.path, { header: {}, disk });
      const last = seen.messages.at(-1);
      expect(writer.recovered).toBe(last?.kind === 'commit' ? last.endLsn : null);
      await writer.append(after);
    }
    expect(await readWhatIsThere(directory.path)).toEqual({
      messages: [...seen.messages, ...after],
      failure: null,
    });
  }
}, 60_000);

test('a closed file, each byte flipped: refused by name, and only what is before the damage comes out', async () => {
  await using directory = await temporaryDirectory();
  const batches = await writeThreeFiles(directory.path);
  const path = join(directory.path, middle);
  const good = await readFile(path);
  const before = batches[0] as StreamMessage[];
  for (let offset = 0; offset < good.length; offset += 1) {
    const bad = Buffer.from(good);
    bad[offset] = (bad[offset] as number) ^ (1 << (offset % 8));
    await writeFile(path, bad);
    const { messages, failure } = await readWhatIsThere(directory.path);
    expect(failure?.code, `flipped at ${offset}`).toMatch(/^journal-damaged$/);
    expect(failure?.message).toContain(middle);
    expect(failure?.message).toMatch(/at offset \d+/);
    // A damaged header is found before anything is read.
    if (messages.length > 0)
      expect([before, [...before, ...(batches[1] as StreamMessage[])]]).toContainEqual(messages);
  }
}, 60_000);

test('the newest file, each byte flipped: a reader gives whole writes before the damage or refuses, a writer too', async () => {
  await using directory = await temporaryDirectory();
  const batches = await writeThreeFiles(directory.path);
  const path = join(directory.path, newest);
  const good = await readFile(path);
  const possible = [0, 2, 3].map((count) => batches.slice(0, count).flat());
  for (let offset = 0; offset < good.length; offset += 1) {
    const bad = Buffer.from(good);
    bad[offset] = (bad[offset] as number) ^ (1 << (offset % 8));
    await writeFile(path, bad);
    const seen = await readWhatIsThere(directory.path);
    expect(possible).toContainEqual(seen.messages);
    const opened = await openWriter(directory.path, { header: {}, disk }).catch((error: unknown) =>
      asFailure(error),
    );
    if (opened instanceof Error) {
      expect(opened.code).toBe('journal-damaged');
      expect(await readFile(path)).toEqual(bad);
    } else {
      await opened.close();
      const kept = await readWhatIsThere(directory.path);
      expect(kept.failure).toBeNull();
      expect(possible).toContainEqual(kept.messages);
    }
  }
}, 60_000);
