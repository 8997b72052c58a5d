/**
 * Readers beside a writer in one process, in any order of events: each sees exactly what was appended, from memory or
 * from the files, and knows at any time whether there is more.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { realDisk } from '../../src/journal/disk.js';
import { JournalReader } from '../../src/journal/reader.js';
import type { StreamMessage } from '../../src/model/message.js';
import type { Relation } from '../../src/model/relation.js';
import { drain, lsn, openWriter, segmentBytes, temporaryDirectory, transaction } from './messages.js';

const never = new AbortController().signal;
const disk = { ...realDisk, sync: async () => {}, syncDirectory: async () => {} };

type Step =
  | { do: 'append'; segment: number; rows: number; relation: number; announce: boolean }
  | { do: 'sync' }
  | { do: 'open' }
  | { do: 'read'; reader: number }
  | { do: 'reopen' };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      segment: fc.nat({ max: 2 }),
      rows: fc.integer({ min: 0, max: 30 }),
      relation: fc.nat({ max: 3 }),
      announce: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('read' as const), reader: fc.nat({ max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'sync' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'open' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'reopen' as const }) },
);

/** Grows by segments now and then; four relations, some announced, so that the files number them differently. */
class Source {
  #at = 0x1000n;
  #xid = 0n;
  readonly #relations: Relation[] = [0, 1, 2, 3].map((number) => ({
    schema: 'public',
    name: `t${number}`,
    identity: 'full',
    columns: [{ name: 'a', typeOid: null }],
    key: [0],
  }));

  next(step: Step & { do: 'append' }): StreamMessage[] {
    this.#xid += 1n;
    // The commit may lie whole segments on: the batch then begins a file, or spans two with its marker before it.
    this.#at += 0x1000n + (step.segment === 2 ? segmentBytes : 0n);
    const relation = this.#relations[step.relation] as Relation;
    const xid = this.#xid;
    const messages: StreamMessage[] = [{ kind: 'keepalive', lsn: lsn(this.#at - 0x100n), time: 5n }];
    if (step.segment === 1) this.#at += segmentBytes;
    if (step.announce) messages.push({ kind: 'relation', relation });
    messages.push({ kind: 'begin', xid, commitLsn: null, commitTime: null });
    for (let row = 0; row < step.rows; row += 1) {
      const change = { kind: 'insert', relation, row: [String(row)] } as const;
      messages.push({ kind: 'change', xid, lsn: lsn(this.#at), change });
    }
    messages.push({
      kind: 'commit',
      xid,
      commitLsn: lsn(this.#at),
      endLsn: lsn(this.#at + 8n),
      commitTime: 7n,
    });
    return messages;
  }
}

test('each reader sees what was appended, whatever the order of appends, reads, rotations and reopening', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyStep, { minLength: 5, maxLength: 40 }),
      fc.constantFrom(0, 300, 2000, 16_000_000),
      async (steps, maxTailBytes) => {
        await using directory = await temporaryDirectory();
        const open = () => openWriter(directory.path, { maxTailBytes, disk });
        const source = new Source();
        const appended: StreamMessage[] = [];
        let writer = await open();
        let readers: { reader: JournalReader; seen: number }[] = [];
        const check = () => {
          for (const { reader, seen } of readers) expect(reader.level).toBe(seen === appended.length);
        };
        const read = async (entry: { reader: JournalReader; seen: number }) => {
          const batch = await entry.reader.next(never);
          expect(batch).toStrictEqual(appended.slice(entry.seen, entry.seen + (batch?.length ?? 0)));
          entry.seen += batch?.length ?? 0;
        };
        for (const step of steps) {
          switch (step.do) {
            case 'append': {
              const batch = source.next(step);
              await writer.append(batch);
              appended.push(...batch);
              break;
            }
            case 'sync':
              await writer.sync();
              expect(writer.durable).toBe(writer.written);
              break;
            case 'open':
              readers.push({
                reader: await JournalReader.open({ directory: directory.path, writer, follow: true }),
                seen: 0,
              });
              break;
            case 'read': {
              const entry = readers[step.reader];
              if (entry !== undefined && !entry.reader.level) await read(entry);
              break;
            }
            case 'reopen':
              await writer.close();
              for (const entry of readers) {
                while (entry.seen < appended.length) await read(entry);
                expect(await entry.reader.next(never)).toBeNull();
                await entry.reader.close();
              }
              readers = [];
              writer = await open();
              expect(writer.written).toBe(writer.durable);
              break;
          }
          check();
        }
        await writer.close();
        for (const entry of readers) {
          const rest = await drain(entry.reader);
          expect(rest).toStrictEqual(appended.slice(entry.seen));
          await entry.reader.close();
        }
        await using last = await JournalReader.open({ directory: directory.path, follow: false });
        expect(await drain(last)).toStrictEqual(appended);
      },
    ),
    { numRuns: 60 },
  );
}, 120_000);

/** Its relation is first described in the third batch, and again in the fourth, which memory has no room for. */
test('a reader that falls behind memory reads the relation that was described after what it took from there', async () => {
  await using directory = await temporaryDirectory();
  const writer = await openWriter(directory.path, { maxTailBytes: 2000, disk });
  await using reader = await JournalReader.open({ directory: directory.path, writer, follow: true });
  const source = new Source();
  const rows = [0, 0, 1, 21];
  const batches = rows.map((count, at) =>
    source.next({ do: 'append', segment: 0, rows: count, relation: 0, announce: at === 3 }),
  );
  const [first = [], second = [], third = [], fourth = []] = batches;
  await writer.append(first);
  expect(await reader.next(never)).toStrictEqual(first);
  await writer.append(second);
  await writer.append(third);
  expect(await reader.next(never)).toStrictEqual(second);
  await writer.append(fourth);

  expect(await reader.next(never)).toStrictEqual([...third, ...fourth]);
  await writer.close();
});

test('a reader that waits is woken by an append, by the writer closing, and by its signal', async () => {
  await using directory = await temporaryDirectory();
  const writer = await openWriter(directory.path, { disk });
  await using reader = await JournalReader.open({ directory: directory.path, writer, follow: true });
  expect(reader.level).toBe(true);
  const waiting = reader.next(never);
  const batch = transaction(1n, 0x1000n);
  await writer.append(batch);
  expect(await waiting).toEqual(batch);

  const stop = new AbortController();
  const stopped = reader.next(stop.signal);
  stop.abort();
  await expect(stopped).rejects.toMatchObject({ code: 'stopped' });

  const ended = reader.next(never);
  await writer.close();
  expect(await ended).toBeNull();
});

test('a reader follows files that another process writes', async () => {
  await using directory = await temporaryDirectory();
  await using reader = await JournalReader.open({ directory: directory.path, follow: true });
  const waiting = reader.next(never);
  // A writer that the reader is not told of stands for the other process.
  await using writer = await openWriter(directory.path, { disk });
  const batches = [
    transaction(1n, 0x1000n),
    transaction(2n, segmentBytes),
    transaction(3n, 3n * segmentBytes),
  ];
  await writer.append(batches[0] ?? []);
  expect(await waiting).toEqual(batches[0]);
  expect(reader.level).toBe(true);
  for (const batch of batches.slice(1)) {
    await writer.append(batch);
    expect(await reader.next(never)).toEqual(batch);
    expect(reader.level).toBe(true);
  }
});

test('a message with a smaller LSN stays in the newer file, and a batch is split where a file ends', async () => {
  await using directory = await temporaryDirectory();
  const messages: StreamMessage[] = [
    { kind: 'connected', lsn: lsn(0x100) },
    ...transaction(1n, 3n * segmentBytes),
    { kind: 'keepalive', lsn: lsn(0x200), time: 1n },
    ...transaction(2n, 4n * segmentBytes),
  ];
  await using writer = await openWriter(directory.path, { disk });
  await using reader = await JournalReader.open({ directory: directory.path, writer, follow: true });
  await writer.append(messages);
  const seen: (readonly StreamMessage[] | null)[] = [];
  while (!reader.level) seen.push(await reader.next(never));
  expect(seen).toEqual([messages.slice(0, 1), messages.slice(1, 5), messages.slice(5)]);
});

test('a reader that is asked whether it is level while it reads a file gives nothing twice', async () => {
  await using directory = await temporaryDirectory();
  await using writer = await openWriter(directory.path, { disk });
  await using reader = await JournalReader.open({ directory: directory.path, writer, follow: true });
  // It waits for a file; the next batches come while it opens and reads that.
  const first = reader.next(never);
  const batches = Array.from({ length: 20 }, (_, nth) =>
    transaction(BigInt(nth + 1), 0x1000n * BigInt(nth + 1)),
  );
  for (const batch of batches) {
    await writer.append(batch);
    expect(reader.level).toBe(false);
  }
  const seen: (StreamMessage | undefined)[] = [...((await first) ?? [])];
  while (!reader.level) seen.push(...((await reader.next(never)) ?? []));
  expect(seen).toStrictEqual(batches.flat());
});
