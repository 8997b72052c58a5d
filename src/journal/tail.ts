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

/** For a reader that comes up from the files: more than one batch of the slot, and what arrives while it is read. */
const joiningBytes = 1024 * 1024;

/** Where files begin is remembered of so many, the newest. */
const rememberedFiles = 16;

/** How far a reader is: in bytes of all that was pushed, and the entry that it wants next where it takes from memory. */
type Reached = { readonly bytes: number; readonly next: number | null };

export class Tail {
  readonly #maxBytes: number;
  #entries: TailEntry[] = [];
  /** Entries before this one are forgotten; the array is cut now and then. */
  #first = 0;
  /** Sequence number of the array's first element. */
  #base = 0;
  #bytes = 0;
  /** Bytes that were ever pushed, and how many before the newest files began. */
  #pushed = 0;
  readonly #began = new Map<string, number>();
  readonly #readers = new Map<object, Reached>();
  #onTaken: (() => void) | null = null;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(entry: TailEntry): void {
    if (!this.#began.has(entry.file)) this.#begin(entry);
    this.#pushed += entry.end - entry.start;
    this.#entries.push(entry);
    this.#bytes += entry.end - entry.start;
    this.#forget();
  }

  /** Bytes by which the last reader is behind what was pushed; Infinity when that is far, 0 without readers. */
  get untakenBytes(): number {
    let least = this.#pushed;
    for (const { bytes } of this.#readers.values()) least = Math.min(least, bytes);
    return this.#pushed - least;
  }

  /** Resolves when a reader has taken something and all are as near as that, or when the time is over. */
  async untilTaken(bytes: number, milliseconds: number): Promise<void> {
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

  /** The reader has taken an entry, and will ask for the next. */
  taken(reader: object, entry: TailEntry, next: number): void {
    this.#reach(reader, { bytes: this.#bytesAt(entry.file, entry.end), next });
  }

  /** The reader stands here, and reads files. */
  readTo(reader: object, { file, offset }: Place): void {
    this.#reach(reader, { bytes: this.#bytesAt(file, offset), next: null });
  }

  /** The reader reads no more. */
  leave(reader: object): void {
    this.#readers.delete(reader);
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

  #begin({ file, start }: TailEntry): void {
    this.#began.set(file, this.#pushed - start);
    for (const name of this.#began.keys()) if (this.#began.size > rememberedFiles) this.#began.delete(name);
  }

  #bytesAt(file: string, offset: number): number {
    const began = this.#began.get(file);
    return began === undefined ? -Infinity : began + offset;
  }

  #reach(reader: object, reached: Reached): void {
    this.#readers.set(reader, reached);
    this.#forget();
    this.#onTaken?.();
  }

  #forget(): void {
    let wanted = Infinity;
    for (const { next } of this.#readers.values()) if (next !== null) wanted = Math.min(wanted, next);
    const isWanted = wanted < Infinity;
    const kept = isWanted ? this.#maxBytes : Math.min(joiningBytes, this.#maxBytes);
    while (this.#bytes > kept || (isWanted && this.#base + this.#first < wanted)) this.#forgetFirst();
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
