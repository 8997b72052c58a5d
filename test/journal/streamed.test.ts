/**
 * Transactions that arrive while they run, over many files, with rollbacks, lost connections and other transactions
 * between them: what a reader hands out is as if every transaction had been sent whole when it committed, from the
 * writer's memory or from the files, and from every position on.
 */
import fc from 'fast-check';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { realDisk } from '../../src/journal/disk.js';
import { pruneJournal } from '../../src/journal/prune.js';
import { JournalReader } from '../../src/journal/reader.js';
import type { Begin, StreamMessage } from '../../src/model/message.js';
import { drain, lsn, openWriter, person, segmentBytes, temporaryDirectory, transaction } from './messages.js';

const disk = { ...realDisk, sync: async () => {}, syncDirectory: async () => {} };
const never = new AbortController().signal;

const begin = (xid: bigint): StreamMessage => ({
  kind: 'begin',
  xid,
  commitLsn: null,
  commitTime: null,
  streamed: true,
});
const change = (xid: bigint, at: bigint, value: string, sub?: bigint): StreamMessage => ({
  kind: 'change',
  xid,
  ...(sub === undefined ? {} : { sub }),
  lsn: lsn(at),
  change: { kind: 'insert', relation: person, row: [value, null] },
});
const commit = (xid: bigint, at: bigint): StreamMessage => ({
  kind: 'commit',
  xid,
  commitLsn: lsn(at),
  endLsn: lsn(at + 8n),
  commitTime: 5n,
});

type Step =
  | { do: 'chunk'; nth: number; rows: number; sub: number }
  | { do: 'roll back part'; nth: number; sub: number }
  | { do: 'roll back'; nth: number }
  | { do: 'commit'; nth: number }
  | { do: 'whole' }
  | { do: 'connect' }
  | { do: 'segment' };

const nth = fc.nat({ max: 3 });
const sub = fc.nat({ max: 2 });
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('chunk' as const), nth, rows: fc.nat({ max: 4 }), sub }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('roll back part' as const), nth, sub }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('roll back' as const), nth }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('commit' as const), nth }) },
  { weight: 3, arbitrary: fc.constant({ do: 'whole' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'connect' as const }) },
  { weight: 2, arbitrary: fc.constant({ do: 'segment' as const }) },
);

type Whole = { readonly end: bigint; readonly rows: readonly string[] };

/** A source whose transactions run side by side, and what of them has to be applied, in the order of commits. */
class Source {
  readonly committed: Whole[] = [];
  #at = 0x1000n;
  #nextXid = 100n;
  #value = 0;
  /** The same xid comes again after a lost connection, as from a server. */
  readonly #running = new Map<
    number,
    { xid: bigint; begun: boolean; rows: { value: string; sub: bigint | null }[]; rolledBack: Set<bigint> }
  >();

  take(step: Step): StreamMessage[] {
    this.#at += 0x100n;
    switch (step.do) {
      case 'segment':
        this.#at += segmentBytes;
        return [{ kind: 'keepalive', lsn: lsn(this.#at), time: 1n }];
      case 'connect':
        for (const running of this.#running.values()) {
          running.begun = false;
          running.rows = [];
          running.rolledBack.clear();
        }
        return [{ kind: 'connected', lsn: lsn(this.#at) }];
      case 'whole': {
        const messages = transaction(this.#newXid(), this.#at);
        this.committed.push({ end: this.#at + 0x30n, rows: ['0'] });
        return messages;
      }
      case 'chunk':
        return this.#chunk(step);
      case 'roll back part': {
        const running = this.#running.get(step.nth);
        if (running === undefined || !running.begun || step.sub === 0) return [];
        const rolledBack = running.xid + BigInt(step.sub);
        running.rows = running.rows.filter((row) => row.sub !== rolledBack);
        running.rolledBack.add(rolledBack);
        return [{ kind: 'rollback', xid: running.xid, sub: rolledBack, lsn: lsn(this.#at) }];
      }
      case 'roll back': {
        const running = this.#running.get(step.nth);
        if (running === undefined || !running.begun) return [];
        this.#running.delete(step.nth);
        return [{ kind: 'rollback', xid: running.xid, lsn: lsn(this.#at) }];
      }
      case 'commit': {
        const running = this.#running.get(step.nth);
        if (running === undefined || !running.begun) return [];
        this.#running.delete(step.nth);
        this.committed.push({ end: this.#at + 8n, rows: running.rows.map(({ value }) => value) });
        return [commit(running.xid, this.#at)];
      }
    }
  }

  #newXid(): bigint {
    this.#nextXid += 100n;
    return this.#nextXid;
  }

  #chunk({ nth, rows, sub }: Step & { do: 'chunk' }): StreamMessage[] {
    const running = this.#running.get(nth) ?? {
      xid: this.#newXid(),
      begun: false,
      rows: [],
      rolledBack: new Set<bigint>(),
    };
    this.#running.set(nth, running);
    const messages: StreamMessage[] = running.begun ? [] : [begin(running.xid)];
    running.begun = true;
    for (let row = 0; row < rows; row += 1) {
      this.#value += 1;
      const value = String(this.#value);
      // What was rolled back changes nothing more.
      const asked = running.xid + BigInt(sub);
      const from = sub === 0 || running.rolledBack.has(asked) ? null : asked;
      running.rows.push({ value, sub: from });
      messages.push(change(running.xid, this.#at, value, from ?? undefined));
    }
    return messages;
  }
}

/** Whole transactions out of what a reader gave; throws where it is not one after the other. */
function wholes(messages: readonly StreamMessage[]): Whole[] {
  const found: Whole[] = [];
  let open: { xid: bigint; rows: string[] } | null = null;
  for (const message of messages) {
    if (message.kind === 'begin') {
      if (open !== null) throw new Error(`${message.xid} begins inside of ${open.xid}`);
      expect(message.commitLsn).not.toBeNull();
      open = { xid: message.xid, rows: [] };
    } else if (message.kind === 'change' || message.kind === 'commit') {
      if (open?.xid !== message.xid) throw new Error(`a ${message.kind} of ${message.xid} outside of it`);
      if (message.kind === 'commit') {
        found.push({ end: message.endLsn, rows: open.rows });
        open = null;
      } else if (message.change.kind === 'insert') open.rows.push(String(message.change.row[0]));
    } else if (message.kind === 'rollback') throw new Error('a rollback');
  }
  if (open !== null) throw new Error(`${open.xid} is unfinished`);
  return found;
}

test('of streamed transactions exactly what commits comes out, whole, in the order of commits, from every position', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyStep, { minLength: 10, maxLength: 60 }),
      fc.constantFrom(0, 400, 16_000_000),
      fc.nat(),
      async (steps, maxTailBytes, choice) => {
        await using directory = await temporaryDirectory();
        const writer = await openWriter(directory.path, { maxTailBytes, disk });
        const source = new Source();
        await writer.append([{ kind: 'connected', lsn: lsn(0x1000) }]);
        // Rolled back subtransactions are not used again, as on a server.
        const gone = new Set<string>();
        const level = await JournalReader.open({ directory: directory.path, writer, follow: true });
        const live: StreamMessage[] = [];
        for (const step of steps) {
          if (step.do === 'connect') gone.clear();
          if (step.do === 'chunk' && gone.has(`${step.nth} ${step.sub}`)) continue;
          if (step.do === 'roll back part') gone.add(`${step.nth} ${step.sub}`);
          if (step.do === 'roll back' || step.do === 'commit') gone.clear();
          const batch = source.take(step);
          // With something to hand out in each, `next` does not wait.
          await writer.append([...batch, { kind: 'keepalive', lsn: lsn(1), time: 1n }]);
          while (!level.level) live.push(...((await level.next(never)) ?? []));
        }
        const { committed } = source;
        // A reader that is level with the writer,
        expect(wholes(live)).toEqual(committed);
        // one that reads files while the writer lives, and one after it,
        await using behind = await JournalReader.open({ directory: directory.path, writer, follow: true });
        const late: StreamMessage[] = [];
        while (!behind.level) late.push(...((await behind.next(never)) ?? []));
        expect(wholes(late)).toEqual(committed);
        await level.close();
        await writer.close();
        // and one that begins at any position, with everything pruned that was applied by then: what ends behind it.
        const from = committed[choice % (committed.length + 1)]?.end ?? 0n;
        await pruneJournal(directory.path, lsn(from), { dryRun: false, keepBytes: 0 });
        await using resumed = await JournalReader.open({
          directory: directory.path,
          follow: false,
          from: lsn(from),
        });
        const rest = wholes(await drain(resumed)).filter(({ end }) => end > from);
        expect(rest).toEqual(committed.filter(({ end }) => end > from));
      },
    ),
    { numRuns: 60 },
  );
}, 120_000);

test('a beginning that was sent whole before a lost connection does not count as one that was streamed', async () => {
  await using directory = await temporaryDirectory();
  await using writer = await openWriter(directory.path, { maxTailBytes: 0, disk });
  const { streamed: _, ...plain } = begin(50n) as Begin;
  await writer.append([
    { ...plain, commitLsn: lsn(0x3000n), commitTime: 1n },
    change(50n, 0x2000n, 'sent whole, cut'),
    { kind: 'connected', lsn: lsn(0x1000n) },
    begin(50n),
    change(50n, 0x2000n, 'void'),
    { kind: 'connected', lsn: lsn(0x1000n) },
    begin(50n),
    change(50n, 0x2000n, 'counts'),
    commit(50n, 0x3000n),
  ]);
  await writer.close();
  await using reader = await JournalReader.open({ directory: directory.path, follow: false });
  const messages = await drain(reader);
  const from = messages.findLastIndex((message) => message.kind === 'begin');
  expect(wholes(messages.slice(from)).at(-1)).toEqual({ end: 0x3008n, rows: ['counts'] });
});

test('a target that is set back behind a streamed transaction whose beginning was pruned is refused', async () => {
  await using directory = await temporaryDirectory();
  const at = (segment: number) => BigInt(segment) * segmentBytes + 0x1000n;
  await using writer = await openWriter(directory.path, { disk });
  await writer.append([
    ...transaction(1n, at(0)),
    begin(50n),
    change(50n, at(1), 'first'),
    ...transaction(2n, at(2)),
    change(50n, at(3), 'last'),
    commit(50n, at(3)),
    ...transaction(3n, at(4)),
  ]);
  await writer.close();
  // The reserve keeps the files from the third on.
  await pruneJournal(directory.path, lsn(at(5)), { dryRun: false, keepBytes: 500 });
  const read = async (from: bigint) => {
    await using reader = await JournalReader.open({
      directory: directory.path,
      follow: false,
      from: lsn(from),
    });
    return wholes(await drain(reader));
  };
  expect((await read(at(3) + 8n)).at(-1)).toEqual({ end: at(4) + 0x30n, rows: ['0'] });
  await expect(read(at(2) + 0x30n)).rejects.toMatchObject({ code: 'target-set-back' });
});

test('a streamed transaction is damaged by the loss of one of its files', async () => {
  await using directory = await temporaryDirectory();
  const at = (segment: number) => BigInt(segment) * segmentBytes + 0x1000n;
  await using writer = await openWriter(directory.path, { disk });
  await writer.append([begin(50n), change(50n, at(0), 'a'), ...transaction(2n, at(1))]);
  await using reader = await JournalReader.open({ directory: directory.path, writer, follow: true });
  while (!reader.level) await reader.next(never);
  await unlink(join(directory.path, '000000010000000000000000.json'));
  await writer.append([commit(50n, at(1) + 0x100n)]);
  const failure = expect.objectContaining({
    code: 'journal-damaged',
    message: expect.stringMatching(/50 .* gone/),
  });
  await expect(drain(reader)).rejects.toEqual(failure);
});
