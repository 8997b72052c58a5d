/** A reader that is closed while it reads: an applier whose connection is lost does not wait for a file first. */
import { readdirSync, readlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { JournalReader } from '../../src/journal/reader.js';
import type { StreamMessage } from '../../src/model/message.js';
import { lsn, openWriter, person, segmentBytes, temporaryDirectory, transaction } from './messages.js';
import { disk } from './three-files.js';

const files = 30n;
const streamed = 70n;

/** Many files, and a transaction with lines in all of them. */
async function writeManyFiles(directory: string): Promise<void> {
  await using writer = await openWriter(directory, { disk });
  await writer.append([
    { kind: 'connected', lsn: lsn(1n) },
    { kind: 'begin', xid: streamed, commitLsn: null, commitTime: null, streamed: true },
  ]);
  for (let nth = 0n; nth < files; nth += 1n) {
    const at = nth * segmentBytes;
    const change: StreamMessage = {
      kind: 'change',
      xid: streamed,
      lsn: lsn(at + 0x10n),
      change: { kind: 'insert', relation: person, row: [String(nth), 'streamed'] },
    };
    await writer.append([change, ...transaction(100n + nth, at + 0x1000n)]);
  }
  const end = files * segmentBytes;
  await writer.append([
    {
      kind: 'commit',
      xid: streamed,
      commitLsn: lsn(end),
      endLsn: lsn(end + 0x30n),
      commitTime: 762_000_000_000_000n,
    },
  ]);
}

/** Files of the directory that this process has open. */
function openFiles(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${descriptor}`);
      return path.startsWith(directory) ? [path] : [];
    } catch {
      return [];
    }
  });
}

test.runIf(process.platform === 'linux')('leaves no file open, wherever it was', async () => {
  await using place = await temporaryDirectory();
  await writeManyFiles(place.path);
  const never = new AbortController().signal;
  const left: string[] = [];
  for (let turns = 0; turns < 100; turns += 1) {
    const reader = await JournalReader.open({ directory: place.path, follow: false });
    const ended = new AbortController();
    const reading = (async () => {
      while (!ended.signal.aborted && (await reader.next(never)) !== null);
    })().catch(() => {});
    for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    ended.abort();
    await reader.close();
    await reading;
    left.push(...openFiles(place.path));
  }
  expect(left).toEqual([]);
});
