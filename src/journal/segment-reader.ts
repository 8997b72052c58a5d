/**
 * Reads one transform file, forward, in chunks: only messages whose checksum was found right come out.
 */
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { StreamMessage } from '../model/message.js';
import { LineDecoder } from './decode.js';
import type { RelationIntern } from './decode.js';
import { diskFailure, systemCode } from './disk.js';
import type { Described } from './encode.js';
import { damaged } from './format.js';
import type { Header, SwitchLine } from './format.js';
import { LineScanner } from './line-scanner.js';
import { readHeader } from './segment.js';

/**
 * How far a read came: `messages` (there may be none, and there may be more); `end` of what is complete (a torn write
 * may follow, or the file may not be there, or be without its header); `switch` at the end of a closed file.
 */
export type ReadResult =
  | { readonly kind: 'messages'; readonly messages: readonly StreamMessage[] }
  | { readonly kind: 'end' }
  | { readonly kind: 'switch'; readonly next: string };

/** Whether a line is wanted, told from its first bytes: what is not wanted is not decoded. */
export type LineFilter = (buffer: Buffer, start: number) => boolean;

export class SegmentReader {
  readonly name: string;
  readonly #directory: string;
  readonly #decoder: LineDecoder;
  readonly #wanted: LineFilter | null;
  #handle: FileHandle | null = null;
  #closed = false;
  #header: Header | null = null;
  #scanner: LineScanner | null = null;
  /** Where to begin; moves while the messages come from memory. */
  #offset = 0;
  #sum = 0;
  #unverified: StreamMessage[] = [];
  #verified: StreamMessage[] = [];
  #unverifiedSwitch: SwitchLine | null = null;
  #switch: SwitchLine | null = null;

  /** `wanted` must want the lines that describe relations, and the last line of a file. */
  constructor(directory: string, name: string, intern: RelationIntern, wanted: LineFilter | null = null) {
    this.#directory = directory;
    this.#wanted = wanted;
    this.name = name;
    this.#decoder = new LineDecoder(name, intern);
  }

  /** Up to where messages were handed out. */
  get offset(): number {
    return this.#scanner?.verifiedOffset ?? this.#offset;
  }

  /** Goes on from a later place, because everything before it came from memory. */
  skipTo(offset: number, sum: number, described: readonly Described[]): void {
    for (const { id, relation } of described) this.#decoder.describe(id, relation);
    this.#scanner = null;
    this.#offset = offset;
    this.#sum = sum;
    this.#unverified = [];
    this.#unverifiedSwitch = null;
  }

  /**
   * Opens the file; reading does it too. Null while there is no such file, or none with a complete header. Throws
   * `journal-damaged`.
   */
  async open(): Promise<Header | null> {
    if (this.#header !== null) return this.#header;
    let handle: FileHandle | null = null;
    try {
      handle = await open(join(this.#directory, this.name), 'r');
      const loaded = await readHeader(handle, this.name);
      if (loaded === null || this.#closed) return null;
      this.#handle = handle;
      handle = null;
      this.#header = loaded.header;
      if (this.#offset === 0) {
        this.#offset = loaded.end;
        this.#sum = loaded.sum;
      }
      return loaded.header;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return null;
      throw diskFailure(error, `cannot read transform file ${this.name}`);
    } finally {
      await handle?.close();
    }
  }

  /** Reads at most one chunk, not beyond `limit`. Throws `journal-damaged`. */
  async read(limit: number): Promise<ReadResult> {
    try {
      // Level with the writer, whose memory goes on from here: no scanner, with its large buffer, is made to find nothing.
      if (this.#scanner === null && limit <= this.#offset) return { kind: 'end' };
      const scanner = this.#scanner ?? (await this.#start());
      if (scanner === null) return { kind: 'end' };
      const found = await scanner.scan(limit);
      if (this.#verified.length > 0) {
        const messages = this.#verified;
        this.#verified = [];
        return { kind: 'messages', messages };
      }
      if (found) return { kind: 'messages', messages: [] };
      const closed = this.#switch;
      if (closed === null) return { kind: 'end' };
      if (scanner.readOffset > scanner.verifiedOffset) {
        throw damaged(this.name, scanner.verifiedOffset, 'something follows its last line');
      }
      return { kind: 'switch', next: closed.next };
    } catch (error) {
      throw diskFailure(error, `cannot read transform file ${this.name}`);
    }
  }

  /** For good; also while it is opened or read, which then comes to nothing. */
  async close(): Promise<void> {
    this.#closed = true;
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close();
  }

  async #start(): Promise<LineScanner | null> {
    if ((await this.open()) === null || this.#handle === null) return null;
    const handle = this.#handle;
    const visitor = {
      line: (buffer: Buffer, start: number, end: number, offset: number) => {
        if (this.#wanted === null || this.#wanted(buffer, start)) this.#line(buffer, start, end, offset);
      },
      verified: () => this.#verify(),
    };
    const readAt = async (buffer: Buffer, offset: number, length: number, position: number) =>
      (await handle.read(buffer, offset, length, position)).bytesRead;
    this.#scanner = new LineScanner(this.name, readAt, visitor, this.#offset, this.#sum);
    return this.#scanner;
  }

  #line(buffer: Buffer, start: number, end: number, offset: number): void {
    if (this.#unverifiedSwitch !== null) throw damaged(this.name, offset, 'something follows its last line');
    const message = this.#decoder.decodeBytes(buffer, start, end, offset);
    if (message === null) return;
    if (message.kind === 'switch') this.#unverifiedSwitch = message;
    else this.#unverified.push(message);
  }

  #verify(): void {
    if (this.#verified.length === 0) this.#verified = this.#unverified;
    else for (const message of this.#unverified) this.#verified.push(message);
    this.#unverified = [];
    this.#switch = this.#unverifiedSwitch;
  }
}
