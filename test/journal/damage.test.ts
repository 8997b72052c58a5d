/**
 * Files that are not what was written. The claim of all of these: what comes out is a prefix of what went in, and
 * either nothing is missing, or the end of an unfinished write is cut, or the file is refused by name.
 * `damage.long.test.ts` does so with every byte.
 */
import { mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { StreamMessage } from '../../src/model/message.js';
import { lsn, openWriter, segmentBytes, temporaryDirectory, transaction } from './messages.js';
import { first, middle, newest, readWhatIsThere, writeThreeFiles } from './three-files.js';

test('damage below what was fsynced is refused and left alone, damage after it is cut', async () => {
  await using directory = await temporaryDirectory();
  const batches = [1n, 2n, 3n, 4n].map((xid) => transaction(xid, xid * 0x1000n));
  const [one, two, three, four] = batches as [
    StreamMessage[],
    StreamMessage[],
    StreamMessage[],
    StreamMessage[],
  ];
  const path = join(directory.path, first);
  const sizes: number[] = [];
  {
    await using writer = await openWriter(directory.path);
    for (const batch of [one, two]) {
      await writer.append(batch);
      sizes.push(writer.bytes);
    }
    await writer.sync();
    for (const batch of [three, four]) {
      await writer.append(batch);
      sizes.push(writer.bytes);
    }
  }
  const good = await readFile(path);
  const damage = async (offset: number) => {
    const bad = Buffer.from(good);
    bad.fill(0, offset, offset + 20);
    await writeFile(path, bad);
    return bad;
  };

  // The third write says that the first two were on disk.
  const bad = await damage((sizes[0] as number) + 30);
  await expect(openWriter(directory.path)).rejects.toMatchObject({ code: 'journal-damaged' });
  expect(await readFile(path)).toEqual(bad);

  // Nothing says so of the third: it may be what a power loss left, although the fourth is whole.
  await damage((sizes[1] as number) + 30);
  await using writer = await openWriter(directory.path);
  expect(writer.recovered).toBe(lsn(0x2030n));
  await writer.close();
  expect(await readWhatIsThere(directory.path)).toEqual({ messages: [...one, ...two], failure: null });
});

describe('files', () => {
  test('a missing file in the middle is refused by reader, writer and by name', async () => {
    await using directory = await temporaryDirectory();
    await writeThreeFiles(directory.path);
    await rm(join(directory.path, middle));
    const { failure } = await readWhatIsThere(directory.path);
    expect(failure).toMatchObject({
      code: 'journal-damaged',
      message: expect.stringContaining(middle) as string,
    });
    await expect(openWriter(directory.path)).rejects.toMatchObject({ code: 'journal-damaged' });
  });

  test('a closed file cut short at a whole write is refused, not taken for the end', async () => {
    await using directory = await temporaryDirectory();
    const batches = await writeThreeFiles(directory.path);
    const path = join(directory.path, middle);
    const text = await readFile(path, 'utf8');
    await truncate(path, Buffer.byteLength(text.slice(0, text.indexOf('{"action":"X"'))));
    const { messages, failure } = await readWhatIsThere(directory.path);
    expect(messages).toEqual(batches.slice(0, 2).flat());
    expect(failure).toMatchObject({
      code: 'journal-damaged',
      message: expect.stringContaining('without a switch line') as string,
    });
  });

  test('bytes after the last line of a closed file are refused', async () => {
    await using directory = await temporaryDirectory();
    await writeThreeFiles(directory.path);
    const path = join(directory.path, middle);
    await writeFile(path, `${await readFile(path, 'utf8')}{`);
    expect((await readWhatIsThere(directory.path)).failure?.message).toContain(
      'something follows its last line',
    );
  });

  test('a file under the name of another is refused', async () => {
    await using directory = await temporaryDirectory();
    await writeThreeFiles(directory.path);
    await rename(join(directory.path, newest), join(directory.path, '000000010000000000000003.json'));
    expect((await readWhatIsThere(directory.path)).failure?.code).toBe('journal-damaged');
  });

  test('stretches of two files swapped are refused although each has a right checksum', async () => {
    await using directory = await temporaryDirectory();
    await writeThreeFiles(directory.path);
    const path = join(directory.path, newest);
    const [header, ...lines] = (await readFile(path, 'utf8')).trimEnd().split('\n');
    await writeFile(path, `${[header, ...lines.slice(4), ...lines.slice(0, 4)].join('\n')}\n`);
    expect((await readWhatIsThere(directory.path)).failure?.code).toBe('journal-damaged');
  });

  test('other files in the directory do not matter, a directory with such a name does', async () => {
    await using directory = await temporaryDirectory();
    const batches = await writeThreeFiles(directory.path);
    await writeFile(join(directory.path, 'notes.txt'), 'mine');
    await writeFile(join(directory.path, `${newest}.partial`), 'mine');
    expect(await readWhatIsThere(directory.path)).toEqual({ messages: batches.flat(), failure: null });
    await mkdir(join(directory.path, '000000010000000000000003.json'));
    expect((await readWhatIsThere(directory.path)).failure?.code).toBe('work-directory-broken');
  });

  test('a file that was created without its header is removed, and the one before it goes on', async () => {
    await using directory = await temporaryDirectory();
    const batches = await writeThreeFiles(directory.path);
    await rm(join(directory.path, newest));
    await writeFile(join(directory.path, newest), '{"action":"H","form');
    expect((await readWhatIsThere(directory.path)).messages).toEqual(batches.slice(0, 2).flat());
    const after = transaction(9n, 2n * segmentBytes + 0x9000n);
    {
      await using writer = await openWriter(directory.path);
      expect(writer.recovered).toBe(lsn(segmentBytes + 0x2030n));
      await writer.append(after);
    }
    expect(await readWhatIsThere(directory.path)).toEqual({
      messages: [...batches.slice(0, 2).flat(), ...after],
      failure: null,
    });
  });

  test('a journal that ends in a switch line goes on in the file it names', async () => {
    await using directory = await temporaryDirectory();
    const batches = await writeThreeFiles(directory.path);
    await rm(join(directory.path, newest));
    await using writer = await openWriter(directory.path);
    expect(await readdir(directory.path)).toEqual([first, middle, newest]);
    const after = transaction(4n, 2n * segmentBytes + 0x1000n);
    await writer.append(after);
    expect((await readWhatIsThere(directory.path)).messages).toEqual([
      ...batches.slice(0, 2).flat(),
      ...after,
    ]);
  });
});

test('any stretch of a closed file overwritten with anything: never misread', async () => {
  await using directory = await temporaryDirectory();
  const batches = await writeThreeFiles(directory.path);
  const path = join(directory.path, middle);
  const good = await readFile(path);
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: good.length - 1 }),
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      async (at, bytes) => {
        const bad = Buffer.from(good);
        bad.set(bytes.slice(0, good.length - at), at);
        await writeFile(path, bad);
        const { messages, failure } = await readWhatIsThere(directory.path);
        if (bad.equals(good))
          expect({ messages, failure }).toEqual({ messages: batches.flat(), failure: null });
        else expect(failure?.code).toBe('journal-damaged');
      },
    ),
    { numRuns: 150 },
  );
});
