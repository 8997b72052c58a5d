/** Three transform files to be damaged, and what can be read of them then. */
import { asFailure } from '../../src/failure.js';
import type { Failure } from '../../src/failure.js';
import { realDisk } from '../../src/journal/disk.js';
import type { JournalDisk } from '../../src/journal/disk.js';
import { JournalReader } from '../../src/journal/reader.js';
import type { StreamMessage } from '../../src/model/message.js';
import { openWriter, segmentBytes, transaction } from './messages.js';

/** Syncing every case would only wear the disk. */
export const disk: JournalDisk = { ...realDisk, sync: async () => {}, syncDirectory: async () => {} };

const never = new AbortController().signal;
export const first = '000000010000000000000000.json';
export const middle = '000000010000000000000001.json';
export const newest = '000000010000000000000002.json';

/** Everything that can be read, and what ended the reading. */
export async function readWhatIsThere(
  directory: string,
): Promise<{ messages: StreamMessage[]; failure: Failure | null }> {
  const messages: StreamMessage[] = [];
  try {
    await using reader = await JournalReader.open({ directory, follow: false });
    for (;;) {
      const batch = await reader.next(never);
      if (batch === null) return { messages, failure: null };
      messages.push(...batch);
    }
  } catch (error) {
    return { messages, failure: asFailure(error) };
  }
}

/** Three files; the middle one holds all of its messages in one write, the newest two writes and no fsync. */
export async function writeThreeFiles(directory: string): Promise<StreamMessage[][]> {
  const batches = [
    transaction(1n, 0x1000n, 2),
    [...transaction(2n, segmentBytes + 0x1000n, 2), ...transaction(3n, segmentBytes + 0x2000n)],
    transaction(4n, 2n * segmentBytes + 0x1000n, 1, 'José ",sum"'),
    transaction(5n, 2n * segmentBytes + 0x2000n),
  ];
  // Small headers: each byte of them is damaged once.
  await using writer = await openWriter(directory, { header: {}, disk });
  for (const batch of batches) await writer.append(batch);
  return batches;
}
