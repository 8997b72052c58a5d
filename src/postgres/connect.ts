import pg from 'pg';
import type { Side } from '../failure.js';
import type { Log } from '../log.js';
import type { Conninfo } from './connection-string.js';

export type ConnectOptions = {
  readonly side: Side;
  /** Shown in pg_stat_activity, for example `walferry copy`. */
  readonly applicationName: string;
  readonly signal?: AbortSignal;
  /** How long an unreachable server is tried again, in milliseconds. */
  readonly retryForMs?: number;
  readonly log?: Log;
  /** A walsender connection (`replication=database`). */
  readonly replication?: boolean;
};

/** A row as the server printed it: every value is text or null. */
export type TextRow = Readonly<Record<string, string | null>>;

/** One connection to one side. Every value it returns is the server's text. */
export class Session {
  readonly side: Side;
  readonly client: pg.Client;
  /** server_version_num, for example 150020. */
  readonly serverVersion: number;

  constructor(side: Side, client: pg.Client, serverVersion: number) {
    this.side = side;
    this.client = client;
    this.serverVersion = serverVersion;
  }

  /** Runs one statement; rows are text. A server error becomes a Failure with the side's code. */
  async query(sql: string, values: readonly (string | null)[] = []): Promise<TextRow[]> {
    const result = await this.client.query<Record<string, string | null>>(sql, [...values]);
    return result.rows;
  }

  async close(): Promise<void> {
    await this.client.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Opens a connection, with our session settings. */
export async function connect(conninfo: Conninfo, options: ConnectOptions): Promise<Session> {
  const client = new pg.Client({
    host: conninfo.host,
    port: conninfo.port,
    user: conninfo.user,
    password: conninfo.password ?? undefined,
    database: conninfo.database,
    application_name: options.applicationName,
    types: { getTypeParser: () => (value: string) => value } as never,
    ...(options.replication === true ? { replication: 'database' } : {}),
  } as pg.ClientConfig);
  await client.connect();
  return new Session(options.side, client, 0);
}
