/**
 * The last batches written, kept in memory for readers that are level with the writer: they need not read back what
 * this process has just written. Bounded by encoded bytes; a reader that falls behind goes on from the files.
 */
import type { StreamMessage } from '../model/message.js';
import type { Described } from './encode.js';

/** A place in the journal that follows a line with a checksum. */
export type Place = { readonly file: string; readonly offset: number };

/** Some messages that were written to one file, in one stretch of it. */
export type TailEntry = {
  readonly file: string;
  readonly start: number;
  readonly end: number;
  /** The file's checksum at `end`: a reader that goes on from the file there needs it. */
  readonly sum: number;
  readonly messages: readonly StreamMessage[];
  /** Relations that the stretch describes, for the same reason. */
  readonly described: readonly Described[];
};

export class Tail {
  readonly #maxBytes: number;
  #entries: TailEntry[] = [];
  /** Entries before this one are forgotten; the array is cut now and then. */
  #first = 0;
  /** Sequence number of the array's first element. */
  #base = 0;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(entry: TailEntry): void {
    this.#entries.push(entry);
    this.#bytes += entry.end - entry.start;
    while (this.#bytes > this.#maxBytes) this.#forgetFirst();
  }

  /** The entry with a sequence number; undefined when it is forgotten or not there yet. */
  get(sequence: number): TailEntry | undefined {
    const index = sequence - this.#base;
    return index < this.#first ? undefined : this.#entries[index];
  }

  /** The sequence number of the entry that begins at a place, -1 when there is none. */
  find(place: Place): number {
    let low = this.#first;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.#entries[middle] as TailEntry;
      if (entry.file < place.file || (entry.file === place.file && entry.start < place.offset))
        low = middle + 1;
      else high = middle;
    }
    const found = this.#entries[low];
    return found?.file === place.file && found.start === place.offset ? low + this.#base : -1;
  }

  #forgetFirst(): void {
    const entry = this.#entries[this.#first] as TailEntry;
    this.#bytes -= entry.end - entry.start;
    // Not only skipped: an entry that stays in the array must not hold its rows.
    this.#entries[this.#first] = { ...entry, messages: [], described: [] };
    this.#first += 1;
    if (this.#first >= 256 && this.#first * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#base += this.#first;
      this.#first = 0;
    }
  }
}
