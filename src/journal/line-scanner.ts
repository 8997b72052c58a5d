/**
 * Complete lines out of a transform file, with their checksums tested: the file is read in chunks, each line is
 * shown to `line` as it comes, and `verified` says that everything shown so far is what was written.
 *
 * Memory: one chunk, or the longest line (a 20 MB value is one line).
 */
import { standsAt } from './bytes.js';
import { crc32 } from './checksum.js';
import { damaged, sumSuffixBytes } from './format.js';

const chunkBytes = 256 * 1024;
const keptBytes = 4 * 1024 * 1024;
const newline = 0x0a;
const sumPrefix = Buffer.from(',"sum":"');

/** Reads at `position` into `buffer` from `offset`; the number of bytes got, 0 at the end of the file. */
export type ReadAt = (buffer: Buffer, offset: number, length: number, position: number) => Promise<number>;

/** Who wants to know of lines. `start` and `end` are places in `buffer`, `offset` the line's place in the file. */
export interface LineVisitor {
  line(buffer: Buffer, start: number, end: number, offset: number): void;
  /** Every line so far is right. */
  verified(): void;
}

export class LineScanner {
  readonly #file: string;
  readonly #readAt: ReadAt;
  readonly #visitor: LineVisitor;
  readonly #tested: boolean;
  #buffer: Buffer = Buffer.allocUnsafe(chunkBytes);
  /** The file's offset of the buffer's first byte. */
  #base: number;
  /** Bytes in the buffer. */
  #filled = 0;
  /** Where the line at hand begins, and up to where it was searched for its end. */
  #lineStart = 0;
  #searched = 0;
  /** Where bytes begin that are not in `#partial` yet; `#partial` is the running sum up to there. */
  #unsummed = 0;
  #partial: number;
  #verifiedOffset: number;
  #verifiedSum: number;

  /** Begins at `offset`, which follows a line with the checksum `sum`; null: no checksum is tested. */
  constructor(file: string, readAt: ReadAt, visitor: LineVisitor, offset: number, sum: number | null) {
    this.#file = file;
    this.#readAt = readAt;
    this.#visitor = visitor;
    this.#base = offset;
    this.#tested = sum !== null;
    this.#partial = sum ?? 0;
    this.#verifiedOffset = offset;
    this.#verifiedSum = sum ?? 0;
  }

  /** Where the last line with a right checksum ends. */
  get verifiedOffset(): number {
    return this.#verifiedOffset;
  }

  /** That line's checksum. */
  get verifiedSum(): number {
    return this.#verifiedSum;
  }

  /** Up to where the file was read; beyond `verifiedOffset` when it ends in an unfinished line. */
  get readOffset(): number {
    return this.#base + this.#filled;
  }

  /**
   * Reads on, at most one chunk and not beyond `limit`. `false` when there was nothing to read. Throws
   * `journal-damaged` on a wrong checksum, and what the visitor throws.
   */
  async scan(limit: number): Promise<boolean> {
    this.#makeRoom();
    const length = Math.min(this.#buffer.length - this.#filled, limit - this.readOffset);
    if (length <= 0) return false;
    const got = await this.#readAt(this.#buffer, this.#filled, length, this.readOffset);
    if (got === 0) return false;
    this.#filled += got;
    this.#lines();
    return true;
  }

  #lines(): void {
    const buffer = this.#buffer.subarray(0, this.#filled);
    for (;;) {
      const end = buffer.indexOf(newline, this.#searched);
      if (end === -1) break;
      const start = this.#lineStart;
      this.#visitor.line(buffer, start, end, this.#base + start);
      this.#lineStart = end + 1;
      this.#searched = end + 1;
      if (this.#tested && endsWithSum(buffer, start, end)) this.#verify(start, end);
    }
    this.#searched = this.#filled;
    // Complete lines go into the running sum now: their room is needed for the next chunk.
    if (this.#unsummed < this.#lineStart) {
      this.#partial = crc32(buffer.subarray(this.#unsummed, this.#lineStart), this.#partial);
      this.#unsummed = this.#lineStart;
    }
  }

  #verify(start: number, end: number): void {
    const suffix = end - sumSuffixBytes;
    const sum = crc32(this.#buffer.subarray(this.#unsummed, suffix), this.#partial);
    if (sum !== readSum(this.#buffer, end)) {
      const from = this.#verifiedOffset;
      const to = this.#base + start;
      const where = from === to ? 'this line does' : `the lines from here to the one at ${to} do`;
      throw damaged(this.#file, from, `${where} not match the checksum`);
    }
    this.#partial = sum;
    this.#unsummed = end + 1;
    this.#verifiedOffset = this.#base + end + 1;
    this.#verifiedSum = sum;
    this.#visitor.verified();
  }

  #makeRoom(): void {
    if (this.#lineStart > 0) {
      this.#buffer.copyWithin(0, this.#lineStart, this.#filled);
      this.#base += this.#lineStart;
      this.#filled -= this.#lineStart;
      this.#searched -= this.#lineStart;
      this.#unsummed -= this.#lineStart;
      this.#lineStart = 0;
    }
    const spare = this.#buffer.length - this.#filled;
    if (this.#filled <= chunkBytes / 2 && this.#buffer.length > keptBytes) this.#resize(chunkBytes);
    else if (spare === 0) this.#resize(this.#buffer.length * 2);
  }

  #resize(bytes: number): void {
    const resized = Buffer.allocUnsafe(bytes);
    this.#buffer.copy(resized, 0, 0, this.#filled);
    this.#buffer = resized;
  }
}

/**
 * Whether a line carries a checksum. In a string every quote is escaped, so these bytes can only be what they seem.
 */
export function endsWithSum(buffer: Buffer, start: number, end: number): boolean {
  const suffix = end - sumSuffixBytes;
  return (
    suffix > start &&
    buffer[end - 1] === 0x7d &&
    buffer[suffix] === 0x2c &&
    buffer[suffix + 2] === 0x73 &&
    standsAt(buffer, suffix, sumPrefix) &&
    buffer[end - 2] === 0x22
  );
}

/** The checksum at the end of a line that carries one; NaN when its digits are none. */
export function readSum(buffer: Buffer, end: number): number {
  const digits = buffer.toString('latin1', end - sumSuffixBytes + sumPrefix.length, end - 2);
  return /^[0-9a-f]{8}$/.test(digits) ? Number.parseInt(digits, 16) : Number.NaN;
}
