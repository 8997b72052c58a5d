/**
 * From differing sums to differing rows.
 *
 * The rows of the buckets whose sums differ are read on both sides, in portions of a bounded number; those that both
 * sides have under the same key and with the same hash fall out. What is left differs: a key on one side only, or on
 * both with other values. Of the rows that are shown each cell is hashed, so that the columns can be named; values
 * stay on the servers, but for those of the key.
 */
import type { Side } from '../failure.js';
import type { Session } from '../postgres/connect.js';
import type { BucketSums } from './checksum.js';
import type { RowDifference, RowDifferences } from './comparison.js';
import type { ReadTable, TableReader, Unit } from './reading.js';
import {
  classify,
  differingBuckets,
  differingKeys,
  groupRows,
  kindOf,
  noRows,
  readKey,
  type HashedRow,
  type SideRows,
} from './rows.js';

/** Reads on both sides, at moments that belong together. */
export type ReadBoth = <T>(read: (session: Session) => Promise<T>) => Promise<Readonly<Record<Side, T>>>;

/** So many rows of a table are named; the rest is counted. */
export const shownRows = 20;

// Of both sides together; about 200 bytes each here.
const rowsAtOnce = 100_000;
// Each portion reads the pieces of the table once more.
const mostPortions = 8;

/** Rows under keys that differ, on both sides. */
export type DifferingRows = {
  readonly source: SideRows;
  readonly target: SideRows;
  /** In order. */
  readonly keys: readonly string[];
  /** False where buckets were not looked at: a row's counterpart may be in one of them. */
  readonly complete: boolean;
};

/** Reads the rows of the buckets that differ. */
export async function findDifferingRows(
  readBoth: ReadBoth,
  reader: TableReader,
  unit: Unit,
  sums: Readonly<Record<Side, BucketSums>>,
): Promise<DifferingRows> {
  const left: Record<Side, HashedRow[]> = { source: [], target: [] };
  const buckets = differingBuckets(sums.source, sums.target);
  let at = 0;
  for (let portion = 0; at < buckets.length && portion < mostPortions; portion += 1) {
    const chosen: number[] = [];
    for (let rows = 0; at < buckets.length; at += 1) {
      const next = buckets[at];
      if (next === undefined || (chosen.length > 0 && rows + next.rows > rowsAtOnce)) break;
      // Equal rows of a table without a key come as one.
      if (next.rows > rowsAtOnce && unit.table.source.key !== null) break;
      rows += next.rows;
      chosen.push(next.bucket);
    }
    if (chosen.length === 0) break;
    const read = await readBoth((session) => reader.rows(session, unit, chosen));
    for (const [side, rows] of Object.entries(leftOf(read.source, read.target))) {
      for (const row of rows) left[side as Side].push(row);
    }
    if (left.source.length + left.target.length > rowsAtOnce) break;
  }
  const [source, target] = [groupRows(left.source), groupRows(left.target)];
  return { source, target, keys: differingKeys(source, target), complete: at >= buckets.length };
}

/** Rows without an equal one on the other side. */
function leftOf(source: readonly HashedRow[], target: readonly HashedRow[]): Record<Side, HashedRow[]> {
  const name = ({ key, hash }: HashedRow) => `${hash} ${key}`;
  const waiting = new Map<string, number>();
  for (const row of target) waiting.set(name(row), (waiting.get(name(row)) ?? 0) + row.copies);
  const keep = (rows: readonly HashedRow[], others: Map<string, number>) =>
    rows.flatMap((row) => {
      const equal = Math.min(row.copies, others.get(name(row)) ?? 0);
      if (equal > 0) others.set(name(row), (others.get(name(row)) ?? 0) - equal);
      return equal === row.copies ? [] : [{ ...row, copies: row.copies - equal }];
    });
  const there = new Map<string, number>();
  for (const row of source) there.set(name(row), (there.get(name(row)) ?? 0) + row.copies);
  return { source: keep(source, waiting), target: keep(target, there) };
}

// Where not all was looked at, so many keys are asked for one by one.
const verifiedKeys = 1000;

/** Counts and names what differs. */
export async function describeDifferingRows(
  readBoth: ReadBoth,
  reader: TableReader,
  table: ReadTable,
  found: DifferingRows,
): Promise<RowDifferences> {
  const { key } = table.source;
  let { source, target, keys } = found;
  if (!found.complete && key !== null) {
    const some = keys.slice(0, verifiedKeys);
    const read = await readBoth((session) => reader.found(session, table, some));
    [source, target] = [groupRows(read.source), groupRows(read.target)];
    keys = differingKeys(source, target);
  }
  const total = { missing: 0, extra: 0, different: 0 };
  for (const one of keys) {
    const counts = classify(source.get(one) ?? noRows, target.get(one) ?? noRows, key !== null);
    total.missing += counts.missing;
    total.extra += counts.extra;
    total.different += counts.different;
  }
  const shown = key === null ? [] : keys.slice(0, shownRows);
  const kinds = new Map(
    shown.map((one) => [one, kindOf(classify(source.get(one) ?? noRows, target.get(one) ?? noRows, true))]),
  );
  const different = shown.filter((one) => kinds.get(one) === 'different');
  const columns = await differingColumns(readBoth, reader, table, different);
  return {
    key,
    ...total,
    complete: found.complete,
    shown: shown.map((one): RowDifference => {
      return { kind: kinds.get(one) ?? 'different', key: readKey(one), columns: columns.get(one) ?? [] };
    }),
  };
}

async function differingColumns(
  readBoth: ReadBoth,
  reader: TableReader,
  table: ReadTable,
  keys: readonly string[],
): Promise<Map<string, string[]>> {
  if (keys.length === 0) return new Map();
  const cells = await readBoth((session) => reader.cells(session, table, keys));
  const names = (key: string) => {
    const [one, other] = [cells.source.get(key), cells.target.get(key)];
    if (one === undefined || other === undefined) return [];
    return table.columns.filter((_, at) => one[at] !== other[at]);
  };
  return new Map(keys.map((key) => [key, names(key)]));
}
