/** A line that nobody could read is not written: the engine's strings have an end. */
import { expect, test } from 'vitest';
import type { StreamMessage } from '../../src/model/message.js';
import { packedOf } from '../../src/model/packed-row.js';
import { longestText, isLongerThan } from '../../src/model/text-limit.js';
import { asPacked } from '../support/packed.js';
import { JournalReader } from '../../src/journal/reader.js';
import { drain, lsn, openWriter, temporaryDirectory, transaction } from './messages.js';

const longestLine = 4000;
/** A file's first change is behind its header and the table's description, which have lines of their own. */
const relation = {
  schema: 'public',
  name: 'note',
  identity: 'default',
  columns: [{ name: 'body', typeOid: 25 }],
  key: [0],
} as const;

/** A transaction of one change. */
function whole(text: string, how: 'packed' | 'cells' | 'old row'): StreamMessage[] {
  const row = [text];
  const insert = { kind: 'insert', relation, row } as const;
  const change =
    how === 'packed'
      ? asPacked(insert)
      : how === 'cells'
        ? insert
        : ({ kind: 'update', relation, key: row, row: ['x'] } as const);
  expect((change.kind === 'insert' && packedOf(change) !== undefined) === (how === 'packed')).toBe(true);
  return [
    { kind: 'begin', xid: 2n, commitLsn: lsn(0x2000), commitTime: 0n },
    { kind: 'change', xid: 2n, lsn: lsn(0x1f00), change },
    { kind: 'commit', xid: 2n, commitLsn: lsn(0x2000), endLsn: lsn(0x2030), commitTime: 0n },
  ];
}

test.each(['packed', 'cells', 'old row'] as const)(
  'a line that is too long is refused by its table, and nothing of it is written: %s',
  async (how) => {
    await using directory = await temporaryDirectory();
    {
      await using writer = await openWriter(directory.path, { longestLine });
      await writer.append(transaction(1n, 0x1000n));
      await writer.sync();
      const refused = expect.objectContaining({
        code: 'plugin-limit',
        message: expect.stringContaining('a row of public.note at 0/1F00 is longer'),
        remedy: expect.stringContaining('--restart'),
      });
      await expect(writer.append(whole('y'.repeat(longestLine), how))).rejects.toEqual(refused);
      // What goes on behind a hole would be worse than an end.
      await expect(writer.append(transaction(3n, 0x3000n))).rejects.toEqual(refused);
      await expect(writer.sync()).rejects.toEqual(refused);
      expect(writer.durable).toBe(lsn(0x1030));
    }
    await using writer = await openWriter(directory.path, { longestLine });
    expect(writer.recovered).toBe(lsn(0x1030));
  },
);

test.each([
  ['of one byte a character', 'packed', 'y'.repeat(longestLine - 400)],
  ['of one byte a character', 'cells', 'y'.repeat(longestLine - 400)],
  ['of three bytes a character', 'cells', '€'.repeat(longestLine - 400)],
  ['of four bytes for two', 'cells', '\u{1f600}'.repeat(longestLine / 2 - 200)],
] as const)('a line that a string can hold is written and read: %s, as %s', async (_claim, how, text) => {
  await using directory = await temporaryDirectory();
  {
    await using writer = await openWriter(directory.path, { longestLine });
    await writer.append(whole(text, how));
  }
  await using reader = await JournalReader.open({ directory: directory.path, follow: false });
  const change = (await drain(reader)).find((message) => message.kind === 'change')?.change;
  expect(change?.kind === 'insert' && change.row[0]).toBe(text);
});

test('the length of a text is counted in units of UTF-16', () => {
  for (const text of ['', 'abc', 'é€', '\u{1f600}a', 'x'.repeat(50)]) {
    const bytes = Buffer.from(`..${text}..`);
    const { length } = text;
    expect(isLongerThan(length, bytes, 2, bytes.length - 2)).toBe(false);
    if (length > 0) expect(isLongerThan(length - 1, bytes, 2, bytes.length - 2)).toBe(true);
  }
  expect(longestText).toBeGreaterThan(500_000_000);
});
