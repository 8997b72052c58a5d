/**
 * Comparing a piece while changes flow: at a moment (moments.ts), then again where it differs, until every row is equal
 * at some moment, proven to differ (settling.ts), or has changed at every look.
 *
 * No row escapes: its key decides which bucket it is in (checksum.ts), whatever is written to it. Where a bucket is
 * equal, all keys of it are, at the first moment. Of a bucket that differs every key is read, at a later moment: equal
 * then, or a candidate. A row of a table without a key is its own key: written, it is another row. A row that gets
 * another key, or another piece, is looked at behind all pieces (written-since.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Side } from '../failure.js';
import { earlierLsn, type Lsn } from '../model/lsn.js';
import type { Session } from '../postgres/connect.js';
import type { BucketSums } from './checksum.js';
import type { TableDifference } from './comparison.js';
import { findDifferingRows, type DifferingRows } from './differing.js';
import type { Horizon } from './horizon.js';
import { patientWritersMs, type Moment, type Moments } from './moments.js';
import { bucketsFor } from './pieces.js';
import type { ReadTable, TableReader, Unit } from './reading.js';
import { differingBuckets, groupRows, noRows, type RowGroup, type SideRows } from './rows.js';
import { settle, type Observed } from './settling.js';
import type { Pair } from './sides.js';

/** What came of a piece. */
export type MovingOutcome = {
  /** Of the last moment that the whole piece was read at. */
  readonly sums: Readonly<Record<Side, BucketSums>>;
  /** Rows that differ truly. Where they are not complete, the rest is not known to be equal: nobody looked at it. */
  readonly differing: DifferingRows;
  /** Keys of rows that had changed at every look: neither equal nor different. */
  readonly changing: readonly string[];
  /**
   * Every row that was not written behind this position is equal, but for those that differ. Null where nobody can
   * tell, because the table was written all the while.
   */
  readonly low: Lsn | null;
  /** What the reading of the whole piece has not seen is behind this. */
  readonly horizon: Horizon;
};

// A busy row is equal at one of these looks, or it is one that changes all the time.
const looks = 12;
const firstPauseMs = 50;
const longestPauseMs = 500;

// Rows of busy tables: so many are looked at one by one, more are tried as a whole again.
export const keysAtOnce = 20_000;
const wholeTries = 4;

/** Compares one unit. */
export async function compareMoving(
  moments: Moments,
  reader: TableReader,
  pair: Pair,
  given: Unit,
  signal?: AbortSignal,
): Promise<MovingOutcome> {
  let unit = given;
  const { oid } = unit.table.source;
  const at = <T>(read: (session: Session) => Promise<T>) => moments.read(pair, oid, read);
  for (let attempt = 1; ; attempt += 1) {
    const horizon = await reader.horizon(pair.source);
    const whole = await moments.read(pair, oid, (session) => reader.sums(session, unit), patientWritersMs);
    const { source, target, low } = whole;
    const sums = { source, target };
    const buckets = differingBuckets(source, target).map(({ bucket }) => bucket);
    if (buckets.length === 0) return { sums, differing: nothing, changing: [], low, horizon };
    // Only names the rows to look at: whether they differ is another question.
    const candidates = await findDifferingRows(at, reader, unit, sums);
    if (!candidates.complete) {
      // Statistics said too little: by the rows that were counted the buckets are small enough to be looked into.
      const needed = bucketsFor(Math.max(rowsIn(source), rowsIn(target)));
      if (needed > unit.buckets.count) {
        unit = { ...unit, buckets: { ...unit.buckets, count: needed } };
        attempt -= 1;
        continue;
      }
    }
    const last = attempt === wholeTries;
    const many = !candidates.complete || candidates.keys.length > keysAtOnce;
    if (many && !last) {
      await pauseBefore(attempt * 3, signal);
      continue;
    }
    const keys = candidates.keys.slice(0, keysAtOnce);
    const look =
      unit.table.source.key === null
        ? () => at(async (session) => groupRows(await reader.rows(session, unit, buckets)))
        : lookByKeys(moments, reader, pair, unit.table);
    const { differing, changing } = await settleKeys(keys, look, signal);
    // What was not looked at is not known to be equal.
    const complete = candidates.complete && keys.length === candidates.keys.length;
    return {
      sums,
      differing: { ...differing, complete },
      changing,
      low: complete && changing.length === 0 ? low : null,
      horizon,
    };
  }
}

/** The rows under keys, at a moment. */
export function lookByKeys(moments: Moments, reader: TableReader, pair: Pair, table: ReadTable): Look {
  return (keys) =>
    moments.read(pair, table.source.oid, async (session) =>
      groupRows(await reader.found(session, table, keys)),
    );
}

function rowsIn(sums: BucketSums): number {
  let rows = 0n;
  for (const bucket of sums.values()) rows += bucket.rows;
  return Number(rows);
}

/** What the rows that were found say of their table: equal only where every row that might differ was looked at. */
export function judgeMoving({ keys, complete }: DifferingRows): TableDifference | null {
  if (keys.length > 0) return { kind: 'values' };
  return complete ? null : { kind: 'undecided' };
}

const nothing: DifferingRows = { source: new Map(), target: new Map(), keys: [], complete: true };

type Look = (keys: readonly string[]) => Promise<Moment<SideRows>>;

/** Looks at rows until each is settled, but not for ever: so many times. */
export async function settleKeys(
  keys: readonly string[],
  look: Look,
  signal: AbortSignal | undefined,
  most = looks,
): Promise<{ differing: DifferingRows; changing: readonly string[] }> {
  const found: Record<Side, Map<string, RowGroup>> = { source: new Map(), target: new Map() };
  let pending = keys;
  let before: Observed | null = null;
  for (let round = 1; pending.length > 0 && round <= most; round += 1) {
    if (round > 2) await pauseBefore(round - 2, signal);
    signal?.throwIfAborted();
    const now: Observed = await look(pending);
    const open: string[] = [];
    for (const key of pending) {
      const settled = settle(key, before, now);
      if (settled === 'unsettled') open.push(key);
      if (settled !== 'differs') continue;
      found.source.set(key, now.source.get(key) ?? noRows);
      found.target.set(key, now.target.get(key) ?? noRows);
    }
    pending = open;
    before = now;
  }
  const differingNow = keys.filter((key) => found.source.has(key));
  return { differing: { ...found, keys: differingNow, complete: true }, changing: pending };
}

async function pauseBefore(round: number, signal: AbortSignal | undefined): Promise<void> {
  const milliseconds = Math.min(longestPauseMs, firstPauseMs * 2 ** (round - 1));
  await sleep(milliseconds, undefined, signal === undefined ? {} : { signal }).catch(() => {
    signal?.throwIfAborted();
  });
}

/** Adds up rows that differ: one may be in several. */
export function addDiffering(parts: readonly DifferingRows[]): DifferingRows {
  const all = (side: Side) => new Map(parts.flatMap((part) => [...part[side]]));
  return {
    source: all('source'),
    target: all('target'),
    keys: [...new Set(parts.flatMap(({ keys }) => keys))],
    complete: parts.every(({ complete }) => complete),
  };
}

/** Up to where the rows of all pieces are known to be equal; null where that is not known of one. */
export function lowOf(outcomes: readonly MovingOutcome[]): Lsn | null {
  const [first, ...more] = outcomes.map(({ low }) => low);
  return more.reduce<Lsn | null>(
    (low, one) => (low === null || one === null ? null : earlierLsn(low, one)),
    first ?? null,
  );
}
