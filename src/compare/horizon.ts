/**
 * Which rows a reading cannot have seen: those whose version is from a transaction that was not over when its snapshot
 * was taken. A version's transaction is its `xmin`, which stays when the row is frozen, moved by VACUUM FULL, or locked.
 *
 * The oldest running transaction is no good bound: one that is forgotten, in whatever database of the server, makes
 * everything look new that was written since. So the transactions that run are taken one by one. Those of
 * subtransactions are in no snapshot, but each holds a lock on its number until all of the transaction is over, a
 * prepared one too.
 */
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import type { CutOrder } from './pieces.js';

/** Transactions that a snapshot which is taken behind it may not see. */
export type Horizon = {
  /** All from this one on, counted over all rounds of their numbers. */
  readonly next: bigint;
  /** Of the earlier ones these, as rows have them. */
  readonly running: readonly string[];
};

// What begins while the locks are read is behind `next`, and what ends before the snapshot is taken is seen by it. Since
// 13 these functions have other names, and they are still there under these.
const horizonSql = `
  select pg_catalog.txid_snapshot_xmax(s.now)::text as next,
         array(select pg_catalog.mod(x, 4294967296)::text from pg_catalog.txid_snapshot_xip(s.now) as x
               union
               select l.transactionid::text from pg_catalog.pg_locks l
                where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted)::text as running
    from (select pg_catalog.txid_current_snapshot() as now) as s`;

// A standby does not know which of the transactions run.
const horizonOnStandbySql = `
  select pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())::text as next, '{}' as running`;

/** To be asked before the snapshot is taken, outside of its transaction. */
export async function fetchHorizon(source: Session): Promise<Horizon> {
  const [row] = await source.query(source.inRecovery ? horizonOnStandbySql : horizonSql);
  const running = (row?.['running'] ?? '{}').slice(1, -1);
  return { next: BigInt(row?.['next'] ?? 0), running: running === '' ? [] : running.split(',') };
}

const endSql = `select pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())::text as xid`;

/** The first transaction that the snapshot of the session's transaction certainly does not see. */
export async function fetchEnd(source: Session): Promise<bigint> {
  const [row] = await source.query(endSql);
  return BigInt(row?.['xid'] ?? 0);
}

/** How a table was cut: pieces between the bounds, before them one for the nulls where there may be any. */
export type Cut = CutOrder & { readonly bounds: readonly string[] };

/** Numbers of transactions, as rows have them, begin anew after so many. */
const round = 2n ** 32n;

/**
 * The condition for rows (`t`) that the reading of the piece that they are in now cannot have seen: one horizon for each
 * piece, or one for all of the table (`cut` null); in a snapshot that ends before the transaction `end`. Pure.
 *
 * Numbers are counted backwards from the end, so that none is too large, and it does not matter where they begin anew.
 */
export function notSeen(end: bigint, cut: Cut | null, horizons: readonly Horizon[]): string {
  const ago = `(${end % round} - 1 - t.xmin::pg_catalog.text::pg_catalog.int8 + ${round}) % ${round}`;
  const since = horizons.map(({ next }) => end - next);
  const longest = since.reduce((most, one) => (one > most ? one : most), 0n);
  // First what costs a comparison a row: few rows are left for the piece that they are in.
  const ofPiece =
    cut === null || horizons.length === 1
      ? ''
      : ` and ${ago} < ('{${since.join(',')}}'::pg_catalog.int8[])[${pieceOf(cut)}]`;
  const running = [...new Set(horizons.flatMap((one) => one.running))];
  // Of whatever piece: where a transaction ran while another piece was read, its rows are looked at for nothing.
  const byRunning =
    running.length === 0 ? '' : ` or t.xmin = any ('{${running.join(',')}}'::pg_catalog.xid[])`;
  return `(${ago} < ${longest}${ofPiece}${byRunning})`;
}

/** The number of a row's piece, from 1 on: found by halves, since there may be thousands. */
function pieceOf({ column, type, nullable, bounds }: Cut): string {
  const values = `array[${bounds.map((bound) => `${quoteLiteral(bound)}::${type}`).join(', ')}]::${type}[]`;
  const bucket = `pg_catalog.width_bucket(t.${quoteIdentifier(column)}, ${values})`;
  return nullable ? `coalesce(${bucket} + 2, 1)` : `${bucket} + 1`;
}
