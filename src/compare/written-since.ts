/**
 * Rows that no piece has seen: a table that is read piece by piece, while it is written, misses a row that goes from a
 * piece that is not read yet to one that was (the column that cuts the table is changed), and a row that leaves its
 * bucket behind the sums (its key is changed). Mostly the target's row is right all the same, since the whole row was
 * written there. But not a TOASTed value that the change left as it was: no stream tells of it.
 *
 * So behind the last piece the source is read once more, in one snapshot, for the rows that were written behind the
 * reading of the piece that they are in now, and these are looked at by their keys. Why none escapes: a row lies in one
 * piece of that snapshot. Either the reading of that piece has seen this version of it, in its bucket, or the version is
 * from a transaction that the reading cannot have seen (horizon.ts).
 *
 * What was proven stays so, whatever becomes of it: such a row was written behind the `low` of its piece, and is noted
 * for the last pass.
 */
import type { Session } from '../postgres/connect.js';
import type { DifferingRows } from './differing.js';
import { fetchEnd, notSeen, type Cut, type Horizon } from './horizon.js';
import type { Moments } from './moments.js';
import { addDiffering, keysAtOnce, lookByKeys, settleKeys, type MovingOutcome } from './moving.js';
import type { ReadTable, TableReader } from './reading.js';
import { differingBuckets } from './rows.js';
import { beginSql, type Pair } from './sides.js';

/** What came of these rows. */
export type SettledSince = {
  readonly differing: DifferingRows;
  readonly changing: ReadonlySet<string>;
  /** They were written, and are too many to be looked at. */
  readonly left: number;
  /** Of the rows that were changing all the while before: those that were looked at again. */
  readonly again: ReadonlySet<string>;
};

/** What the readings of a table have seen. */
export type SeenPieces = {
  /** Null where the table is one piece. */
  readonly cut: Cut | null;
  readonly outcomes: readonly MovingOutcome[];
  /** Told that rows which were written since are searched for, and again how many were looked at. */
  readonly onLooked: (rows: number) => void;
};

/** Rows that are found by an index are looked at in a minute or so; without one, 500 of them cost a reading of the table. */
const mostKeys = { byIndex: 500_000, byScan: 2000 };

/** Looks for such rows, with one session of the source for all workers. */
export class WrittenSince {
  readonly #session: Session;
  readonly #moments: Moments;
  readonly #reader: TableReader;
  readonly #signal: AbortSignal | undefined;
  readonly #most: typeof mostKeys;
  #turn: Promise<unknown> = Promise.resolve();
  #cursors = 0;

  constructor(
    session: Session,
    moments: Moments,
    reader: TableReader,
    signal: AbortSignal | undefined,
    most = mostKeys,
  ) {
    this.#most = most;
    this.#session = session;
    this.#moments = moments;
    this.#reader = reader;
    this.#signal = signal;
  }

  /** Settles what the readings of a table cannot have seen; null where there is nothing of that kind. */
  async settle(
    pair: Pair,
    table: ReadTable,
    { cut, outcomes, onLooked }: SeenPieces,
  ): Promise<SettledSince | null> {
    // Rows of a table without a key are not found again. Nor is that needed: who changes one names all of it, so that
    // the run stops where it differs; but where a column list leaves the key out and another index is the identity.
    if (table.source.key === null || seenAtOnce(outcomes)) return null;
    onLooked(0);
    const byIndex = table.source.columns.every(
      ({ name, comparable }) => comparable || table.source.key?.includes(name) === false,
    );
    const most = byIndex ? this.#most.byIndex : this.#most.byScan;
    const cursor = `written_since_${(this.#cursors += 1)}`;
    const horizons = outcomes.map(({ horizon }) => horizon);
    const condition = await this.#inTurn((session) =>
      this.#open(session, table, cursor, cut, horizons, most),
    );
    try {
      return await this.#settle(pair, table, { cursor, condition, most }, { outcomes, onLooked });
    } finally {
      if (this.#session.lost === null) await this.#inTurn((session) => session.query(`close ${cursor}`));
    }
  }

  /**
   * The keys are put aside by the server: the transaction is over when they are looked at, by other sessions. One that
   * waited for those in a transaction would keep an ALTER TABLE waiting, which those wait for.
   */
  async #open(
    session: Session,
    table: ReadTable,
    cursor: string,
    cut: Cut | null,
    horizons: readonly Horizon[],
    most: number,
  ): Promise<string> {
    await session.query(beginSql);
    const condition = notSeen(await fetchEnd(session), cut, horizons);
    await this.#reader.declareKeys(session, table, condition, cursor, most);
    await session.query('commit');
    return condition;
  }

  async #settle(
    pair: Pair,
    table: ReadTable,
    found: { readonly cursor: string; readonly condition: string; readonly most: number },
    { outcomes, onLooked }: Omit<SeenPieces, 'cut'>,
  ): Promise<SettledSince> {
    const changingBefore = new Set(outcomes.flatMap(({ changing }) => changing));
    const look = lookByKeys(this.#moments, this.#reader, pair, table);
    const differing: DifferingRows[] = [];
    const changing = new Set<string>();
    const again = new Set<string>();
    let [looked, differ] = [0, 0];
    let unequal: string[] = [];
    const settleUnequal = async () => {
      const settled = await settleKeys(unequal, look, this.#signal);
      unequal = [];
      differ += settled.differing.keys.length;
      // Enough to be held here: there may be more.
      differing.push({ ...settled.differing, complete: differ < keysAtOnce });
      for (const key of settled.changing) changing.add(key);
    };
    for (;;) {
      const keys = await this.#inTurn((session) => this.#reader.fetchKeys(session, found.cursor, keysAtOnce));
      if (keys.length === 0 || differ >= keysAtOnce) break;
      looked += keys.length;
      for (const key of keys) if (changingBefore.has(key)) again.add(key);
      // Most are equal at the first look. The others are looked at together, since they are waited for.
      const first = await settleKeys(keys, look, this.#signal, 1);
      unequal.push(...first.changing);
      onLooked(looked);
      if (unequal.length >= keysAtOnce) await settleUnequal();
    }
    if (unequal.length > 0) await settleUnequal();
    const all = looked < found.most ? looked : await this.#count(table, found.condition);
    return { differing: addDiffering(differing), changing, left: Math.max(0, all - looked), again };
  }

  async #count(table: ReadTable, condition: string): Promise<number> {
    const piece = { source: condition, target: null };
    const unit = { table, pieces: [piece], buckets: { count: 1, by: null } };
    const counted = await this.#inTurn((session) => this.#reader.count(session, unit));
    return Number(counted.get(0)?.rows ?? 0n);
  }

  /** One after the other: statements of one table must not get into the transaction of another. */
  async #inTurn<T>(run: (session: Session) => Promise<T>): Promise<T> {
    const turn = this.#turn.then(() => run(this.#session));
    this.#turn = turn.catch(() => {});
    return await turn;
  }
}

/** Whether one reading has shown all rows to be equal. */
function seenAtOnce([first, ...more]: readonly MovingOutcome[]): boolean {
  if (first === undefined) return true;
  return more.length === 0 && differingBuckets(first.sums.source, first.sums.target).length === 0;
}
