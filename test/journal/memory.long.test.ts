import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { realDisk } from '../../src/journal/disk.js';
import { JournalReader } from '../../src/journal/reader.js';
import type { StreamMessage } from '../../src/model/message.js';
import { lsn, openWriter, person, temporaryDirectory } from './messages.js';

const never = new AbortController().signal;
const disk = { ...realDisk, sync: async () => {}, syncDirectory: async () => {} };
const mebibyte = 1024 * 1024;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** The most memory that was held at any of the moments it was asked, garbage not counted. */
class Peak {
  readonly #start = this.#held();
  #most = 0;
  #asked = 0;

  /** Looks at every fortieth call: collecting takes its time. */
  sample(): void {
    this.#asked += 1;
    if (this.#asked % 40 === 0) this.#most = Math.max(this.#most, this.#held() - this.#start);
  }

  get mebibytes(): number {
    return this.#most / mebibyte;
  }

  #held(): number {
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  }
}

test('a transaction of 300 MB goes through writer, tail and reader in bounded memory', async () => {
  await using directory = await temporaryDirectory();
  const peak = new Peak();
  const rows = 300;
  {
    await using writer = await openWriter(directory.path, { disk });
    await using level = await JournalReader.open({ directory: directory.path, writer, follow: true });
    const begin = { kind: 'begin', xid: 1n, commitLsn: lsn(0x1000), commitTime: 0n } as const;
    await writer.append([begin]);
    for (let row = 0; row < rows; row += 1) {
      const batch = Array.from({ length: 16 }, (_, part): StreamMessage => {
        const value = `${row}-${part}`.padEnd(mebibyte / 16, 'y');
        const change = { kind: 'insert', relation: person, row: [String(row), value] } as const;
        return { kind: 'change', xid: 1n, lsn: lsn(0x900), change };
      });
      await writer.append(batch);
      peak.sample();
      while (!level.level) await level.next(never);
    }
    const commitTime = 0n;
    await writer.append([
      { kind: 'commit', xid: 1n, commitLsn: lsn(0x1000), endLsn: lsn(0x1030), commitTime },
    ]);
    expect(writer.bytes).toBeGreaterThan(300 * mebibyte);
  }
  await using reader = await JournalReader.open({ directory: directory.path, follow: false });
  let changes = 0;
  for (;;) {
    const batch = await reader.next(never);
    if (batch === null) break;
    changes += batch.filter((message) => message.kind === 'change').length;
    peak.sample();
  }
  expect(changes).toBe(rows * 16);
  // The tail holds 16 MiB of text; a writer or reader that kept the transaction would be at 300.
  expect(peak.mebibytes).toBeLessThan(50);
}, 120_000);

test('a value of 20 MB is one line, and its room is given back', async () => {
  await using directory = await temporaryDirectory();
  // Of two bytes a character, with what JSON must escape at both ends.
  const value = `"\\${'é'.repeat(10 * mebibyte)}\n`;
  const change = { kind: 'update', relation: person, key: null, row: ['1', value] } as const;
  const batches: StreamMessage[][] = [
    [{ kind: 'begin', xid: 1n, commitLsn: lsn(0x1000), commitTime: 0n }],
    [{ kind: 'change', xid: 1n, lsn: lsn(0x900), change }],
    [{ kind: 'commit', xid: 1n, commitLsn: lsn(0x1000), endLsn: lsn(0x1030), commitTime: 0n }],
  ];
  {
    await using writer = await openWriter(directory.path, { disk });
    for (const batch of batches) await writer.append(batch);
  }
  await using reader = await JournalReader.open({ directory: directory.path, follow: false });
  const seen: StreamMessage[] = [];
  for (let batch = await reader.next(never); batch !== null; batch = await reader.next(never))
    seen.push(...batch);
  // Compared by hand: a report of the difference would be as large.
  expect(seen.length).toBe(3);
  const [, update] = seen;
  const cells = update?.kind === 'change' && update.change.kind === 'update' ? update.change.row : [];
  expect(cells[1] === value).toBe(true);
}, 60_000);
