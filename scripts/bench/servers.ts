/** The two servers of a benchmark: fsync on, no autovacuum, the same settings on both. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import pg from 'pg';
import { compareData } from '../../src/compare/data.js';
import { sidesDiffer } from '../../src/compare/comparison.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { type Cluster, startCluster } from '../clusters/cluster.js';

export type BenchServers = AsyncDisposable & { readonly source: Cluster; readonly target: Cluster };

export const serverSettings = {
  fsync: 'on',
  synchronous_commit: 'on',
  autovacuum: 'off',
  shared_buffers: '256MB',
  maintenance_work_mem: '256MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '30min',
};

export async function startServers(): Promise<BenchServers> {
  const [source, target] = await Promise.all([
    startCluster({ settings: serverSettings }),
    startCluster({ settings: serverSettings }),
  ]);
  return {
    source,
    target,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([source[Symbol.asyncDispose](), target[Symbol.asyncDispose]()]);
    },
  };
}

/** A new database; its name tells what for. */
export async function createDatabase(cluster: Cluster, purpose: string): Promise<string> {
  const name = `${purpose}_${randomBytes(4).toString('hex')}`;
  await execute(cluster.uri({ database: 'postgres' }), `create database ${name} template template0`);
  return name;
}

/** Also when somebody is still connected. A subscription in it must be gone. */
export async function dropDatabase(cluster: Cluster, name: string): Promise<void> {
  await execute(cluster.uri({ database: 'postgres' }), `drop database ${name} with (force)`);
}

/** Runs statements one by one, each a transaction of its own, and gives the rows of the last one. */
export async function execute(uri: string, ...statements: string[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: uri, application_name: 'bench' });
  await client.connect();
  try {
    let rows: Record<string, unknown>[] = [];
    for (const statement of statements) {
      rows = (await client.query<Record<string, unknown>>(statement)).rows;
    }
    return rows;
  } finally {
    await client.end();
  }
}

/** Throws when a table differs: such a time does not count. */
export async function expectEqual({
  sourceUri,
  targetUri,
}: {
  readonly sourceUri: string;
  readonly targetUri: string;
}): Promise<void> {
  const failure = sidesDiffer(
    await compareData({
      source: readConninfo(sourceUri, {}),
      target: readConninfo(targetUri, {}),
      jobs: 2,
    }),
  );
  if (failure !== null) throw failure;
}

const executeFile = promisify(execFile);

/** Runs a program to its end; throws with its words when it fails. */
export async function runProgram(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { stdout } = await executeFile(program, [...args], {
    env: { ...process.env, ...environment },
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}
