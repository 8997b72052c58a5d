/**
 * What has to hold of a stream, whatever plugin wrote it: transactions come in the order of their commits, and whole, one
 * after the other, but for those that are streamed while they run: their changes come between others, and never inside of
 * one. It keeps no rows: two positions, an xid, and those of the streamed ones.
 */
import { Failure } from '../failure.js';
import type { Begin, Commit, PluginMessage } from '../model/message.js';
import { formatLsn, laterLsn, type Lsn } from '../model/lsn.js';

/** Checks the messages of one connection, in order. */
export class CommitOrder {
  #open: Begin | null = null;
  /** Streamed transactions that have not ended. */
  readonly #streamed = new Set<bigint>();
  #lastEnd: Lsn;

  /** `held` is where the stream was asked to start: whatever commits at or before it must not come. */
  constructor(held: Lsn) {
    this.#lastEnd = held;
  }

  /** Takes the next message. Throws `message-unreadable` when it cannot stand here. */
  check(message: PluginMessage): void {
    switch (message.kind) {
      case 'change':
        this.#inside(message.xid, 'a change');
        break;
      case 'relation':
        break;
      case 'begin':
        this.#begin(message);
        break;
      case 'commit':
        this.#commit(message);
        break;
      case 'message':
        if (message.xid !== null) this.#inside(message.xid, 'a transactional message');
        break;
      case 'rollback':
        if (!this.#isStreamed(message.xid)) {
          throw unreadable(`transaction ${message.xid} is rolled back, and is not one that was streamed`);
        }
        if (message.sub === undefined) this.#streamed.delete(message.xid);
        break;
    }
  }

  #inside(xid: bigint, what: string): void {
    if (this.#isStreamed(xid)) return;
    if (this.#open === null)
      throw unreadable(`${what} of transaction ${xid} comes outside of any transaction`);
    if (this.#open.xid !== xid) {
      throw unreadable(`${what} of transaction ${xid} comes inside of transaction ${this.#open.xid}`);
    }
  }

  #begin(begin: Begin): void {
    if (this.#open !== null) {
      throw unreadable(`transaction ${begin.xid} begins inside of transaction ${this.#open.xid}`);
    }
    if (begin.streamed === true) {
      if (this.#streamed.has(begin.xid)) throw unreadable(`transaction ${begin.xid} begins twice`);
      this.#streamed.add(begin.xid);
      return;
    }
    if (begin.commitLsn !== null && begin.commitLsn < this.#lastEnd) {
      throw unreadable(
        `transaction ${begin.xid} commits at ${formatLsn(begin.commitLsn)}, ` +
          `before ${formatLsn(this.#lastEnd)}, up to where everything is here`,
      );
    }
    this.#open = begin;
  }

  #commit(commit: Commit): void {
    this.#inside(commit.xid, 'the commit');
    const announced = this.#open?.commitLsn ?? null;
    if (announced !== null && announced !== commit.commitLsn) {
      throw unreadable(
        `transaction ${commit.xid} announced its commit at ${formatLsn(announced)} ` +
          `and commits at ${formatLsn(commit.commitLsn)}`,
      );
    }
    if (commit.endLsn <= commit.commitLsn || commit.endLsn <= this.#lastEnd) {
      throw unreadable(
        `transaction ${commit.xid} ends at ${formatLsn(commit.endLsn)}, which is not behind ` +
          formatLsn(laterLsn(this.#lastEnd, commit.commitLsn)),
      );
    }
    this.#lastEnd = commit.endLsn;
    // Where a whole transaction is open, this is its commit: `#inside` has seen to it.
    if (this.#open === null) this.#streamed.delete(commit.xid);
    this.#open = null;
  }

  /** Whether this is a streamed transaction in its place: outside of whole ones. */
  #isStreamed(xid: bigint): boolean {
    return this.#open === null && this.#streamed.has(xid);
  }
}

function unreadable(what: string): Failure {
  return new Failure('message-unreadable', `the stream is out of order: ${what}`);
}
