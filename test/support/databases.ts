/** A database per test, on the shared servers unless told otherwise, gone when the test ends. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { clusterUri } from '../../scripts/clusters/cluster.js';
import { type ClusterSide, type TestServer, sharedServer } from './clusters.js';
import { until } from './until.js';

/** Every value is the server's text, or null. */
export type TestRow = Record<string, string | null>;

export type TestDatabase = AsyncDisposable & {
  readonly side: ClusterSide;
  readonly name: string;
  /** As the bootstrap superuser. */
  readonly uri: string;
  /**
   * As the role who owns the database, over TLS. On the target a role like Neon's, on the source an ordinary one with
   * REPLICATION. What `sql` creates belongs to the superuser: use `sqlAsOwner` where the owner is to own it.
   */
  readonly neonUri: string;
  /** The authority that signed the server's certificate, for sslrootcert. */
  readonly authorityFile: string;
  /** Runs statements on one session that stays open, as the superuser; returns the last one's rows. */
  readonly sql: (text: string) => Promise<TestRow[]>;
  /** As sql, on a session of the owner. */
  readonly sqlAsOwner: (text: string) => Promise<TestRow[]>;
  /** Another session, to be used at the same time; closed with the database. */
  readonly session: (as?: 'superuser' | 'owner') => Promise<TestSession>;
};

export type TestSession = AsyncDisposable & {
  sql(text: string): Promise<TestRow[]>;
};

export type DatabaseOptions = {
  /** The server to make it on; the shared one of the side unless told. */
  readonly server?: TestServer;
  /** More of CREATE DATABASE, for example `encoding 'SQL_ASCII'`. */
  readonly properties?: string;
};

/** Makes an empty database that belongs to the server's ordinary role. */
export async function createDatabase(
  side: ClusterSide,
  options: DatabaseOptions = {},
): Promise<TestDatabase> {
  const { address, owner } = options.server ?? sharedServer(side);
  const name = `test_${randomBytes(6).toString('hex')}`;
  const uri = clusterUri(address, { database: name });
  const neonUri = clusterUri(address, {
    database: name,
    user: owner.name,
    password: owner.password,
    parameters: { sslmode: 'require' },
  });
  // Over the socket nobody asks for the password, which is half of what a connection takes.
  const administration = {
    host: address.socketDirectory,
    port: address.port,
    user: 'postgres',
    database: 'postgres',
  };
  await onSession(administration, (sql) =>
    sql(`create database ${name} template template0 owner ${owner.name} ${options.properties ?? ''}`),
  );

  const sessions: LazySession[] = [];
  const open = (sessionUri: string) => {
    const session = new LazySession(sessionUri);
    sessions.push(session);
    return session;
  };
  // pg reads `sslmode=require` as verify-full: the owner's sessions are told the authority.
  const ownerUri = `${neonUri.replace('sslmode=require', 'sslmode=verify-full')}&sslrootcert=${encodeURIComponent(address.authorityFile)}`;
  const superuser = open(uri);
  const ordinary = open(ownerUri);
  return {
    side,
    name,
    uri,
    neonUri,
    authorityFile: address.authorityFile,
    sql: (text) => superuser.sql(text),
    sqlAsOwner: (text) => ordinary.sql(text),
    session: async (as = 'superuser') => {
      const session = open(as === 'owner' ? ownerUri : uri);
      await session.sql('select 1');
      return session;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(sessions.map((session) => session[Symbol.asyncDispose]()));
      await onSession(administration, async (sql) => {
        await rollBackPrepared(sql, name, uri);
        await dropSlots(sql, name);
        await sql(`drop database ${name} with (force)`);
      });
    },
  };
}

/** Connects at the first statement, and again after the server went away. */
class LazySession implements TestSession {
  readonly #uri: string;
  #client: pg.Client | null = null;

  constructor(uri: string) {
    this.#uri = uri;
  }

  async sql(text: string): Promise<TestRow[]> {
    if (this.#client === null) {
      const client = await connect(this.#uri);
      client.once('end', () => {
        if (this.#client === client) this.#client = null;
      });
      this.#client = client;
    }
    return query(this.#client, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.end();
    this.#client = null;
  }
}

/** To a connection URI, or to a server's socket. */
async function connect(to: string | pg.ClientConfig): Promise<pg.Client> {
  const place = typeof to === 'string' ? { connectionString: to } : to;
  const client = new pg.Client({ ...place, application_name: 'test' });
  // The server may be stopped or killed below an idle session; the next statement connects anew.
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function query(client: pg.Client, text: string): Promise<TestRow[]> {
  const asText = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig;
  const results: pg.QueryResult<TestRow> | pg.QueryResult<TestRow>[] = await client.query<TestRow>({
    text,
    types: asText,
  });
  const last = Array.isArray(results) ? (results as pg.QueryResult<TestRow>[]).at(-1) : results;
  return last?.rows ?? [];
}

type RunSql = (text: string) => Promise<TestRow[]>;

async function onSession(
  to: string | pg.ClientConfig,
  work: (sql: RunSql) => Promise<unknown>,
): Promise<void> {
  const client = await connect(to);
  try {
    await work((text) => query(client, text));
  } finally {
    await client.end();
  }
}

/** A prepared transaction holds its database, and can be ended only from inside it. */
async function rollBackPrepared(sql: RunSql, database: string, uri: string): Promise<void> {
  const rows = await sql(
    `select quote_literal(gid) as gid from pg_prepared_xacts where database = '${database}'`,
  );
  if (rows.length === 0) return;
  await onSession(uri, async (inside) => {
    for (const { gid } of rows) await inside(`rollback prepared ${gid}`);
  });
}

/** A walsender that was told to end holds its slot until it is gone. */
async function dropSlots(sql: RunSql, database: string): Promise<void> {
  await sql(
    `select pg_terminate_backend(active_pid) from pg_replication_slots
     where database = '${database}' and active_pid is not null`,
  );
  await until(`the slots of ${database} are free`, async () => {
    await sql(
      `select pg_drop_replication_slot(slot_name) from pg_replication_slots
       where database = '${database}' and active_pid is null`,
    );
    const left = await sql(
      `select pg_terminate_backend(active_pid) from pg_replication_slots where database = '${database}'`,
    );
    return left.length === 0;
  });
}
