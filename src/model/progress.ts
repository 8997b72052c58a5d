/**
 * Positions of one stream, as the sentinel shows them.
 */
import type { Lsn } from './lsn.js';

/** The sentinel row of the catalog. `endpos` is zeroLsn while no end position is set. */
export type Sentinel = {
  readonly startpos: Lsn;
  readonly endpos: Lsn;
  readonly apply: boolean;
  readonly writeLsn: Lsn;
  readonly flushLsn: Lsn;
  readonly transformLsn: Lsn;
  readonly replayLsn: Lsn;
};
