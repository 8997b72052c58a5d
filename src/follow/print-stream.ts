/**
 * Transform files as SQL text: one file (`stream transform`), or all that a work directory holds (`stream apply
 * --target -`). Nothing is applied, and no position moves.
 */
import { mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { printSql } from '../apply/print-sql.js';
import { Failure, throwIfStopped } from '../failure.js';
import { RelationIntern } from '../journal/decode.js';
import { JournalReader } from '../journal/reader.js';
import { SegmentReader } from '../journal/segment-reader.js';
import type { StreamMessage } from '../model/message.js';

/** Takes a piece of the text; resolves when there is room for the next. */
export type WriteText = (text: string) => Promise<void>;

async function print(messages: readonly StreamMessage[], write: WriteText): Promise<void> {
  const text = messages.map(printSql).join('');
  if (text !== '') await write(text);
}

/** Prints one file. Throws `usage` when it cannot be read, `journal-damaged` when it is no whole transform file. */
export async function printTransformFile(file: string, write: WriteText, signal: AbortSignal): Promise<void> {
  await requireReadable(file);
  const reader = new SegmentReader(dirname(file), basename(file), new RelationIntern());
  try {
    for (;;) {
      throwIfStopped(signal);
      const result = await reader.read(Infinity);
      if (result.kind !== 'messages') return;
      await print(result.messages, write);
    }
  } finally {
    await reader.close();
  }
}

async function requireReadable(file: string): Promise<void> {
  try {
    await (await open(file, 'r')).close();
  } catch (error) {
    throw new Failure('usage', `the transform file ${file} cannot be read`, { cause: error });
  }
}

/** Prints what stands on standard input. It is kept in a file meanwhile: checksums are looked at before lines. */
export async function printTransformInput(
  input: AsyncIterable<Buffer>,
  write: WriteText,
  signal: AbortSignal,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'walferry-transform-'));
  try {
    const unnamed = join(directory, 'standard-input.json');
    await writeFile(unnamed, input, { mode: 0o600, signal });
    // A file is read by the name that its header has; the reader refuses one that has none.
    const named = join(directory, await segmentNameIn(unnamed));
    await rename(unnamed, named);
    await printTransformFile(named, write, signal);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function segmentNameIn(file: string): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(4096) });
    const segment = /"segment":"([0-9A-F]{24})"/.exec(buffer.toString('utf8', 0, bytesRead))?.[1];
    return segment === undefined ? basename(file) : `${segment}.json`;
  } finally {
    await handle.close();
  }
}

/** Prints all transform files of a directory, in their order. */
export async function printJournal(directory: string, write: WriteText, signal: AbortSignal): Promise<void> {
  const reader = await JournalReader.open({ directory, follow: false });
  try {
    for (;;) {
      const messages = await reader.next(signal);
      if (messages === null) return;
      await print(messages, write);
    }
  } finally {
    await reader.close();
  }
}
