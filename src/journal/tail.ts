/**
 * What was written last, kept in memory for readers that are level with the writer: they need not read back what this
 * process has just written. An entry is forgotten as soon as every reader has taken it; objects that live on are what
 * costs most here, in memory and in the collector's time. A reader that falls behind goes on from the files, and for one
 * that comes up from there the newest entries are kept.
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

/** For a reader that comes up from the files: more than what arrives while it reads the rest of one. */
const joiningBytes = 512 * 1024;

export class Tail {
  readonly #maxBytes: number;
  #entries: TailEntry[] = [];
  /** Entries before this one are forgotten; the array is cut now and then. */
  #first = 0;
  /** Sequence number of the array's first element. */
  #base = 0;
  #bytes = 0;
  /** Readers that take from memory, and the sequence number that each wants next. */
  readonly #wanted = new Map<object, number>();
  #onTaken: (() => void) | null = null;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(entry: TailEntry): void {
    this.#entries.push(entry);
    this.#bytes += entry.end - entry.start;
    this.#forget();
  }

  /** Encoded bytes that a reader has not taken yet; 0 while all read from files. */
  get untakenBytes(): number {
    return this.#wanted.size === 0 ? 0 : this.#bytes;
  }

  /** Resolves when no more than so many bytes are untaken, or when the time is over. */
  async untilTaken(bytes: number, milliseconds: number): Promise<void> {
    if (this.untakenBytes <= bytes) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#onTaken = null;
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.#onTaken = () => {
        if (this.untakenBytes <= bytes) done();
      };
    });
  }

  /** The reader has taken everything before a sequence number, and will ask for the entries from there on. */
  taken(reader: object, next: number): void {
    this.#wanted.set(reader, next);
    this.#forget();
    this.#onTaken?.();
  }

  /** The reader reads from files now, or not at all. */
  leave(reader: object): void {
    if (!this.#wanted.delete(reader)) return;
    this.#forget();
    this.#onTaken?.();
  }

  /** The entry with a sequence number; undefined when it is forgotten or not there yet. */
  get(sequence: number): TailEntry | undefined {
    const index = sequence - this.#base;
    return index < this.#first ? undefined : this.#entries[index];
  }

  /** Whether nothing is forgotten of what has a sequence number or will get one, from this one on. */
  holdsFrom(sequence: number): boolean {
    return sequence >= this.#base + this.#first;
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

  #forget(): void {
    const isJoined = this.#wanted.size > 0;
    const kept = isJoined ? this.#maxBytes : Math.min(joiningBytes, this.#maxBytes);
    const next = isJoined ? Math.min(...this.#wanted.values()) : 0;
    while (this.#bytes > kept || this.#base + this.#first < next) this.#forgetFirst();
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
