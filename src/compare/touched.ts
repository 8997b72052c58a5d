/**
 * The last comparison, once nobody writes and the target holds everything: of a table that was proven equal while it
 * was followed only the rows that were written since are looked at; every other table is compared as a whole.
 *
 * Why that is enough: a proof says that all rows that were not written behind its position are equal. The record of the
 * applier says which rows it has written, and that it is complete (catalog/touches.ts). A row that the applier did not
 * write is what it was at the proof, on the target. On the source it was not written either: the applier writes
 * whatever is written there, or has stopped with an error before it got this far.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { catalogExists, closeCatalog, openCatalog } from '../catalog/database.js';
import { loadTouchRecord, makeTouchTables, type TouchRecord } from '../catalog/touches.js';
import { silentLog } from '../log.js';
import type { Lsn } from '../model/lsn.js';
import { relationLabel } from '../model/relation.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from '../postgres/connect.js';
import { fetchPosition } from '../postgres/position-row.js';
import type { DataComparison, ListedTable, TableComparison, TableName } from './comparison.js';
import { compareData } from './data.js';
import { compareExtraChildren, withoutDiffering } from './extra-children.js';
import { openComparison } from './opening.js';
import type { CompareDataOptions } from './options.js';
import { describeDifferingRows } from './differing.js';
import type { ReadTable, TableReader } from './reading.js';
import { filesOf } from './proofs.js';
import { differingKeys, groupRows } from './rows.js';
import type { Pair } from './sides.js';

export type CompareTouchedOptions = Omit<CompareDataOptions, 'following' | 'depth' | 'directory'> & {
  /** The work directory of the stream. */
  readonly directory: string;
  readonly key: StreamKey;
};

export type TouchedComparison = DataComparison & {
  /** How many tables were proven before and not written since, proven and looked at in some rows, compared as a whole. */
  readonly reused: { readonly untouched: number; readonly rows: number; readonly whole: number };
};

/** What is left to do for a table. */
export type TouchedVerdict =
  | { readonly kind: 'whole' }
  | { readonly kind: 'rows'; readonly columns: readonly string[]; readonly keys: readonly string[] };

/** More rows than that are read faster as a whole. */
const mostKeys = 100_000;

/**
 * Decides for one table. Pure.
 *
 * 1. The record does not reach to the target's position, or there is none: as a whole.
 * 2. No proof, or one of an earlier epoch, or the table was rewritten or altered since: as a whole.
 * 3. It was written behind the proof in rows that nobody noted: as a whole.
 * 4. The rows that were noted behind the proof; mostly none.
 * A partitioned table that is compared in one piece, and one whose rows were noted by two keys, are compared as a whole.
 */
export function judgeTouched(
  record: TouchRecord,
  table: TableName & { readonly files: string },
  applied: Lsn,
): TouchedVerdict {
  const whole = { kind: 'whole' } as const;
  const isTable = (other: TableName) => other.schema === table.schema && other.name === table.name;
  if (record.state === null || record.state.covered !== applied) return whole; // 1
  const proof = record.proofs.find(isTable);
  if (proof === undefined || proof.epoch !== record.state.epoch || proof.files !== table.files) return whole; // 2
  if (record.tables.some((other) => isTable(other) && other.lsn > proof.lsn)) return whole; // 3
  const noted = record.rows.filter((other) => isTable(other) && other.lsn > proof.lsn);
  const [first] = noted;
  const columns = first?.columns ?? [];
  if (noted.some((one) => one.columns.join('\0') !== columns.join('\0'))) return whole;
  const keys = [...new Set(noted.flatMap((one) => one.keys))];
  return keys.length > mostKeys ? whole : { kind: 'rows', columns, keys }; // 4
}

const coveredMs = 5000;
const lookEveryMs = 10;

/** Compares. Differences are returned, not thrown, as by compareData. */
export async function compareTouched(options: CompareTouchedOptions): Promise<TouchedComparison> {
  const { log = silentLog, signal } = options;
  const outcome = await openComparison({ ...options, following: null }, async (comparison) => {
    const applied = await fetchPosition(comparison.first.target, options.key);
    const record = applied === null ? null : await loadRecord(options.directory, applied, signal);
    const whole: ReadTable[] = [];
    const some: { readonly table: ReadTable; readonly keys: readonly string[] }[] = [];
    const partitioned = record !== null && writtenAsTree(record, comparison.tables.source);
    for (const table of comparison.plan.tables) {
      if (table.kind !== 'read') continue;
      const verdict =
        record === null || applied === null || partitioned || table.sourceTree
          ? ({ kind: 'whole' } as const)
          : judgeTouched(record, { ...table, files: filesOf(table) }, applied);
      const known = (name: string) => table.columns.includes(name);
      if (verdict.kind === 'whole' || !verdict.columns.every(known)) whole.push(table);
      else
        some.push({
          table: { ...table, source: { ...table.source, key: verdict.columns } },
          keys: verdict.keys,
        });
    }
    const results = new Map<string, TableComparison>();
    const queue = [...some];
    const worker = async (pair: Pair) => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        results.set(
          relationLabel(next.table),
          await compareKeys(pair, comparison.reader, next.table, next.keys),
        );
      }
    };
    const jobs = Math.min(options.jobs, Math.max(1, queue.filter(({ keys }) => keys.length > 0).length));
    await Promise.all(
      Array.from({ length: jobs }, async (_, at) =>
        worker(at === 0 ? comparison.first : await comparison.another()),
      ),
    );
    return {
      plan: comparison.plan,
      database: comparison.database,
      whole,
      some,
      results,
      extra: await compareExtraChildren(comparison.first.target, comparison.plan),
      unlogged: comparison.unlogged,
    };
  });
  const { plan, results, whole, some, extra } = outcome;
  const compared =
    whole.length === 0 && plan.tables.every(({ kind }) => kind === 'read')
      ? null
      : await compareData({
          ...options,
          following: null,
          directory: null,
          tables: plan.tables.filter((table) => !results.has(relationLabel(table))),
        });
  for (const table of compared?.tables ?? []) results.set(relationLabel(table), table);
  const rows = some.filter(({ keys }) => keys.length > 0).length;
  const reused = { untouched: some.length - rows, rows, whole: plan.tables.length - some.length };
  log.info(
    `${reused.untouched} tables were proven equal and not written since, ${reused.rows} were compared in the rows written since, ${reused.whole} as a whole`,
  );
  return {
    database: outcome.database,
    tables: [...plan.tables.flatMap((table) => results.get(relationLabel(table)) ?? []), ...extra],
    onlyOnTarget: withoutDiffering(plan, extra),
    unlogged: outcome.unlogged,
    reused,
  };
}

/** The record of the applier, as soon as it reaches to the position; as it is, when it does not within seconds. */
async function loadRecord(
  directory: string,
  applied: Lsn,
  signal: AbortSignal | undefined,
): Promise<TouchRecord | null> {
  if (!catalogExists(directory)) return null;
  const catalog = openCatalog(directory);
  try {
    makeTouchTables(catalog);
    const until = Date.now() + coveredMs;
    for (;;) {
      const record = loadTouchRecord(catalog);
      const covered = record.state?.covered ?? null;
      if (covered === null || covered >= applied || Date.now() >= until) return record;
      signal?.throwIfAborted();
      await sleep(lookEveryMs);
    }
  } finally {
    closeCatalog(catalog);
  }
}

/** Changes that the stream told of a partitioned table, not of its leaves. */
function writtenAsTree(record: TouchRecord, tables: readonly ListedTable[]): boolean {
  const trees = new Set(tables.flatMap((table) => (table.partitioned ? [relationLabel(table)] : [])));
  return [...record.tables, ...record.rows].some((table) => trees.has(relationLabel(table)));
}

async function compareKeys(
  pair: Pair,
  reader: TableReader,
  table: ReadTable,
  keys: readonly string[],
): Promise<TableComparison> {
  const { schema, name } = table;
  const equal: TableComparison = { schema, name, source: null, target: null, difference: null };
  if (keys.length === 0) return equal;
  const both = async <T>(read: (session: Session) => Promise<T>) => {
    const [source, target] = await Promise.all([read(pair.source), read(pair.target)]);
    return { source, target };
  };
  const read = await both((session) => reader.found(session, table, keys));
  const [source, target] = [groupRows(read.source), groupRows(read.target)];
  const differing = differingKeys(source, target);
  if (differing.length === 0) return equal;
  const found = { source, target, keys: differing, complete: true };
  const rows = await describeDifferingRows(both, reader, table, found);
  return { ...equal, difference: { kind: 'values' }, rows };
}
