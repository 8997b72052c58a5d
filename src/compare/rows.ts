/** Which rows differ: from rows of both sides, by key and hash. Pure. */
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import type { ListedColumn, RowDifference } from './comparison.js';
import type { BucketSums, Sums } from './checksum.js';

/** A row as a side gave it. Without a key its hash stands for it, and `copies` counts its equals. */
export type HashedRow = {
  readonly key: string;
  readonly hash: string;
  readonly version: string;
  readonly copies: number;
};

/** All rows of one side under one key: mostly one, more where the target's key is not unique, or there is no key. */
export type RowGroup = { readonly hashes: ReadonlyMap<string, number>; readonly version: string };

export type SideRows = ReadonlyMap<string, RowGroup>;

export const noRows: RowGroup = { hashes: new Map(), version: '' };

/** Rows by key. */
export function groupRows(rows: readonly HashedRow[]): Map<string, RowGroup> {
  const groups = new Map<string, { hashes: Map<string, number>; versions: string[] }>();
  for (const { key, hash, version, copies } of rows) {
    let group = groups.get(key);
    if (group === undefined) groups.set(key, (group = { hashes: new Map(), versions: [] }));
    group.hashes.set(hash, (group.hashes.get(hash) ?? 0) + copies);
    group.versions.push(version);
  }
  return new Map(
    [...groups].map(([key, { hashes, versions }]) => [
      key,
      { hashes, version: versions.toSorted().join(' ') },
    ]),
  );
}

/** How many rows of the first are not in the second. */
export function surplus(one: RowGroup, other: RowGroup): number {
  let count = 0;
  for (const [hash, copies] of one.hashes) count += Math.max(0, copies - (other.hashes.get(hash) ?? 0));
  return count;
}

/** Keys under which the sides hold other rows, in the order of their text. */
export function differingKeys(source: SideRows, target: SideRows): string[] {
  const keys = new Set([...source.keys(), ...target.keys()]);
  return [...keys]
    .filter((key) => {
      const [onSource, onTarget] = [source.get(key) ?? noRows, target.get(key) ?? noRows];
      return surplus(onSource, onTarget) > 0 || surplus(onTarget, onSource) > 0;
    })
    .toSorted(compareKeys);
}

/** What the difference under one key comes to. */
export function classify(
  source: RowGroup,
  target: RowGroup,
  keyed: boolean,
): { readonly missing: number; readonly extra: number; readonly different: number } {
  const [missing, extra] = [surplus(source, target), surplus(target, source)];
  const different = keyed ? Math.min(missing, extra) : 0;
  return { missing: missing - different, extra: extra - different, different };
}

/** The word for a key's difference; a key that is there with other values on both sides is `different`. */
export function kindOf(counts: ReturnType<typeof classify>): RowDifference['kind'] {
  if (counts.different > 0) return 'different';
  return counts.missing > 0 ? 'missing' : 'extra';
}

/** Numbers by their size, everything else by code unit. */
function compareKeys(a: string, b: string): number {
  const [one, other] = [readKey(a), readKey(b)];
  for (let at = 0; at < Math.max(one.length, other.length); at += 1) {
    const [left, right] = [one[at] ?? '', other[at] ?? ''];
    if (left === right) continue;
    if (/^-?\d{1,18}$/.test(left) && /^-?\d{1,18}$/.test(right)) return BigInt(left) < BigInt(right) ? -1 : 1;
    return left < right ? -1 : 1;
  }
  return 0;
}

/** The values of a key. The hash that stands for a row without one is itself. */
export function readKey(key: string): (string | null)[] {
  return key.startsWith('[') ? (JSON.parse(key) as (string | null)[]) : [key];
}

const noSums: Sums = { rows: 0n, high: 0n, low: 0n };

/** Buckets whose sums differ, the smallest first, so that a bound on the rows looked at covers as many as it can. */
export function differingBuckets(source: BucketSums, target: BucketSums): { bucket: number; rows: number }[] {
  const buckets = new Set([...source.keys(), ...target.keys()]);
  return [...buckets]
    .flatMap((bucket) => {
      const [one, other] = [source.get(bucket) ?? noSums, target.get(bucket) ?? noSums];
      const equal = one.rows === other.rows && one.high === other.high && one.low === other.low;
      return equal ? [] : [{ bucket, rows: Number(one.rows + other.rows) }];
    })
    .toSorted((a, b) => a.rows - b.rows || a.bucket - b.bucket);
}

/** Adds up the sums of pieces. */
export function addSums(pieces: readonly BucketSums[]): BucketSums {
  const total = new Map<number, Sums>();
  for (const piece of pieces) {
    for (const [bucket, { rows, high, low }] of piece) {
      const so = total.get(bucket) ?? noSums;
      total.set(bucket, { rows: so.rows + rows, high: so.high + high, low: so.low + low });
    }
  }
  return total;
}

/** A condition that finds rows by their keys: by an index where the type's own equality can be used. */
export function keyCondition(
  columns: readonly Pick<ListedColumn, 'name' | 'type' | 'comparable'>[],
  keys: readonly string[],
): string {
  const sides = columns.map(({ name, comparable }) =>
    comparable ? `t.${quoteIdentifier(name)}` : `pg_catalog.concat(t.${quoteIdentifier(name)})`,
  );
  const values = keys.map((key) =>
    readKey(key).map((value, at) => {
      const column = columns[at];
      const text = quoteLiteral(value ?? '');
      return column?.comparable === true ? `${text}::${column.type}` : text;
    }),
  );
  const [first] = sides;
  if (first === undefined || values.length === 0) return 'false';
  if (sides.length === 1) return `${first} in (${values.flat().join(', ')})`;
  return `(${sides.join(', ')}) in (${values.map((row) => `(${row.join(', ')})`).join(', ')})`;
}
