/**
 * Transform files: what a line is. docs/transform-files.md is the reference for readers; `encode.ts` writes lines,
 * `decode.ts` reads them, both without touching a file.
 *
 * A line is one JSON object. Any line may end with a checksum, and the last line of every write does:
 * `,"sum":"xxxxxxxx"}`. The sum continues the one before it in the file (0 at the beginning) over all bytes since that
 * one's newline, up to its own `,"sum"`. Nothing leaves a reader before the sum that covers it was found right.
 * On the same lines `"synced":N` says that the file's first N bytes were on disk before the line was written:
 * damage below it is damage; above it, at the end of the newest file, it is what a power loss leaves.
 */
import { Failure } from '../failure.js';
import type { Lsn } from '../model/lsn.js';

/** Stands in every header beside the version, so that a file says what it is. */
export const journalFormat = 'walferry-journal';

/** Grows with every change that a reader of the version before would misread. */
export const journalVersion = 1;

/** `,"sum":"` + 8 digits + `"}`: how a line with a checksum ends; the newline follows. */
export const sumSuffixBytes = 18;

/** A checksum is written after this much without one: it bounds what a reader holds back. */
export const sumIntervalBytes = 64 * 1024;

/** The first line of a file: it says where the file stands among the others, so that each reads on its own. */
export type Header = {
  readonly timeline: number;
  /** The file's name without `.json`. */
  readonly segment: string;
  readonly segmentBytes: bigint;
  /** Name of the file before this one, null for the first of a journal. It may be pruned by now. */
  readonly previous: string | null;
  /**
   * Every transaction that ends after this, as far as it was received, is in this file or a later one. Null when that
   * is not known: the journal did not begin with a connection.
   */
  readonly start: Lsn | null;
  /** What the files before this one hold completely: the last commit's end, or a keepalive after it. */
  readonly position: Lsn | null;
  /** Transactions unfinished where this file begins: xid, and the file that holds their beginning. */
  readonly open: ReadonlyMap<bigint, string>;
  /** What the writer was told to say about the stream: system identifier, slot, plugin and so on. */
  readonly stream: Readonly<Record<string, string>>;
};

/** The last line of a closed file. */
export type SwitchLine = { readonly kind: 'switch'; readonly lsn: Lsn; readonly next: string };

/** A transform file is not what was written: which, where, and what is wrong there. */
export function damaged(file: string, offset: number, what: string): Failure {
  return new Failure('journal-damaged', `transform file ${file} is damaged at offset ${offset}: ${what}`);
}
