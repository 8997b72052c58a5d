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
import type { Header } from '../journal/format.js';
import { JournalReader } from '../journal/reader.js';
import { listSegments, loadSegments } from '../journal/segment.js';
import { SegmentReader } from '../journal/segment-reader.js';
import { StreamedReader, StreamedTransactions } from '../journal/streamed.js';
import type { StreamMessage } from '../model/message.js';

/** Takes a piece of the text; resolves when there is room for the next. */
export type WriteText = (text: string) => Promise<void>;

async function print(messages: readonly StreamMessage[], write: WriteText): Promise<void> {
  const text = messages.map(printSql).join('');
  if (text !== '') await write(text);
}

/**
 * Prints one file: the transactions that commit in it. Of those that arrived while they ran, the changes may stand in
 * earlier files beside it. Throws `usage` when a file cannot be read, `journal-damaged` when it is no whole transform file.
 */
export async function printTransformFile(file: string, write: WriteText, signal: AbortSignal): Promise<void> {
  await requireReadable(file);
  const directory = dirname(file);
  const name = basename(file);
  const intern = new RelationIntern();
  const streamed = new StreamedTransactions();
  const elsewhere = await readBeginnings(directory, name, async (earlier) => {
    for await (const messages of messagesOf(directory, earlier, intern, signal))
      streamed.take(messages, earlier);
  });
  for await (const messages of messagesOf(directory, name, intern, signal)) {
    for (const piece of streamed.take(messages, name)) {
      if (piece.kind === 'messages') {
        await print(elsewhere.leaveOut(piece.messages), write);
        continue;
      }
      const reader = new StreamedReader(directory, intern, piece.transaction);
      try {
        for (;;) {
          throwIfStopped(signal);
          const whole = await reader.next();
          if (whole === null) break;
          await print(whole, write);
        }
      } finally {
        await reader.close();
      }
    }
  }
}

async function* messagesOf(
  directory: string,
  name: string,
  intern: RelationIntern,
  signal: AbortSignal,
): AsyncGenerator<readonly StreamMessage[]> {
  const reader = new SegmentReader(directory, name, intern);
  try {
    for (;;) {
      throwIfStopped(signal);
      const result = await reader.read(Infinity);
      if (result.kind !== 'messages') return;
      yield result.messages;
    }
  } finally {
    await reader.close();
  }
}

/** Shows the files that hold the beginnings of what is unfinished where `name` begins; gives those that are not there. */
async function readBeginnings(
  directory: string,
  name: string,
  show: (earlier: string) => Promise<void>,
): Promise<Elsewhere> {
  const header = await headerOf(directory, name);
  if (header === null || header.open.size === 0) return new Elsewhere(name, new Map());
  const files = (await listSegments(directory)).filter((segment) => segment.name <= name);
  const segments = await loadSegments(directory, files);
  const there = new Set(segments.map((segment) => segment.name));
  const first = [...header.open.values()].filter((file) => there.has(file)).sort()[0] ?? name;
  for (const segment of segments) if (segment.name >= first && segment.name < name) await show(segment.name);
  // Another plugin's transaction may go on from one file into the next, and is printed so.
  const inBlocks = header.stream['plugin'] === 'pgoutput';
  return new Elsewhere(name, new Map([...header.open].filter(([, file]) => inBlocks && !there.has(file))));
}

async function headerOf(directory: string, name: string): Promise<Header | null> {
  const reader = new SegmentReader(directory, name, new RelationIntern());
  try {
    return await reader.open();
  } finally {
    await reader.close();
  }
}

/** Transactions that arrived while they ran and whose beginnings are in files that are not at hand. */
class Elsewhere {
  readonly #file: string;
  readonly #beginnings: Map<bigint, string>;

  constructor(file: string, beginnings: Map<bigint, string>) {
    this.#file = file;
    this.#beginnings = beginnings;
  }

  /** Leaves their lines out. Throws `usage` where one commits: a part of it would look like the whole. */
  leaveOut(messages: readonly StreamMessage[]): readonly StreamMessage[] {
    if (this.#beginnings.size === 0) return messages;
    return messages.filter((message) => {
      if (message.kind === 'connected') this.#beginnings.clear();
      if (!('xid' in message) || message.xid === null) return true;
      const beginning = this.#beginnings.get(message.xid);
      if (beginning === undefined) return true;
      if (message.kind !== 'commit') return false;
      throw new Failure(
        'usage',
        `transaction ${message.xid}, which commits in ${this.#file}, began in ${beginning}, which is not in its directory`,
      );
    });
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
