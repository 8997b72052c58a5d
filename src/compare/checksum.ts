/**
 * The statement that sums up a table. Pure.
 *
 * Every row becomes one text, the text becomes a 128-bit hash, and the halves of all hashes are summed up. A sum does
 * not depend on the order of the rows, and unlike xor it counts duplicates. The sums are exact (numeric), so that
 * nothing wraps. Swapped values between two rows change both rows' hashes, hence the sums.
 *
 * The text of a row: an array literal of its cells. Each cell is what its type's output function prints (`concat`
 * calls it; a cast to text may be something else, and for char(n) drops blanks). An array literal tells null from the
 * empty string and quotes by rules that know no locale; a row literal quotes by isspace(), which on macOS takes
 * parts of UTF-8 characters for blanks. `is distinct from null`, because `is not null` is false for a composite value
 * with one null field.
 *
 * The hash: hashtextextended costs next to nothing, but is promised only within one server. So both servers are asked
 * to hash the same probes first, of every length up to several blocks; where they agree, and the bytes of equal text
 * are equal (the same server encoding), it is used. Elsewhere SHA-256 over the text in UTF-8, which is the same
 * everywhere, at about two and a half times the server's time for a narrow row (measured: 0.55 against 1.4 s of CPU
 * for 300,000 rows of 190 bytes).
 *
 * Where differing rows are to be found, the sums are made per *bucket*: a few bits of the row's own hash, or of its
 * key's. Rows of buckets whose sums are equal are equal; only the rows of the others are looked at, whatever order the
 * servers keep them in. So one pass finds the buckets, and a second one the rows: no collation has a say in it.
 *
 * The second pass must see the rows of the same buckets. In one snapshot they are where they were, and the row's own
 * hash costs nothing. While changes flow the second pass sees a later state: there a row that was written in between
 * would be in another bucket by its own hash, and nobody would look at it. By the hash of its key it stays where it is.
 */
import { createHash } from 'node:crypto';
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { TableContents, TableName } from './comparison.js';

/** What a server answered to {@link probeSql}. */
export type HashProbe = { readonly encoding: string; readonly hashes: string };

/** How rows are hashed, on both sides alike. */
export type RowHash =
  | { readonly kind: 'hashtext' }
  /** `encoding` is what the text is converted to; `SQL_ASCII` takes the bytes as they are. */
  | { readonly kind: 'sha256'; readonly encoding: 'UTF8' | 'SQL_ASCII' };

/** Two seeds give two 64-bit hashes that have nothing to do with each other. */
const seeds = [1, 2] as const;

/** The server's encoding, the database's name, and what it makes of probes of 0 to 64 bytes under both seeds. */
export const probeSql = `
  select pg_catalog.current_setting('server_encoding') as encoding, pg_catalog.current_database() as database,
         (select pg_catalog.string_agg(
                   pg_catalog.concat_ws(',',
                     pg_catalog.hashtextextended(pg_catalog.left(probe, length) collate "C", ${seeds[0]}),
                     pg_catalog.hashtextextended(pg_catalog.left(probe, length) collate "C", ${seeds[1]})),
                   ' ' order by length)
            from pg_catalog.generate_series(0, 64) as length,
                 (select pg_catalog.repeat('{1,"a b",NULL,-2.5e7,\\x00ff}', 3) as probe) as probes) as hashes`;

/**
 * Case 1: the same bytes on both sides, hashed alike: hashtext.
 * Case 2: the same bytes, hashed otherwise (another byte order): SHA-256 of the bytes.
 * Case 3: different encodings: SHA-256 of the text in UTF-8.
 * SQL_ASCII says nothing about its bytes: against it, bytes are compared.
 */
export function chooseRowHash(source: HashProbe, target: HashProbe): RowHash {
  const sameBytes =
    source.encoding === target.encoding || source.encoding === 'SQL_ASCII' || target.encoding === 'SQL_ASCII';
  if (!sameBytes) return { kind: 'sha256', encoding: 'UTF8' };
  if (source.hashes === target.hashes) return { kind: 'hashtext' };
  return { kind: 'sha256', encoding: 'SQL_ASCII' };
}

/** What of a table a statement reads. */
export type ReadScope = {
  readonly table: TableName;
  /** The columns of a row, in one order on both sides. */
  readonly columns: readonly string[];
  /** The rows are those of the partitions too. */
  readonly tree: boolean;
  readonly hash: RowHash;
  /** A condition on `t`; null for the whole table. */
  readonly condition: string | null;
};

/** The sums of one bucket. */
export type Sums = { readonly rows: bigint; readonly high: bigint; readonly low: bigint };

/** By bucket; a bucket without rows is not in it. */
export type BucketSums = ReadonlyMap<number, Sums>;

/** How rows are shared out. */
export type Buckets = {
  /** A power of 2. */
  readonly count: number;
  /** The columns whose hash decides, so that a row that is written stays in its bucket; null: the row's own hash does. */
  readonly by: readonly string[] | null;
};

/** Rows: `bucket`, `rows`, `high`, `low`. Of one bucket there is one row, whatever the table holds. */
export function sumsSql(scope: ReadScope, buckets: Buckets): string {
  const bucket = bucketOf(buckets, scope.hash);
  return `
    select ${bucket?.name ?? '0'} as bucket, pg_catalog.count(*)::text as rows, pg_catalog.sum(high)::text as high,
           pg_catalog.sum(low)::text as low
      from (${hashed(scope, bucket?.made)}) as hashed${bucket === null ? '' : `\n     group by ${bucket.name}`}`;
}

/** One row: `rows`. */
export function countSql({ table, tree, condition }: ReadScope): string {
  return `select pg_catalog.count(*)::text as rows from ${from(table, tree, condition)}`;
}

/**
 * The rows of some buckets ($1, an int4 array), each with its hash. With a key: `key`, a JSON array of the key's text,
 * and `version`, which changes whenever the row is written. Without: one row for all equal ones, with `copies`.
 */
export function rowsSql(scope: ReadScope, buckets: Buckets, key: readonly string[] | null): string {
  const bucket = bucketOf(buckets, scope.hash);
  const chosen =
    bucket === null ? '$1::pg_catalog.int4[] is not null' : `${bucket.name} = any ($1::pg_catalog.int4[])`;
  if (key === null) {
    return `
      select high::text || ':' || low::text as hash, pg_catalog.count(*)::text as copies,
             pg_catalog.hashtextextended(pg_catalog.string_agg(version, ' ' order by version collate "C"), 0)::text as version
        from (${hashed(scope, { ...bucket?.made, version: versionText })}) as hashed where ${chosen} group by high, low`;
  }
  return `
    select high::text || ':' || low::text as hash, key, version
      from (${hashed(scope, { ...bucket?.made, key: keyText(key), version: versionText })}) as hashed where ${chosen}`;
}

/** Text of a key, as JSON: the same on both sides for the same values, and readable as a list. */
export function keyText(key: readonly string[]): string {
  return `pg_catalog.array_to_json(array[${key.map(cellText).join(', ')}]::text[])::text`;
}

/** Written anew, a row has another one; only a rewrite of the table changes it as well. */
const versionText = `pg_catalog.concat(t.xmin, '/', t.tableoid, t.ctid)`;

/** The checksum of a side, as the server would print it from its sums. */
export function contentsOf(sums: Iterable<Sums>): TableContents {
  let [rows, high, low] = [0n, 0n, 0n];
  for (const one of sums) {
    rows += one.rows;
    high += one.high;
    low += one.low;
  }
  // An empty table has no sum: its digest is that of the number alone.
  const text = rows === 0n ? '0' : `${rows}:${high}:${low}`;
  return { rows, checksum: createHash('sha256').update(text).digest('hex') };
}

/** The name of a row's bucket, and the column that has to be made for it; null where there is one bucket only. */
function bucketOf(
  { count, by }: Buckets,
  hash: RowHash,
): { readonly name: string; readonly made: Columns } | null {
  if (count === 1) return null;
  const mask = count - 1;
  if (by === null) return { name: `(low & ${mask})::pg_catalog.int4`, made: {} };
  // Two keys that read alike share a bucket, which does no harm.
  const text = `pg_catalog.concat_ws(' ', ${by.map((column) => `t.${quoteIdentifier(column)}`).join(', ')})`;
  const bits =
    hash.kind === 'hashtext'
      ? `pg_catalog.hashtextextended(${text} collate "C", ${seeds[0]})`
      : `('x' || pg_catalog.encode(${sha256(text, hash)}, 'hex'))::bit(32)::int4`;
  return { name: 'bucket', made: { bucket: `(${bits} & ${mask})::pg_catalog.int4` } };
}

function sha256(text: string, { encoding }: Extract<RowHash, { readonly kind: 'sha256' }>): string {
  return `pg_catalog.sha256(pg_catalog.convert_to(${text}, '${encoding}'))`;
}

/**
 * A volatile column beside it makes the planner keep the subquery, hence compute the text once and not for each half.
 * `offset 0` would do so too, but would cost the parallel plan.
 */
const once = 'pg_catalog.clock_timestamp() as once';

/** Columns of a statement by their names. */
type Columns = Readonly<Record<string, string>>;

/** Rows: `high`, `low`, and what else is to be made of a row. */
function hashed({ table, columns, tree, hash, condition }: ReadScope, more: Columns = {}): string {
  const made = Object.entries(more)
    .map(([name, sql]) => `, ${sql} as ${name}`)
    .join('');
  const carried = Object.keys(more)
    .map((name) => `, ${name}`)
    .join('');
  const lines = `select ${rowText(columns)} as line, ${once}${made} from ${from(table, tree, condition)}`;
  if (hash.kind === 'hashtext') {
    const half = (seed: number) => `pg_catalog.hashtextextended(line collate "C", ${seed})`;
    return `select ${half(seeds[0])} as high, ${half(seeds[1])} as low${carried} from (${lines}) as lines`;
  }
  const bits = `('x' || pg_catalog.encode(${sha256('line', hash)}, 'hex'))::bit(128)`;
  return `select bits::bit(64)::int8 as high, (bits << 64)::bit(64)::int8 as low${carried}
            from (select ${bits} as bits, ${once}${carried} from (${lines}) as lines) as digests`;
}

function from(table: TableName, tree: boolean, condition: string | null): string {
  const where = condition === null ? '' : ` where ${condition}`;
  return `${tree ? '' : 'only '}${quoteQualified(table.schema, table.name)} as t${where}`;
}

/** Null, or what the type's output function prints. */
function cellText(column: string): string {
  const name = `t.${quoteIdentifier(column)}`;
  return `case when ${name} is distinct from null then pg_catalog.concat(${name}) end`;
}

function rowText(columns: readonly string[]): string {
  // Rows without columns differ in nothing but their number.
  if (columns.length === 0) return `'{}'::text`;
  return `array[${columns.map(cellText).join(', ')}]::text`;
}

/** One row per row that matches: `key`, and `cells`, a hash for each of the columns (JSON), to see which of them differ. */
export function cellsSql(scope: ReadScope, key: readonly string[]): string {
  const { table, columns, tree, hash, condition } = scope;
  const cell = (column: string) => {
    const text = cellText(column);
    return hash.kind === 'hashtext'
      ? `(pg_catalog.hashtextextended(${text} collate "C", ${seeds[0]}))::text`
      : `pg_catalog.encode(${sha256(text, hash)}, 'hex')`;
  };
  return `select ${keyText(key)} as key, pg_catalog.array_to_json(array[${columns.map(cell).join(', ')}]::text[])::text as cells
    from ${from(table, tree, condition)}`;
}

/** The keys alone of the rows that match. */
export function keysSql({ table, tree, condition }: ReadScope, key: readonly string[]): string {
  return `select ${keyText(key)} as key from ${from(table, tree, condition)}`;
}

/** The rows that match, hashed, with their keys and versions. */
export function foundRowsSql(scope: ReadScope, key: readonly string[]): string {
  return `select high::text || ':' || low::text as hash, key, version
    from (${hashed(scope, { key: keyText(key), version: versionText })}) as hashed`;
}
