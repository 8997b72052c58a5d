/**
 * The two servers that all tests of a run share: one is the source, one the target. They are started once, by
 * global-setup.ts, and every test makes its own database there (databases.ts). A test that stops or kills a server
 * starts one of its own with `startCluster` of scripts/clusters/cluster.ts and passes its address to createDatabase.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import {
  type Cluster,
  type ClusterAddress,
  type ClusterOptions,
  clusterUri,
  startCluster,
} from '../../scripts/clusters/cluster.js';

export type ClusterSide = 'source' | 'target';

/** A role that a migration would use: it owns the database, and is no superuser. */
export type TestRole = { readonly name: string; readonly password: string };

/** A server that databases can be made on. */
export type TestServer = { readonly address: ClusterAddress; readonly owner: TestRole };

declare module 'vitest' {
  interface ProvidedContext {
    servers: Readonly<Record<ClusterSide, TestServer>>;
    /** A directory for the default work directories of the programs that tests run. */
    dataHomes: string;
  }
}

/** The shared server of this side. */
export function sharedServer(side: ClusterSide): TestServer {
  return inject('servers')[side];
}

/** A server with the roles of this side, for a test alone: it may be stopped, killed and started again. */
export async function startServer(
  side: ClusterSide,
  options: ClusterOptions = {},
): Promise<TestServer & AsyncDisposable & { readonly cluster: Cluster }> {
  const owner: TestRole = {
    name: side === 'target' ? 'walferry_neon' : 'walferry_owner',
    // Every character that a connection string has to encode.
    password: `p@ss:w/rd?&=%41 'q"\\${randomBytes(4).toString('hex')}`,
  };
  // As on Neon, where nothing is spoken without TLS: an owner who falls back to plain text is found out.
  const hba = [`hostnossl all ${owner.name} all reject`, ...(options.hba ?? [])];
  const cluster = await startCluster({ ...options, hba });
  try {
    await createRoles(side, cluster, owner);
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
  return {
    cluster,
    address: cluster.address,
    owner,
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

async function createRoles(side: ClusterSide, cluster: Cluster, owner: TestRole): Promise<void> {
  const client = new pg.Client({ connectionString: clusterUri(cluster.address, { database: 'postgres' }) });
  await client.connect();
  try {
    const attributes =
      side === 'target'
        ? // What Neon gives to a role made by its console: see the roles page of its documentation.
          'login nosuperuser createdb createrole replication bypassrls'
        : 'login nosuperuser nocreatedb nocreaterole replication nobypassrls';
    const password = client.escapeLiteral(owner.password);
    await client.query(`create role ${owner.name} ${attributes} password ${password}`);
    if (side === 'source') return;
    await client.query(`grant pg_monitor, pg_signal_backend to ${owner.name}`);
    // Since 14.
    const { rows } = await client.query<{ rolname: string }>(
      `select rolname from pg_roles where rolname in ('pg_read_all_data', 'pg_write_all_data')`,
    );
    for (const { rolname } of rows) await client.query(`grant ${rolname} to ${owner.name}`);
  } finally {
    await client.end();
  }
}
