/** The demo's two servers: a source with an ordinary owner, a target with a role like Neon's. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type Cluster, startCluster } from '../clusters/cluster.js';

export type DemoServers = AsyncDisposable & {
  readonly source: DemoServer;
  readonly target: DemoServer;
};

export type DemoServer = {
  readonly cluster: Cluster;
  /** As the owner of the database `shop`, over TLS. */
  readonly uri: string;
  /** As the owner too, without TLS: what pg understands by it differs from libpq. */
  readonly plainUri: string;
};

/** Logical decoding needs `wal_level`, which the cluster starter sets; WAL on a demo's disk is kept small. */
const settings = { shared_buffers: '128MB', max_wal_size: '1GB' };

/** Starts both; disposing of the result stops them and removes their files. */
export async function startServers(): Promise<DemoServers> {
  const [source, target] = await Promise.all([
    // Owns its database and may replicate: no superuser.
    startServer('shop_owner', 'login nosuperuser replication'),
    // What Neon gives to a role made by its console.
    startServer('neon_owner', 'login nosuperuser createdb createrole replication bypassrls'),
  ]);
  return {
    source,
    target,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([source.cluster[Symbol.asyncDispose](), target.cluster[Symbol.asyncDispose]()]);
    },
  };
}

async function startServer(role: string, attributes: string): Promise<DemoServer> {
  const cluster = await startCluster({ settings });
  const password = randomBytes(12).toString('hex');
  const client = new pg.Client({ connectionString: cluster.uri({ database: 'postgres' }) });
  await client.connect();
  try {
    await client.query(`create role ${role} ${attributes} password '${password}'`);
    await client.query(`create database shop template template0 owner ${role}`);
  } finally {
    await client.end();
  }
  const login = { database: 'shop', user: role, password };
  return {
    cluster,
    uri: cluster.uri({ ...login, parameters: { sslmode: 'require' } }),
    plainUri: cluster.uri(login),
  };
}

/** One statement after the other on a connection of its own. */
export async function onDatabase<T>(uri: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: uri });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
