/**
 * Transform files through a pipe:
 *
 *     stream receive --to-stdout   ──lines──▶   stream apply --from-stdin
 *     slot → files → stdout                     stdin → files of its own → target
 *
 * What goes through the pipe is what the files hold, byte for byte: their lines, one file after the other, from the
 * oldest that is there. Nothing is acknowledged because it was printed: the files on the receiving side are what is
 * kept, and a reader that comes back after a crash gets all of them again, and skips what the target holds. On the
 * reading side the lines are put into files again, since only a line whose checksum was found right may be used, and
 * what the target has not taken yet is needed again when its connection is lost. These files are a copy and go with the
 * process.
 */
import { mkdtemp, open, rm, unlink, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure, throwIfStopped } from '../failure.js';
import { listSegments } from '../journal/segment.js';
import type { JournalWriter } from '../journal/writer.js';

/** Takes a piece of text; resolves when there is room for the next. */
export type WriteText = (text: string) => Promise<void>;

const chunkBytes = 256 * 1024;
const newline = 0x0a;

export type PrintLinesOptions = {
  readonly directory: string;
  readonly writer: JournalWriter;
  readonly write: WriteText;
  /** Set when the writer gets no more: what it has written is printed, and then it ends. */
  readonly ended: AbortSignal;
  readonly signal: AbortSignal;
};

/** Prints all files, and goes on with what the writer in this process writes. */
export async function printLines(options: PrintLinesOptions): Promise<void> {
  const { directory, writer, ended, signal } = options;
  let [file, offset] = ['', 0];
  for (;;) {
    const last = ended.aborted;
    const { published } = writer;
    for (const { name } of published === null ? [] : await listSegments(directory)) {
      if (name < file || name > (published?.file ?? '')) continue;
      if (name > file) [file, offset] = [name, 0];
      offset = await printFile(options, name, offset, name === published?.file ? published.offset : Infinity);
    }
    if (last) return;
    throwIfStopped(signal);
    await writer.waitBeyond(published, [ended, signal]);
  }
}

/** Prints whole lines from `from` up to `end`; gives how far it came. */
async function printFile(
  { directory, write, signal }: PrintLinesOptions,
  name: string,
  from: number,
  end: number,
): Promise<number> {
  let handle: FileHandle;
  try {
    handle = await open(join(directory, name), 'r');
  } catch (error) {
    // Pruned meanwhile: everything in it is applied.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return from;
    throw error;
  }
  try {
    let buffer = Buffer.allocUnsafe(chunkBytes);
    let [offset, filled] = [from, 0];
    while (offset + filled < end) {
      throwIfStopped(signal);
      if (filled === buffer.length) buffer = Buffer.concat([buffer, Buffer.allocUnsafe(buffer.length)]);
      const room = Math.min(buffer.length - filled, end - offset - filled);
      const { bytesRead } = await handle.read(buffer, filled, room, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
      const whole = buffer.lastIndexOf(newline, filled - 1) + 1;
      if (whole === 0) continue;
      await write(buffer.toString('utf8', 0, whole));
      buffer.copy(buffer, 0, whole, filled);
      filled -= whole;
      offset += whole;
    }
    return offset;
  } finally {
    await handle.close();
  }
}

const header = Buffer.from('{"action":"H"');
const headerBehindLine = Buffer.from('\n{"action":"H"');
const segmentName = /"segment":"([0-9A-F]{24})"/;

/** What a file begins with that `stream transform` prints. */
const sqlBeginning = /^(?:begin;|commit;|rollback;|--|insert |update |delete |truncate )/;

/** A pipe; closed when no more of it is wanted. */
export type LineInput = AsyncIterable<Buffer> & { destroy?(): unknown };

/** Lines from a pipe, in files of a directory of its own. Disposing of it removes them. */
export class LineSpool implements AsyncDisposable {
  readonly directory: string;
  /** What its files may take. */
  readonly capBytes: number;
  readonly #input: LineInput;
  #written = 0;
  #name: string | null = null;
  #handle: FileHandle | null = null;
  #ended = false;
  #begin: () => void = () => {};
  /** Resolves when the first lines are in a file, or there are none. */
  readonly begun = new Promise<void>((resolve) => (this.#begin = resolve));

  private constructor(directory: string, input: LineInput, capBytes: number) {
    this.directory = directory;
    this.capBytes = capBytes;
    this.#input = input;
  }

  /** `capOf` says what the files of a directory may take; unless told there is no limit. */
  static async create(
    input: LineInput,
    capOf: (directory: string) => Promise<number> = () => Promise.resolve(Infinity),
  ): Promise<LineSpool> {
    const directory = await mkdtemp(join(tmpdir(), 'walferry-lines-'));
    return new LineSpool(directory, input, await capOf(directory));
  }

  /** Bytes that were ever put into files. */
  get written(): number {
    return this.#written;
  }

  /** Whether the pipe has ended: nothing is added any more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The newest file; null before the first line. */
  get newest(): string | null {
    return this.#name;
  }

  /**
   * Takes lines until the pipe ends. `onLines` is waited for before more is taken. Throws `usage` when what comes is no
   * transform file, and `stopped`.
   */
  async fill(signal: AbortSignal, onLines: () => Promise<void> = async () => {}): Promise<void> {
    let rest: Buffer[] = [];
    try {
      for await (const chunk of stoppable(this.#input, signal)) {
        const end = chunk.lastIndexOf(newline) + 1;
        rest.push(chunk.subarray(0, end === 0 ? chunk.length : end));
        if (end === 0) continue;
        await this.#add(Buffer.concat(rest), onLines);
        rest = end === chunk.length ? [] : [chunk.subarray(end)];
        await onLines();
      }
      // Without its end it has no checksum, and nobody reads it as a line.
      const torn = Buffer.concat(rest);
      if (torn.length > 0) await this.#add(torn, onLines);
      this.#ended = true;
      await onLines();
    } finally {
      this.#ended = true;
      this.#begin();
      this.#input.destroy?.();
    }
  }

  /** Removes files that nobody needs any more. */
  async forget(names: readonly string[]): Promise<void> {
    for (const name of names) await unlink(join(this.directory, name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle?.close();
    this.#handle = null;
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Whole lines, of one file or several. */
  async #add(lines: Buffer, onLines: () => Promise<void>): Promise<void> {
    for (let from = 0; from < lines.length;) {
      if (lines.subarray(from, from + header.length).equals(header)) {
        if (this.#name !== null) {
          // There is a file to be read: nobody would make room otherwise.
          this.#begin();
          // The reader is done with the file before, up to its last line.
          await onLines();
        }
        await this.#next(lines, from);
      }
      if (this.#handle === null) throw noTransformFile(lines);
      const next = lines.indexOf(headerBehindLine, from);
      const end = next === -1 ? lines.length : next + 1;
      await this.#handle.writeFile(lines.subarray(from, end));
      this.#written += end - from;
      from = end;
    }
    this.#begin();
  }

  async #next(lines: Buffer, from: number): Promise<void> {
    const end = lines.indexOf(newline, from);
    const segment = segmentName.exec(lines.toString('utf8', from, end === -1 ? lines.length : end))?.[1];
    if (segment === undefined) throw noTransformFile(lines);
    const name = `${segment}.json`;
    if (this.#name !== null && name <= this.#name) {
      throw new Failure('usage', `standard input goes back from the transform file ${this.#name} to ${name}`);
    }
    await this.#handle?.close();
    this.#handle = await open(join(this.directory, name), 'w', 0o600);
    this.#name = name;
  }
}

function noTransformFile(lines: Buffer): Failure {
  const words = 'standard input is no transform file: its first line is no header';
  if (!sqlBeginning.test(lines.toString('utf8', 0, 100))) return new Failure('usage', words);
  return new Failure('usage', `${words}, but SQL, as \`stream transform\` prints it for people`, {
    remedy:
      'Give the lines themselves: `walferry stream receive --to-stdout` | `walferry stream apply --from-stdin`. ' +
      'SQL can be run with psql, without what protects an apply that is interrupted.',
  });
}

/** What comes, until the signal is set: then it throws `stopped`, also while nothing comes. */
async function* stoppable(input: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<Buffer> {
  const iterator = input[Symbol.asyncIterator]();
  let wake = () => {};
  const stop = () => wake();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for (;;) {
      throwIfStopped(signal);
      // One promise for both, new for each piece: one that waits for a stop would keep all that was ever raced with it.
      const result = await new Promise<IteratorResult<Buffer> | null>((resolve, reject) => {
        wake = () => resolve(null);
        iterator.next().then(resolve, reject);
      });
      throwIfStopped(signal);
      if (result === null || result.done === true) return;
      yield result.value;
    }
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
