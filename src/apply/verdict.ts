/**
 * Which transactions are applied (DESIGN 3.1, 3.9). Pure. A transaction is known by its commit's end LSN, which stands
 * in the commit and not in the begin; what is decided at the begin is therefore either certain or taken back later.
 */
import type { Lsn } from '../model/lsn.js';
import { zeroLsn } from '../model/lsn.js';
import { sees, type SeenTransactions } from '../model/seen-transactions.js';

/**
 * skip   the target holds it already: read over it.
 * apply  it ends behind the target's position.
 * stop   it ends behind the end position, and so does everything after it.
 */
export type Verdict = 'skip' | 'apply' | 'stop';

export type BeginFacts = {
  /** Where the commit record starts; null when the plugin did not know at the begin. */
  readonly commitLsn: Lsn | null;
  /** The end LSN, where an earlier reading of the same transaction got as far as its commit. */
  readonly endLsn: Lsn | null;
};

export type Position = {
  /** The target holds everything up to here, or will once what was sent is committed. */
  readonly applied: Lsn;
  /**
   * Whether this reading has already met a transaction that the target did not hold: since transactions come in the
   * order of their commits, it holds none that follow.
   */
  readonly beyond: boolean;
  /** The end position; zeroLsn while none is set. */
  readonly endpos: Lsn;
};

/**
 * At the begin. The cases, in order:
 *
 * 1. The end is known: it decides.
 * 2. The commit record starts at or behind endpos: it ends behind it. stop.
 * 3. It starts at or behind `applied`. apply.
 * 4. It starts before `applied`. Records do not overlap and `applied` is the end of a record, so it also ends there:
 *    skip. Should `applied` ever be something else, `verdictAtCommit` notices.
 * 5. Its place is not known, but an earlier transaction was new. apply.
 * 6. Its place is not known at all, at the beginning of a reading. skip, and decide at the commit: what turns out to
 *    be new is read again, with its end known.
 */
export function verdictAtBegin(begin: BeginFacts, position: Position): Verdict {
  const { applied, beyond, endpos } = position;
  if (begin.endLsn !== null) return verdictOfEnd(begin.endLsn, applied, endpos);
  if (begin.commitLsn === null) return beyond ? 'apply' : 'skip';
  if (reachesEnd(begin.commitLsn, endpos)) return 'stop';
  return begin.commitLsn >= applied ? 'apply' : 'skip';
}

/** When the end is known. The end position may fall inside of a commit record: that transaction is not applied. */
export function verdictOfEnd(endLsn: Lsn, applied: Lsn, endpos: Lsn): Verdict {
  if (endLsn <= applied) return 'skip';
  return endpos !== zeroLsn && endLsn > endpos ? 'stop' : 'apply';
}

/** At the commit: whether what was done since the begin was right. If not, the transaction is read again. */
export function verdictHolds(done: 'skip' | 'apply', endLsn: Lsn, applied: Lsn, endpos: Lsn): boolean {
  return verdictOfEnd(endLsn, applied, endpos) === done;
}

/**
 * Per relation, with the transaction's top-level xid of 64 bits: a table that was copied from a later snapshot already
 * holds what that snapshot saw (DESIGN 7). `seen` is null for a table that was copied from the slot's own.
 */
export function relationVerdict(xid: bigint, seen: SeenTransactions | null): 'skip' | 'apply' {
  return seen !== null && sees(seen, xid) ? 'skip' : 'apply';
}

/** Whether everything up to the end position has been seen, when everything ending at or before `seen` has. */
export function reachesEnd(seen: Lsn, endpos: Lsn): boolean {
  return endpos !== zeroLsn && seen >= endpos;
}
