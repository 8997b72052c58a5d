/**
 * Rows that no piece has seen: a table that is read piece by piece, while it is written, misses a row that goes from a
 * piece that is not read yet to one that was (the column that cuts the table is changed), and a row that leaves its
 * bucket behind the sums (its key is changed). Mostly the target's row is right all the same, since the whole row was
 * written there. But not a TOASTed value that the change left as it was: no stream tells of it.
 *
 * So behind the last piece the source is read once more, in one snapshot, for the rows that were written behind the
 * reading of the piece that they are in now. Why none escapes: a row lies in one piece of that snapshot. Either the
 * reading of that piece has seen this version of it, in its bucket, or the version is from a transaction that the
 * reading has not seen. Which transactions these are is told by the reading's snapshot (`horizon`), and which
 * transaction a version is from by its `xmin`, which stays when the row is frozen.
 *
 * Nothing is hashed for that, and of a table that is not written nothing is found. The target is not read.
 */
import type { Session } from '../postgres/connect.js';
import type { Moments } from './moments.js';
import {
  addOutcomes,
  keysAtOnce,
  lookByKeys,
  settleKeys,
  type MovingOutcome,
  type Settled,
} from './moving.js';
import type { ReadTable, TableReader, Unit } from './reading.js';
import { differingBuckets } from './rows.js';
import { beginSql, type Pair } from './sides.js';

/** A unit that was read, and what came of it. */
export type Seen = { readonly unit: Unit; readonly outcome: MovingOutcome };

/** What a piece has seen of the rows that are in it by now. */
export type SeenPart = { readonly condition: string | null; readonly horizon: bigint };

/** Looks for such rows, of one table at a time. */
export class MovedRows {
  readonly #session: Session;
  readonly #moments: Moments;
  readonly #reader: TableReader;
  readonly #signal: AbortSignal | undefined;
  #before: Promise<unknown> = Promise.resolve();

  /** `session` of the source, for nothing else: its transaction lasts while what it finds is looked at. */
  constructor(session: Session, moments: Moments, reader: TableReader, signal: AbortSignal | undefined) {
    this.#session = session;
    this.#moments = moments;
    this.#reader = reader;
    this.#signal = signal;
  }

  /** Settles the rows of a table that its units have missed. */
  async settle(pair: Pair, table: ReadTable, seen: readonly Seen[]): Promise<Settled[]> {
    // Of a table without a key a row that differs is found nowhere by its change: the run has stopped.
    if (table.source.key === null || seenAtOnce(seen)) return [];
    const turn = this.#before.then(() => this.#settle(pair, table, seen));
    this.#before = turn.catch(() => {});
    return await turn;
  }

  async #settle(pair: Pair, table: ReadTable, seen: readonly Seen[]): Promise<Settled[]> {
    const settled: Settled[] = [];
    let differ = 0;
    const { low } = addOutcomes(seen.map(({ outcome }) => outcome));
    const look = lookByKeys(this.#moments, this.#reader, pair, table);
    await this.#session.query(beginSql);
    const end = await fetchEnd(this.#session);
    const condition = writtenBehind(end, seen.map(partOf));
    await this.#reader.keys(this.#session, table, condition, keysAtOnce, async (keys) => {
      const { differing, changing } = await settleKeys(keys, look, this.#signal);
      differ += differing.keys.length;
      // Enough to be held here: there may be more.
      const complete = differ < keysAtOnce;
      settled.push({
        differing: { ...differing, complete },
        changing,
        low: changing.length === 0 ? low : null,
      });
      return complete ? 'more' : 'enough';
    });
    await this.#session.query('commit');
    return settled;
  }
}

/** Whether one reading has shown all rows to be equal. */
function seenAtOnce([first, ...more]: readonly Seen[]): boolean {
  if (first === undefined) return true;
  const { sums } = first.outcome;
  return more.length === 0 && differingBuckets(sums.source, sums.target).length === 0;
}

/** A unit of several pieces was read at one moment, and is all of the table. */
function partOf({ unit, outcome: { horizon } }: Seen): SeenPart {
  const [first, ...more] = unit.pieces;
  return { condition: more.length > 0 ? null : (first?.source ?? null), horizon };
}

const endSql = `select pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())::text as xid`;

/** The first transaction that this snapshot certainly does not see. */
async function fetchEnd(session: Session): Promise<bigint> {
  const [row] = await session.query(endSql);
  return BigInt(row?.['xid'] ?? 0);
}

/** Numbers of transactions, as rows have them, begin anew after so many. */
const round = 2n ** 32n;

/**
 * The condition for rows (`t`) that were written by a transaction at or behind the horizon of the part that they are
 * in, in a snapshot that ends before the transaction `end`. Pure.
 *
 * Counted backwards from the end, so that no number of transactions is too large, nor where they begin anew. The bound
 * of all parts comes first: it costs a comparison a row, and few rows are left for the parts.
 */
export function writtenBehind(end: bigint, parts: readonly SeenPart[]): string {
  const ago = `((${end % round} - 1 - t.xmin::pg_catalog.text::pg_catalog.int8 + ${round}) % ${round})`;
  const since = (horizon: bigint) => end - horizon;
  const longest = parts.reduce((most, { horizon }) => (since(horizon) > most ? since(horizon) : most), 0n);
  const first = `${ago} < ${longest}`;
  if (parts.length === 1) return first;
  const cases = parts.map(({ condition, horizon }) => `when ${condition ?? 'true'} then ${since(horizon)}`);
  return `${first} and ${ago} < case ${cases.join(' ')} else ${longest} end`;
}
