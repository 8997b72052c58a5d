/** What goes through a pipe is what the files hold, wherever the pipe cuts it. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineSpool, printLines } from '../../src/follow/line-pipe.js';
import { printJournal, printTransformInput } from '../../src/follow/print-stream.js';
import { JournalReader } from '../../src/journal/reader.js';
import type { StreamMessage } from '../../src/model/message.js';
import {
  drain,
  openWriter,
  person,
  segmentBytes,
  temporaryDirectory,
  transaction,
} from '../journal/messages.js';
import { disk, readWhatIsThere, writeThreeFiles } from '../journal/three-files.js';

const never = new AbortController().signal;

/** The text in pieces of these sizes, as a pipe may hand them on. */
async function* cut(text: string, sizes: readonly number[]): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let [from, nth] = [0, 0]; from < bytes.length; nth += 1) {
    const size = sizes[nth % sizes.length] ?? 1;
    yield bytes.subarray(from, from + size);
    from += size;
  }
}

async function filesOf(directory: string): Promise<Record<string, string>> {
  const names = (await readdir(directory)).toSorted();
  const texts = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')));
  return Object.fromEntries(names.map((name, at) => [name, texts[at] ?? '']));
}

async function threeFiles(directory: string): Promise<Record<string, string>> {
  await writeThreeFiles(directory);
  return filesOf(directory);
}

/** Collects what nobody holds any more. */
function collector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

const linesOf = (files: Record<string, string>) => Object.values(files).join('');

describe('printing', () => {
  test('is what is there already, and then what is written, to the last line', async () => {
    await using place = await temporaryDirectory();
    await writeThreeFiles(place.path);
    const writer = await openWriter(place.path, { header: {}, disk });
    let printed = '';
    const ended = new AbortController();
    const printing = printLines({
      directory: place.path,
      writer,
      // A pipe that is slow.
      write: async (text) => {
        await new Promise((resolve) => setImmediate(resolve));
        expect(text.endsWith('\n')).toBe(true);
        printed += text;
      },
      ended: ended.signal,
      signal: never,
    });
    for (let nth = 1n; nth <= 20n; nth += 1n) {
      await writer.append(transaction(100n + nth, (3n + nth / 7n) * segmentBytes + nth * 0x1000n, 50, 'ä€𝄞'));
    }
    ended.abort();
    await printing;
    await writer.close();
    const files = await filesOf(place.path);
    expect(Object.keys(files).length).toBeGreaterThan(4);
    expect(printed).toBe(linesOf(files));
  });

  test('of nothing ends', async () => {
    await using place = await temporaryDirectory();
    await using writer = await openWriter(place.path, { disk });
    const ended = AbortSignal.abort();
    await printLines({ directory: place.path, writer, write: async () => {}, ended, signal: never });
  });

  test('to a pipe that was closed fails', async () => {
    await using place = await temporaryDirectory();
    await writeThreeFiles(place.path);
    await using writer = await openWriter(place.path, { header: {}, disk });
    const write = () => Promise.reject(new Error('closed'));
    const ended = new AbortController().signal;
    await expect(printLines({ directory: place.path, writer, write, ended, signal: never })).rejects.toThrow(
      'closed',
    );
  });
});

describe('reading', () => {
  test('gives the same files, wherever the pipe cuts', async () => {
    await using place = await temporaryDirectory();
    const files = await threeFiles(place.path);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 8 }),
        async (sizes) => {
          await using spool = await LineSpool.create(cut(linesOf(files), sizes));
          await spool.fill(never);
          expect([spool.ended, await filesOf(spool.directory)]).toEqual([true, files]);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('waits for no reader before there is one', async () => {
    await using place = await temporaryDirectory();
    const files = await threeFiles(place.path);
    // All of them in one piece, for a brake that holds until the reader has begun.
    await using spool = await LineSpool.create(cut(linesOf(files), [linesOf(files).length]));
    await spool.fill(never, () => spool.begun);
    expect(await filesOf(spool.directory)).toEqual(files);
  });

  test('by a reader beside it gives every message once', async () => {
    await using place = await temporaryDirectory();
    const batches = await writeThreeFiles(place.path);
    const lines = linesOf(await filesOf(place.path));
    await using spool = await LineSpool.create(cut(lines, [100]));
    const filling = spool.fill(never, () => new Promise((resolve) => setImmediate(resolve)));
    await spool.begun;
    await using reader = await JournalReader.open({
      directory: spool.directory,
      get follow() {
        return !spool.ended;
      },
    });
    const messages = await drain(reader);
    await filling;
    const kinds = (all: readonly StreamMessage[]) =>
      all.map((message) => [message.kind, 'xid' in message && message.xid]);
    expect(kinds(messages.filter(({ kind }) => kind !== 'relation'))).toEqual(kinds(batches.flat()));
  });

  test('keeps nothing in memory of what it has put into files', async () => {
    await using place = await temporaryDirectory();
    const [file = ''] = Object.values(await threeFiles(place.path));
    const collect = collector();
    const pieces: WeakRef<Buffer>[] = [];
    let alive = 0;
    async function* long(): AsyncGenerator<Buffer> {
      yield Buffer.from(file);
      const line = file.slice(file.indexOf('\n') + 1);
      for (let nth = 0; nth < 100; nth += 1) {
        const piece = Buffer.from(line);
        pieces.push(new WeakRef(piece));
        yield piece;
      }
      collect();
      alive = pieces.filter((piece) => piece.deref() !== undefined).length;
    }
    await using spool = await LineSpool.create(long());
    await spool.fill(never, () => new Promise((resolve) => setImmediate(resolve)));
    expect(pieces).toHaveLength(100);
    expect(alive).toBeLessThan(10);
  });

  test('of lines whose end was lost gives what has a checksum', async () => {
    await using place = await temporaryDirectory();
    const lines = linesOf(await threeFiles(place.path));
    await using spool = await LineSpool.create(cut(lines.slice(0, -100), [333]));
    await spool.fill(never);
    const { messages, failure } = await readWhatIsThere(spool.directory);
    expect([messages.filter(({ kind }) => kind === 'commit').length, failure]).toEqual([4, null]);
  });

  test.each([
    ['SQL', 'begin; -- {}\ninsert into "public"."t" ("a") values (1);\n', /is no header, but SQL/],
    ['something else', '{"a":1}\n', /its first line is no header$/],
    ['a line without an end', 'insert into', /is no header, but SQL/],
  ])('refuses %s', async (_claim, text, message) => {
    await using spool = await LineSpool.create(cut(text, [7]));
    await expect(spool.fill(never)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(message),
    });
    await spool.begun;
  });

  test('refuses files that go back', async () => {
    await using place = await temporaryDirectory();
    const [first = '', second = ''] = Object.values(await threeFiles(place.path));
    await using spool = await LineSpool.create(cut(second + first, [5000]));
    await expect(spool.fill(never)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(/goes back/),
    });
  });

  test('stops while nothing comes, and closes the pipe', async () => {
    let closed = false;
    const silent = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise<IteratorResult<Buffer>>(() => {}) }),
      destroy: () => (closed = true),
    };
    await using spool = await LineSpool.create(silent);
    const stop = new AbortController();
    const filling = spool.fill(stop.signal);
    stop.abort();
    await expect(filling).rejects.toMatchObject({ code: 'stopped' });
    expect(closed).toBe(true);
  });
});

/** Transactions that were received while they ran, over several files; one is rolled back. */
async function writeStreamed(directory: string): Promise<void> {
  await using writer = await openWriter(directory, { disk });
  const at = (segment: bigint, offset: bigint) => (segment * segmentBytes + offset) as never;
  const begin = (xid: bigint): StreamMessage => ({
    kind: 'begin',
    xid,
    commitLsn: null,
    commitTime: null,
    streamed: true,
  });
  const change = (xid: bigint, row: string, lsn: bigint): StreamMessage => ({
    kind: 'change',
    xid,
    lsn: lsn as never,
    change: { kind: 'insert', relation: person, row: [row, `of ${xid}`] },
  });
  await writer.append([
    begin(70n),
    change(70n, '1', at(0n, 0x100n)),
    begin(71n),
    change(71n, '2', at(0n, 0x200n)),
  ]);
  await writer.append(transaction(72n, 0x1000n, 3));
  await writer.append([change(70n, '3', at(1n, 0x100n)), ...transaction(73n, segmentBytes + 0x2000n)]);
  await writer.append([
    { kind: 'rollback', xid: 71n, lsn: at(1n, 0x3000n) },
    change(70n, '4', at(1n, 0x3100n)),
  ]);
  await writer.append(transaction(74n, 2n * segmentBytes + 0x2000n));
  await writer.append([
    {
      kind: 'commit',
      xid: 70n,
      commitLsn: at(2n, 0x3000n),
      endLsn: at(2n, 0x3030n),
      commitTime: 762_000_000_000_000n,
    },
    ...transaction(75n, 3n * segmentBytes + 0x2000n),
  ]);
}

describe('printed as SQL', () => {
  test.each([
    ['three files', writeThreeFiles],
    ['transactions that were received while they ran', writeStreamed],
  ])('%s: what comes through a pipe is what the files say', async (_claim, write) => {
    await using place = await temporaryDirectory();
    await write(place.path);
    let expected = '';
    await printJournal(place.path, async (text) => void (expected += text), never);
    expect(expected).toContain('commit;');
    const lines = linesOf(await filesOf(place.path));
    for (const sizes of [[1_000_000], [97], [400, 3]]) {
      let printed = '';
      await printTransformInput(cut(lines, sizes), async (text) => void (printed += text), never);
      expect(printed).toBe(expected);
    }
  });

  test('a file that commits what began in an earlier one, which did not come, is refused', async () => {
    await using place = await temporaryDirectory();
    await writeStreamed(place.path);
    const files = Object.values(await filesOf(place.path));
    const print = (some: readonly string[]) =>
      printTransformInput(cut(some.join(''), [500]), async () => {}, never);
    await expect(print(files.slice(1))).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(/transaction 70/),
    });
    await print(files.slice(3));
  });
});
