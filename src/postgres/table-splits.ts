/**
 * Same-table concurrency: how a large table is cut into parts that are copied at the same time, from one snapshot.
 *
 * 1. A key of one integer column (the primary key, else a unique index on all rows) whose values lie in the heap
 *    about in their order: ranges of the key. Their bounds are quantiles of a sample of the table's blocks, so that
 *    gaps and skew leave the parts equal; they are open at both ends, and NULLs are a part of their own.
 * 2. A heap, on a primary of version 14 or later: ranges of blocks (TID range scan), equal by construction.
 * 3. Such a key whatever its order: each part may then read much of the table.
 * 4. Otherwise the table is not split.
 *
 * The predicates are made once and kept with the plan: every row of the snapshot is in exactly one part, and a
 * resumed run has the same parts.
 */
import { quoteIdentifier, quoteQualified } from '../model/sql.js';
import type { Session } from './connect.js';
import { mayBeNull } from './nullable.js';

export type SplitOptions = {
  /** Tables of this size or more are split. */
  readonly largerThanBytes: number;
  /** At most so many parts; null: as many as it takes. */
  readonly maxParts: number | null;
  readonly byCtid: boolean;
};

/** A table's parts: the WHERE conditions, in SQL. */
export type TableSplit = {
  readonly by: 'key' | 'ctid';
  /** The key's column; null for CTID. */
  readonly column: string | null;
  readonly conditions: readonly string[];
};

type SplitTable = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly bytes: number;
};

export type SplitFacts = {
  readonly heap: boolean;
  /** Of the heap alone. */
  readonly pages: number;
  readonly key: {
    readonly column: string;
    readonly nullable: boolean;
    /** How much the heap lies in the key's order, from -1 to 1; null when never analysed. */
    readonly correlation: number | null;
  } | null;
};

/** How many parts a table of this size gets; 1 when it is not split. */
export function partsOf(bytes: number, { largerThanBytes, maxParts }: SplitOptions): number {
  if (largerThanBytes <= 0 || bytes < largerThanBytes) return 1;
  return Math.max(1, Math.min(Math.ceil(bytes / largerThanBytes), maxParts ?? Number.POSITIVE_INFINITY));
}

const inOrder = 0.5;

/** The decision; the numbers are those of the head of this file. */
export function chooseSplit(
  facts: SplitFacts,
  server: { readonly byCtid: boolean; readonly version: number; readonly inRecovery: boolean },
): 'key' | 'ctid' | null {
  const byCtid = server.byCtid && facts.heap && server.version >= 140_000 && !server.inRecovery;
  const { key } = facts;
  if (key !== null && (key.correlation === null || Math.abs(key.correlation) >= inOrder)) return 'key'; // 1
  if (byCtid) return 'ctid'; // 2
  return key === null ? null : 'key'; // 3, 4
}

/** Conditions that share out all blocks; the last has no end, since the heap may have grown. */
export function ctidConditions(pages: number, parts: number): string[] {
  const starts = Array.from({ length: parts }, (_, part) => Math.floor((pages * part) / parts));
  const distinct = [...new Set(starts)];
  return distinct.map((start, index) => {
    const end = distinct[index + 1];
    const from = `ctid >= '(${start},0)'::pg_catalog.tid`;
    return end === undefined ? from : `${from} and ctid < '(${end},0)'::pg_catalog.tid`;
  });
}

/** Conditions for the ranges between ascending, distinct bounds, which belong to the range above them. */
export function keyConditions(column: string, bounds: readonly bigint[], nullable: boolean): string[] {
  const name = quoteIdentifier(column);
  const conditions: string[] = [];
  for (let part = 0; part <= bounds.length; part += 1) {
    const [from, to] = [bounds[part - 1], bounds[part]];
    const ends = [
      ...(from === undefined ? [] : [`${name} >= ${literal(from)}`]),
      ...(to === undefined ? [] : [`${name} < ${literal(to)}`]),
    ];
    conditions.push(ends.length === 0 ? `${name} is not null` : ends.join(' and '));
  }
  return nullable ? [...conditions, `${name} is null`] : conditions;
}

/** What a part holds, for people: null is no bound. Both are in the part. */
export type PartBounds = { readonly min: bigint | null; readonly max: bigint | null };

/** Reads a condition of ours back: of values of the key, or of blocks for CTID. The part of the NULLs has no bounds. */
export function partBounds(condition: string): PartBounds {
  const min = />= '\(?(-?\d+)/.exec(condition)?.[1];
  const end = /< '\(?(-?\d+)/.exec(condition)?.[1];
  return {
    min: min === undefined ? null : BigInt(min),
    max: end === undefined ? null : BigInt(end) - 1n,
  };
}

/** A negative number without quotes would be an expression, and the smallest bigint none at all. */
function literal(value: bigint): string {
  return `'${value}'::pg_catalog.int8`;
}

const factsQuery = `
  select c.oid, am.amname = 'heap' as heap,
    pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint as pages,
    k.attname as column, k.nullable, s.correlation
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join pg_catalog.pg_am am on am.oid = c.relam
  left join lateral (
    select a.attname, ${mayBeNull('a')} as nullable from pg_catalog.pg_index i
    join pg_catalog.pg_class x on x.oid = i.indexrelid
    join pg_catalog.pg_am m on m.oid = x.relam and m.amname = 'btree'
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indnkeyatts = 1 and i.indpred is null
      and a.atttypid in ('int2'::pg_catalog.regtype, 'int4'::pg_catalog.regtype, 'int8'::pg_catalog.regtype)
    order by i.indisprimary desc, i.indexrelid limit 1
  ) k on true
  left join pg_catalog.pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname
    and s.attname = k.attname and not s.inherited
  where c.oid = any ($1::pg_catalog.oid[])`;

/** The splits of those tables that are large enough, by OID. The session is in the snapshot. */
export async function fetchSplits(
  session: Session,
  tables: readonly SplitTable[],
  options: SplitOptions,
): Promise<Record<string, TableSplit>> {
  const large = new Map(
    tables.filter(({ bytes }) => partsOf(bytes, options) > 1).map((table) => [table.oid, table]),
  );
  const splits: Record<string, TableSplit> = {};
  if (large.size === 0) return splits;
  const server = {
    byCtid: options.byCtid,
    version: session.serverVersion,
    inRecovery: session.inRecovery,
  };
  for (const row of await session.query(factsQuery, [`{${[...large.keys()].join(',')}}`])) {
    const table = large.get(Number(row['oid']));
    if (table === undefined) continue;
    const column = row['column'] ?? null;
    const facts: SplitFacts = {
      heap: row['heap'] === 't',
      pages: Number(row['pages']),
      key:
        column === null
          ? null
          : {
              column,
              nullable: row['nullable'] === 't',
              correlation: readNumber(row['correlation']),
            },
    };
    const split = await splitTable(session, table, facts, chooseSplit(facts, server), options);
    if (split !== null && split.conditions.length > 1) splits[String(table.oid)] = split;
  }
  return splits;
}

async function splitTable(
  session: Session,
  table: SplitTable,
  facts: SplitFacts,
  by: 'key' | 'ctid' | null,
  options: SplitOptions,
): Promise<TableSplit | null> {
  const parts = partsOf(table.bytes, options);
  if (by === null) return null;
  if (by === 'ctid') return { by, column: null, conditions: ctidConditions(facts.pages, parts) };
  if (facts.key === null) return null;
  const { column, nullable } = facts.key;
  const bounds = await fetchBounds(session, table, column, facts.pages, parts);
  return { by, column, conditions: keyConditions(column, bounds, nullable) };
}

// Enough blocks that a part's size is off by a few percent: a hundred rows for each part, and never a handful only.
const sampledPagesAtLeast = 400;
const sampledPagesPerPart = 20;

/** Values of the key that cut the table into parts of equally many rows, as far as a sample tells. */
async function fetchBounds(
  session: Session,
  table: SplitTable,
  column: string,
  pages: number,
  parts: number,
): Promise<bigint[]> {
  const fractions = Array.from({ length: parts - 1 }, (_, index) => (index + 1) / parts);
  const wanted = Math.max(sampledPagesAtLeast, sampledPagesPerPart * parts);
  const percent = Math.min(100, Math.max(0.0001, (100 * wanted) / Math.max(pages, 1)));
  const rows = await session.query(
    `select distinct pg_catalog.unnest(pg_catalog.percentile_disc($1::float8[])
       within group (order by ${quoteIdentifier(column)}))::text as bound
     from only ${quoteQualified(table.schema, table.name)} tablesample system (${percent}) repeatable (1)`,
    [`{${fractions.join(',')}}`],
    `could not look for the bounds of the parts of ${table.schema}.${table.name}`,
  );
  return rows
    .flatMap((row) => (typeof row['bound'] === 'string' ? [BigInt(row['bound'])] : []))
    .toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

function readNumber(text: string | null | undefined): number | null {
  return typeof text === 'string' ? Number(text) : null;
}
