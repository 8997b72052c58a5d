/**
 * Which transactions a snapshot sees, as `pg_current_snapshot()` prints it. A transaction is known by its top-level xid.
 * https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT-PARTS
 */

/** xids of 64 bits. */
export type SeenTransactions = {
  readonly xmin: bigint;
  readonly xmax: bigint;
  readonly inProgress: ReadonlySet<bigint>;
};

/** Whether the snapshot sees a transaction, by its xid of 64 bits. */
export function sees(seen: SeenTransactions, xid: bigint): boolean {
  if (xid < seen.xmin) return true;
  return xid < seen.xmax && !seen.inProgress.has(xid);
}

/** The same by the 32 bits of an xid that a stream or a system column prints; it must be a recent one. */
export function seesNarrow(seen: SeenTransactions, xid: bigint): boolean {
  return sees(seen, seen.xmax + BigInt.asIntN(32, xid - seen.xmax));
}

/** Reads `xmin:xmax:xid,xid,…` as the server prints it. Throws a RangeError on anything else. */
export function readSeenTransactions(text: string): SeenTransactions {
  const match = /^(\d+):(\d+):((?:\d+(?:,\d+)*)?)$/.exec(text);
  if (match === null) throw new RangeError(`not a snapshot: ${JSON.stringify(text)}`);
  const [, xmin = '', xmax = '', list = ''] = match;
  return {
    xmin: BigInt(xmin),
    xmax: BigInt(xmax),
    inProgress: new Set(list === '' ? [] : list.split(',').map(BigInt)),
  };
}
