/**
 * Encoded lines on their way to a file: text is gathered, turned into bytes in one piece, and sealed with the
 * running checksum. The bytes are reused after every write.
 */
import { crc32, formatSum } from './checksum.js';
import { sumIntervalChars } from './format.js';

const usualBytes = 256 * 1024;
/** What a large value made the buffer grow to is given back above this. */
const keptBytes = 4 * 1024 * 1024;

export class LineBuffer {
  #buffer = Buffer.allocUnsafe(usualBytes);
  #used = 0;
  /** Lines not turned into bytes yet; the last one is open. */
  #text = '';
  #sum = 0;

  /** Bytes that wait for the write, sealed ones only. */
  get used(): number {
    return this.#used;
  }

  /** The file's last checksum. */
  get sum(): number {
    return this.#sum;
  }

  /** Starts at a place in a file whose last checksum is `sum`, 0 at its beginning. */
  begin(sum: number): void {
    this.#used = 0;
    this.#text = '';
    this.#sum = sum;
  }

  /** Adds an open line (or several, the last one open). */
  add(line: string): void {
    this.#text = this.#text === '' ? line : `${this.#text}}\n${line}`;
    if (this.#text.length >= sumIntervalChars) this.seal(null);
  }

  /**
   * Ends what was added with a checksum, and with the mark that `synced` bytes of the file are on disk, unless null.
   * Does nothing without lines.
   */
  seal(synced: number | null): void {
    if (this.#text === '') return;
    const from = this.#used;
    this.#put(synced === null ? this.#text : `${this.#text},"synced":${synced}`);
    this.#sum = crc32(this.#buffer.subarray(from, this.#used), this.#sum);
    this.#text = '';
    this.#put(`,"sum":"${formatSum(this.#sum)}"}\n`);
  }

  /** The sealed bytes; valid until `release`. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#used);
  }

  /** The bytes are written: their room is free again. */
  release(): void {
    this.#used = 0;
    if (this.#buffer.length > keptBytes) this.#buffer = Buffer.allocUnsafe(usualBytes);
  }

  #put(text: string): void {
    // A UTF-16 unit becomes at most three bytes; counted exactly only where that would waste much.
    const most = text.length > usualBytes ? Buffer.byteLength(text) : text.length * 3;
    this.#makeRoom(most);
    this.#used += this.#buffer.write(text, this.#used);
  }

  #makeRoom(bytes: number): void {
    const needed = this.#used + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#used);
    this.#buffer = grown;
  }
}
