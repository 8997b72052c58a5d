/** Both sides of a comparison: opened, listed, and closed whatever happens. */
import { Failure, throwIfStopped, type Side } from '../failure.js';
import { silentLog } from '../log.js';
import { partsByName } from '../model/published-part.js';
import type { Session } from '../postgres/connect.js';
import { chooseRowHash, probeSql, type HashProbe } from './checksum.js';
import {
  leaveOutUnlogged,
  planComparison,
  type ComparisonPlan,
  type ListedTable,
  type TableName,
} from './comparison.js';
import type { CompareDataOptions } from './options.js';
import { TableReader } from './reading.js';
import { Sides, type Pair } from './sides.js';
import { listTables } from './tables.js';

/** Both sides, listed and ready to be read. */
export type OpenComparison = {
  readonly plan: ComparisonPlan;
  /** Tables left out of the plan, see `loggedOnly`. */
  readonly unlogged: readonly TableName[];
  readonly tables: Readonly<Record<Side, readonly ListedTable[]>>;
  /** The source database's name. */
  readonly database: string;
  readonly reader: TableReader;
  readonly first: Pair;
  /** More sessions, with the same view of their sides. */
  readonly another: () => Promise<Pair>;
};

/** Opens both sides for `run`, and closes them when it has ended, or the signal is set. */
export async function openComparison<T>(
  options: CompareDataOptions,
  run: (comparison: OpenComparison) => Promise<T>,
): Promise<T> {
  const { source, target, jobs, ahead, log, signal } = options;
  const still = (options.following ?? null) === null;
  const sides = new Sides({ source, target, shareSnapshot: jobs > 1, still, ahead, log, signal });
  const close = () => void sides.close();
  signal?.addEventListener('abort', close, { once: true });
  try {
    throwIfStopped(signal);
    return await run(await list(sides, options));
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
    await sides.close();
  }
}

async function list(sides: Sides, options: CompareDataOptions): Promise<OpenComparison> {
  const { log = silentLog } = options;
  const first = await sides.first();
  const keeps = options.keeps ?? (() => true);
  const listSide = async (session: Session) => (await listTables(session)).filter(keeps);
  const [source, target] = await Promise.all([listSide(first.source), listSide(first.target)]);
  const [sourceProbe, targetProbe] = await Promise.all([probe(first.source), probe(first.target)]);
  const hash = chooseRowHash(sourceProbe, targetProbe);
  if (hash.kind === 'sha256') {
    log.notice('the servers do not hash text alike: checksums are made with SHA-256, which is slower', {
      source_encoding: sourceProbe.encoding,
      target_encoding: targetProbe.encoding,
    });
  }
  const all = planComparison(source, target, options.tables, partsByName(options.parts ?? []));
  const { unlogged, ...plan } =
    options.loggedOnly === true ? leaveOutUnlogged(all) : { ...all, unlogged: [] };
  return {
    plan,
    unlogged,
    tables: { source, target },
    database: sourceProbe.database,
    reader: new TableReader(hash),
    first,
    another: () => sides.another(),
  };
}

async function probe(session: Session): Promise<HashProbe & { readonly database: string }> {
  const [row] = await session.query(probeSql);
  return {
    encoding: row?.['encoding'] ?? '',
    hashes: row?.['hashes'] ?? '',
    database: row?.['database'] ?? '',
  };
}
