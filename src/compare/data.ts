/**
 * `compare data`: counts and checksums of every table, computed by the servers, on both sides at the same time.
 *
 *   one session a side: listing of the tables, snapshot ─┬─▶ worker 1: source query ‖ target query
 *                                                        ├─▶ worker 2: …            (a pair of sessions each)
 *                                                        └─▶ worker N (`jobs`)
 *
 * Each side is read at one moment: all of its sessions share a snapshot. The two moments are not the same one, so
 * the comparison means something only while nobody writes to the source, and once the target has caught up.
 *
 * The load is bounded: at most `jobs` queries run on a side, and each reads one table once, in sequence. A server
 * may use parallel workers of its own (max_parallel_workers_per_gather).
 */
import { Failure, throwIfStopped, type Side } from '../failure.js';
import { silentLog, type Log } from '../log.js';
import { relationLabel } from '../model/relation.js';
import { quoteLiteral } from '../model/sql.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { checksumSql, chooseRowHash, probeSql, type HashProbe, type RowHash } from './checksum.js';
import {
  judge,
  planComparison,
  type DataComparison,
  type ListedTable,
  type PlannedTable,
  type TableComparison,
  type TableContents,
  type TableName,
} from './comparison.js';

export type CompareDataOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  /** Tables compared at the same time, hence sessions on each side. */
  readonly jobs: number;
  readonly log?: Log;
  readonly signal?: AbortSignal;
  /** Called once with `done` 0, then after each table. */
  readonly onProgress?: (progress: CompareProgress) => void;
  /** Only these tables; all of the source's unless told. */
  readonly tables?: readonly TableName[];
  /** Tables that are not kept are looked at on neither side: they were left out of the copy. */
  readonly keeps?: ((table: TableName) => boolean) | null;
};

export type CompareProgress = {
  readonly done: number;
  readonly total: number;
  /** The table that was done last. */
  readonly last: TableComparison | null;
};

/**
 * Compares the data of all ordinary tables and leaf partitions, unlogged ones too; not those of extensions, of
 * the schema `walferry`, temporary ones, or the system's. Differences are returned, not thrown.
 */
export async function compareData(options: CompareDataOptions): Promise<DataComparison> {
  const { signal } = options;
  const sessions = new Sessions(options);
  const close = () => void sessions.close();
  signal?.addEventListener('abort', close, { once: true });
  try {
    throwIfStopped(signal);
    return await compareWith(sessions, options);
  } catch (error) {
    if (signal?.aborted === true) {
      throw new Failure('stopped', 'the comparison was stopped as asked', {
        cause: error,
        remedy: 'Nothing was changed: run the same command again.',
      });
    }
    throw error;
  } finally {
    signal?.removeEventListener('abort', close);
    await sessions.close();
  }
}

async function compareWith(sessions: Sessions, options: CompareDataOptions): Promise<DataComparison> {
  const { jobs, log = silentLog, onProgress = () => {} } = options;
  const [source, target] = await Promise.all([sessions.first('source'), sessions.first('target')]);
  const keeps = options.keeps ?? (() => true);
  const list = async (session: Session) => (await listTables(session)).filter(keeps);
  const [sourceTables, targetTables] = await Promise.all([list(source), list(target)]);
  const [sourceProbe, targetProbe] = await Promise.all([probe(source), probe(target)]);
  const hash = chooseRowHash(sourceProbe, targetProbe);
  if (hash.kind === 'sha256') {
    log.notice('the servers do not hash text alike: checksums are made with SHA-256, which is slower', {
      source_encoding: sourceProbe.encoding,
      target_encoding: targetProbe.encoding,
    });
  }

  const plan = planComparison(sourceTables, targetTables, options.tables);
  const results = new Map<PlannedTable, TableComparison>();
  const done = (table: PlannedTable, result: TableComparison) => {
    results.set(table, result);
    onProgress({ done: results.size, total: plan.tables.length, last: result });
  };
  onProgress({ done: 0, total: plan.tables.length, last: null });
  for (const table of plan.tables) {
    if (table.kind !== 'read') done(table, unread(table));
  }
  // The largest first, so that the end is not one worker with a large table.
  const queue = plan.tables.filter((table) => table.kind === 'read').toSorted((a, b) => b.pages - a.pages);

  const work = async (pair: Promise<readonly [Session, Session]>) => {
    const [sourceSession, targetSession] = await pair;
    for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
      const [onSource, onTarget] = await Promise.all([
        readContents(sourceSession, table, table.sourceTree, hash),
        readContents(targetSession, table, table.targetTree, hash),
      ]);
      const { schema, name } = table;
      const difference = judge(onSource, onTarget);
      done(table, { schema, name, source: onSource, target: onTarget, difference });
      log.notice(
        `${relationLabel(table)}: ${onSource.rows} rows, ${difference === null ? 'equal' : 'different'}`,
      );
    }
  };
  const pairs = Array.from({ length: Math.min(jobs, queue.length) }, (_, index) =>
    index === 0
      ? Promise.resolve([source, target] as const)
      : Promise.all([sessions.another('source'), sessions.another('target')] as const),
  );
  await Promise.all(pairs.map(work));

  return {
    database: sourceProbe.database,
    tables: plan.tables.map((table) => results.get(table) ?? unread(table)),
    onlyOnTarget: plan.onlyOnTarget,
  };
}

function unread(table: PlannedTable): TableComparison {
  const { schema, name } = table;
  if (table.kind === 'read') throw new Error(`${relationLabel(table)} was not compared`);
  const difference =
    table.kind === 'missing'
      ? ({ kind: 'missing' } as const)
      : ({ kind: 'columns', missing: table.missing, extra: table.extra } as const);
  return { schema, name, source: null, target: null, difference };
}

/**
 * What connect.ts leaves open. Names in cells (regclass and its like) are quoted alike on both sides. And the server
 * looks now and then whether we are still there, so that a query of hours ends soon after a comparison that was
 * stopped or killed; not every system can.
 */
async function prepareSession(session: Session): Promise<void> {
  await session.query('set quote_all_identifiers = off');
  await session.query(`set client_connection_check_interval = '5s'`).catch(() => {});
}

/** The sessions of both sides; those of a side share one snapshot. */
class Sessions {
  readonly #options: CompareDataOptions;
  readonly #open = new Set<Session>();
  readonly #snapshots: Record<Side, string | null> = { source: null, target: null };
  #closed = false;

  constructor(options: CompareDataOptions) {
    this.#options = options;
  }

  /** The session whose view of the side all others share. */
  async first(side: Side): Promise<Session> {
    const session = await this.#connect(side);
    await session.query(beginSql);
    if (this.#options.jobs > 1) this.#snapshots[side] = await this.#exportSnapshot(session);
    return session;
  }

  async another(side: Side): Promise<Session> {
    const session = await this.#connect(side);
    await session.query(beginSql);
    const snapshot = this.#snapshots[side];
    if (snapshot !== null) await session.query(`set transaction snapshot ${quoteLiteral(snapshot)}`);
    return session;
  }

  /** Ends all of them, also in the middle of a query. */
  async close(): Promise<void> {
    this.#closed = true;
    const sessions = [...this.#open];
    this.#open.clear();
    await Promise.allSettled(sessions.map((session) => session.close()));
  }

  async #connect(side: Side): Promise<Session> {
    const { log, signal } = this.#options;
    const session = await connect(this.#options[side], {
      side,
      applicationName: 'walferry compare',
      ...(log === undefined ? {} : { log }),
      ...(signal === undefined ? {} : { signal }),
    });
    this.#open.add(session);
    if (this.#closed) {
      // A failure elsewhere closed the others while this one was on its way.
      await this.close();
      throw new Failure('stopped', 'the comparison has ended');
    }
    await prepareSession(session);
    return session;
  }

  /** Null where the role may not export one: then every session has a snapshot of its own. */
  async #exportSnapshot(session: Session): Promise<string | null> {
    try {
      const [row] = await session.query('select pg_catalog.pg_export_snapshot() as snapshot');
      return row?.['snapshot'] ?? null;
    } catch (error) {
      if (!(error instanceof Failure) || !error.code.endsWith('-rights')) throw error;
      const { log = silentLog } = this.#options;
      log.notice(
        `the ${session.side} lets this role export no snapshot: tables are read at different moments`,
      );
      await session.query('rollback');
      await session.query(beginSql);
      return null;
    }
  }
}

const beginSql = 'begin isolation level repeatable read, read only';

async function probe(session: Session): Promise<HashProbe & { readonly database: string }> {
  const [row] = await session.query(probeSql);
  return {
    encoding: row?.['encoding'] ?? '',
    hashes: row?.['hashes'] ?? '',
    database: row?.['database'] ?? '',
  };
}

/** All tables with rows of their own, the partitioned ones above them, and their columns; one query for all. */
const listSql = `
  select n.nspname as schema, c.relname as name, c.oid::text as oid, c.relpages::text as pages,
         case when c.relkind = 'p' then 'yes' else 'no' end as partitioned,
         case when c.relispartition then pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid::text end as root,
         (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                   'name', a.attname, 'generated', a.attgenerated <> '') order by a.attnum), '[]')::text
            from pg_catalog.pg_attribute a
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p') and c.relpersistence in ('p', 'u')
     and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'walferry')
     and not exists (
       select 1 from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')`;

async function listTables(session: Session): Promise<ListedTable[]> {
  const rows = await session.query(listSql);
  return rows.map((row) => ({
    schema: row['schema'] ?? '',
    name: row['name'] ?? '',
    oid: row['oid'] ?? '',
    partitioned: row['partitioned'] === 'yes',
    root: row['root'] ?? null,
    columns: JSON.parse(row['columns'] ?? '[]') as ListedTable['columns'],
    pages: Number(row['pages']),
  }));
}

async function readContents(
  session: Session,
  table: TableName & { readonly columns: readonly string[] },
  tree: boolean,
  hash: RowHash,
): Promise<TableContents> {
  const what = `could not read ${relationLabel(table)}`;
  const [row] = await session.query(checksumSql(table, table.columns, tree, hash), [], what);
  return { rows: BigInt(row?.['rows'] ?? 0), checksum: row?.['checksum'] ?? '' };
}
