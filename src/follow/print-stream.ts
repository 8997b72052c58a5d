/**
 * Transform files as SQL text: one file (`stream transform`), or all that a work directory holds (`stream apply
 * --target -`). Nothing is applied, and no position moves.
 */
import { open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { printSql } from '../apply/print-sql.js';
import { Failure, throwIfStopped, systemReason } from '../failure.js';
import { RelationIntern } from '../journal/decode.js';
import type { Header } from '../journal/format.js';
import { JournalReader } from '../journal/reader.js';
import { listSegments, loadSegments } from '../journal/segment.js';
import { SegmentReader } from '../journal/segment-reader.js';
import { StreamedReader, StreamedTransactions } from '../journal/streamed.js';
import type { StreamMessage } from '../model/message.js';
import { LineSpool, type LineInput, type WriteText } from './line-pipe.js';

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
  const beginnings = new FilePrinter(directory, name, null, new Elsewhere(name, new Map()));
  const elsewhere = await readBeginnings(directory, name, async (earlier) => {
    for await (const messages of messagesOf(directory, earlier, beginnings.intern, signal))
      beginnings.streamed.take(messages, earlier);
  });
  const printer = new FilePrinter(directory, name, beginnings, elsewhere);
  try {
    await printer.print(write, signal);
  } finally {
    await printer.close();
  }
}

/** Prints one file, as far as it goes each time. */
class FilePrinter {
  readonly name: string;
  readonly intern: RelationIntern;
  readonly streamed: StreamedTransactions;
  readonly #directory: string;
  readonly #elsewhere: Elsewhere;
  readonly #reader: SegmentReader;

  /** `before` has printed the file before this one, and knows what is unfinished there. */
  constructor(directory: string, name: string, before: FilePrinter | null, elsewhere: Elsewhere) {
    this.name = name;
    this.intern = before?.intern ?? new RelationIntern();
    this.streamed = before?.streamed ?? new StreamedTransactions();
    this.#directory = directory;
    this.#elsewhere = elsewhere;
    this.#reader = new SegmentReader(directory, name, this.intern);
  }

  async print(write: WriteText, signal: AbortSignal): Promise<void> {
    for (;;) {
      throwIfStopped(signal);
      const result = await this.#reader.read(Infinity);
      if (result.kind !== 'messages') return;
      for (const piece of this.streamed.take(result.messages, this.name)) {
        if (piece.kind === 'messages') await print(this.#elsewhere.leaveOut(piece.messages), write);
        else await this.#printStreamed(piece.transaction, write, signal);
      }
    }
  }

  async #printStreamed(
    transaction: ConstructorParameters<typeof StreamedReader>[2],
    write: WriteText,
    signal: AbortSignal,
  ): Promise<void> {
    const reader = new StreamedReader(this.#directory, this.intern, transaction);
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

  async close(): Promise<void> {
    await this.#reader.close();
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
  return new Elsewhere(name, new Map([...beginningsOf(header)].filter(([, file]) => !there.has(file))));
}

/** Unfinished transactions of earlier files. Another plugin's may go on from one file into the next, and is printed so. */
function beginningsOf({ stream, open: unfinished }: Header): Map<bigint, string> {
  return new Map(stream['plugin'] === 'pgoutput' ? unfinished : []);
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
    throw new Failure('usage', `the transform file ${file} cannot be read${systemReason(error)}`, {
      cause: error,
    });
  }
}

/**
 * Prints what comes on standard input, as it comes: one transform file, or several one after the other. Lines are kept in
 * files meanwhile: checksums are looked at before lines, and transactions that arrived while they ran are printed at
 * their commit.
 */
export async function printTransformInput(
  input: LineInput,
  write: WriteText,
  signal: AbortSignal,
): Promise<void> {
  await using spool = await LineSpool.create(input);
  let printer: FilePrinter | null = null;
  let [elsewhere, before]: [Elsewhere | null, readonly string[]] = [null, []];
  try {
    await spool.fill(signal, async () => {
      const name = spool.newest;
      if (name !== null && name !== printer?.name) {
        await printer?.close();
        const header = await headerOf(spool.directory, name);
        elsewhere ??= new Elsewhere(name, header === null ? new Map() : beginningsOf(header));
        // Of files before this one, those are needed again in which what is unfinished may have lines.
        const oldest = [...(header?.open.values() ?? [])].sort()[0] ?? name;
        await spool.forget(before.filter((file) => file < oldest));
        before = [...before.filter((file) => file >= oldest), name];
        printer = new FilePrinter(spool.directory, name, printer, elsewhere);
      }
      await printer?.print(write, signal);
    });
  } finally {
    await (printer as FilePrinter | null)?.close();
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
