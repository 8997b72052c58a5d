/**
 * Transactions that arrive while they run. Their lines stand between those of others, in as many files as it took, and
 * nothing of them counts before their commit. So a reader drops them as it meets them and keeps only what it needs to
 * find them again: the files, and the subtransactions that were rolled back. At the commit the transaction is read once
 * more from those files, whole, in its place in the order of commits; in memory there is never more of it than one read.
 *
 * What comes out is as if the source had sent every transaction when it committed.
 */
import type { Lsn } from '../model/lsn.js';
import type { Commit, StreamMessage } from '../model/message.js';
import type { RelationIntern } from './decode.js';
import { standsAt } from './bytes.js';
import { damaged } from './format.js';
import { SegmentReader, type LineFilter } from './segment-reader.js';
import { XidSet } from './xid-set.js';

/** A streamed transaction that has committed, and where its lines are. */
export type StreamedTransaction = {
  readonly commit: Commit;
  /** The files with lines of it, oldest first; its beginning stands in the first, its commit in the last. */
  readonly files: readonly string[];
  /** Which of the lines that begin it in the first file counts: those before were void. */
  readonly beginning: number;
  /** Subtransactions that were rolled back. */
  readonly rolledBack: Pick<XidSet, 'has'>;
};

/** What is next: messages as they stand, or a transaction that is to be read from the files. */
export type Piece =
  | { readonly kind: 'messages'; readonly messages: readonly StreamMessage[] }
  | { readonly kind: 'transaction'; readonly transaction: StreamedTransaction };

type Unfinished = { readonly files: string[]; readonly beginning: number; readonly rolledBack: XidSet };

/** Takes the messages of a journal in order, from the beginning of a file on. */
export class StreamedTransactions {
  readonly #unfinished = new Map<bigint, Unfinished>();
  /** Beginnings in the file that is being read, of transactions without an end in it. */
  #beginnings = new Map<bigint, number>();
  #file = '';

  /** What a batch from `file` comes to. */
  take(messages: readonly StreamMessage[], file: string): readonly Piece[] {
    if (file !== this.#file) {
      this.#file = file;
      this.#beginnings = new Map();
    }
    if (messages.length === 0) return [];
    if (this.#unfinished.size === 0 && !messages.some(beginsStreamed))
      return [{ kind: 'messages', messages }];
    const pieces: Piece[] = [];
    let plain: StreamMessage[] = [];
    for (const message of messages) {
      const taken = this.#take(message);
      if (taken === 'plain') {
        plain.push(message);
      } else if (taken !== null) {
        if (plain.length > 0) pieces.push({ kind: 'messages', messages: plain });
        plain = [];
        pieces.push({ kind: 'transaction', transaction: taken });
      }
    }
    if (plain.length > 0) pieces.push({ kind: 'messages', messages: plain });
    return pieces;
  }

  #take(message: StreamMessage): StreamedTransaction | 'plain' | null {
    switch (message.kind) {
      case 'begin':
        if (message.streamed === undefined) return 'plain';
        this.#begin(message.xid);
        return null;
      case 'connected':
        this.#unfinished.clear();
        return 'plain';
      case 'change':
      case 'message':
      case 'rollback':
      case 'commit':
        break;
      case 'relation':
      case 'keepalive':
      case 'endpos':
        return 'plain';
    }
    if (message.xid === null) return 'plain';
    const unfinished = this.#unfinished.get(message.xid);
    if (unfinished === undefined) return 'plain';
    if (unfinished.files.at(-1) !== this.#file) unfinished.files.push(this.#file);
    if (message.kind === 'commit') {
      this.#end(message.xid);
      return { commit: message, ...unfinished };
    }
    if (message.kind === 'rollback') {
      if (message.sub === undefined) this.#end(message.xid);
      else unfinished.rolledBack.add(message.sub);
    }
    return null;
  }

  #begin(xid: bigint): void {
    const beginning = (this.#beginnings.get(xid) ?? 0) + 1;
    this.#beginnings.set(xid, beginning);
    this.#unfinished.set(xid, { files: [this.#file], beginning, rolledBack: new XidSet() });
  }

  #end(xid: bigint): void {
    this.#unfinished.delete(xid);
    this.#beginnings.delete(xid);
  }
}

function beginsStreamed(message: StreamMessage): boolean {
  return message.kind === 'begin' && message.streamed === true;
}

/** Reads one streamed transaction from its files, whole: a begin that knows the commit, what counts, the commit. */
export class StreamedReader {
  readonly #directory: string;
  readonly #intern: RelationIntern;
  readonly #transaction: StreamedTransaction;
  readonly #wanted: LineFilter;
  #nextFile = 0;
  #current: SegmentReader | null = null;
  #beginnings = 0;
  #begun = false;
  #ended = false;
  #closed = false;

  constructor(directory: string, intern: RelationIntern, transaction: StreamedTransaction) {
    this.#directory = directory;
    this.#intern = intern;
    this.#transaction = transaction;
    this.#wanted = linesOf(transaction.commit.xid);
  }

  /** The next of its messages, at least one; null behind its commit. Throws `journal-damaged`. */
  async next(): Promise<readonly StreamMessage[] | null> {
    const { commit } = this.#transaction;
    if (this.#ended) return null;
    if (!this.#begun) {
      this.#begun = true;
      const { xid, commitLsn, commitTime } = commit;
      return [{ kind: 'begin', xid, commitLsn, commitTime }];
    }
    for (;;) {
      const messages = this.#counting(await this.#read());
      if (this.#closed) return null;
      if (!this.#ended && messages.length === 0) continue;
      if (this.#ended) await this.#closeFile();
      return messages;
    }
  }

  /** For good; a `next` that reads gets its end. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#closeFile();
  }

  async #closeFile(): Promise<void> {
    await this.#current?.close();
    this.#current = null;
  }

  async #read(): Promise<readonly StreamMessage[]> {
    const { files } = this.#transaction;
    for (;;) {
      if (this.#closed) return [];
      const name = files[this.#nextFile];
      if (name === undefined) throw this.#gone(files.at(-1) ?? '');
      const current = (this.#current ??= new SegmentReader(
        this.#directory,
        name,
        this.#intern,
        this.#wanted,
      ));
      const result = await current.read(Infinity);
      if (this.#closed) return [];
      if (result.kind === 'messages') return result.messages;
      // The commit was met in the last file, so that no file ends before it.
      if (result.kind === 'end') throw this.#gone(current.name);
      await this.#closeFile();
      this.#nextFile += 1;
    }
  }

  #gone(file: string): Error {
    const { xid } = this.#transaction.commit;
    return damaged(file, this.#current?.offset ?? 0, `lines of transaction ${xid} that were here are gone`);
  }

  /** Those that count; the commit is the last of all. */
  #counting(messages: readonly StreamMessage[]): readonly StreamMessage[] {
    const { commit, beginning, rolledBack } = this.#transaction;
    const counting: StreamMessage[] = [];
    for (const message of messages) {
      if (!('xid' in message) || message.xid !== commit.xid) continue;
      if (beginsStreamed(message)) this.#beginnings += 1;
      if (this.#beginnings < beginning) continue;
      if (message.kind === 'commit') {
        counting.push(message);
        this.#ended = true;
        break;
      }
      if (message.kind !== 'change' && message.kind !== 'message') continue;
      if (message.sub === undefined || !rolledBack.has(message.sub)) counting.push(message);
    }
    return counting;
  }
}

/** Whether the target needs nothing of it: it holds everything up to `applied`. */
export function isApplied({ commit }: StreamedTransaction, applied: Lsn): boolean {
  return commit.endLsn <= applied;
}

const letterAt = '{"action":"'.length;
const xidAt = letterAt + 2;
const xidKey = Buffer.from(',"xid":"');

/**
 * Wants the lines of one transaction, and those that belong to none. A line of ours has its xid at a fixed place
 * (docs/transform-files.md); one that has not is wanted, and told by its content.
 */
function linesOf(xid: bigint): LineFilter {
  const own = Buffer.from(`${xid}"`);
  return (buffer, start) => {
    const key = start + xidAt;
    return !standsAt(buffer, key, xidKey) || standsAt(buffer, key + xidKey.length, own);
  };
}
