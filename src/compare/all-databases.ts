/**
 * A comparison of every database of the source's server that is no template, each with the one of its name on the
 * target, one after the other.
 */
import { databaseDirectory } from '../catalog/work-directory.js';
import { Failure, throwIfStopped } from '../failure.js';
import type { Log } from '../log.js';
import { leftOutBecause } from '../postgres/catalog-lists.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';

export type AllDatabasesOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  /** The work directory of `clone --all-databases`; each database has its own below it. */
  readonly directory: string;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** What is to be compared: one database of both sides. */
export type DatabasePair = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  readonly directory: string;
};

const databasesQuery = `
  select d.datname as name, ${leftOutBecause} as left_out
  from pg_catalog.pg_database d where not d.datistemplate order by d.datname`;

/**
 * Runs `compare` for each. A database of the source that our role cannot connect to is named and left out, as by the
 * clone. Throws `sides-differ` when the target lacks databases, before anything is compared.
 */
export async function compareEachDatabase<T>(
  options: AllDatabasesOptions,
  compare: (pair: DatabasePair) => Promise<T>,
): Promise<T[]> {
  const { source, target, directory, log, signal } = options;
  const fetch = async (side: 'source' | 'target', conninfo: Conninfo) => {
    await using session = await connect(conninfo, {
      side,
      applicationName: 'walferry databases',
      log,
      signal,
    });
    return await session.query(databasesQuery);
  };
  const [onSource, onTarget] = await Promise.all([fetch('source', source), fetch('target', target)]);
  const there = new Set(onTarget.map((row) => row['name']));
  const names = onSource.flatMap((row) => {
    const leftOut = row['left_out'] ?? null;
    if (leftOut === null) return [row['name'] ?? ''];
    log.warn(`database ${row['name']} is left out: ${leftOut}`);
    return [];
  });
  const missing = names.filter((name) => !there.has(name));
  if (missing.length > 0) {
    const list = missing.map((name) => `"${name}"`).join(', ');
    throw new Failure(
      'sides-differ',
      `the target lacks ${missing.length === 1 ? 'the database' : 'databases'} ${list}`,
    );
  }
  const results: T[] = [];
  for (const name of names) {
    throwIfStopped(signal);
    results.push(
      await compare({
        source: { ...source, database: name },
        target: { ...target, database: name },
        directory: databaseDirectory(directory, name),
      }),
    );
  }
  return results;
}
