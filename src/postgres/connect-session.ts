import type pg from 'pg';
import type { Failure, Side } from '../failure.js';
import { serverFailure } from './sqlstate.js';

/** A row as the server printed it: every value is text or null. */
export type TextRow = Readonly<Record<string, string | null>>;

export type RunResult = {
  readonly rows: readonly TextRow[];
  /** The word of the command tag, for example `INSERT`. */
  readonly command: string;
  /** The count in the command tag; null where it has none. */
  readonly count: number | null;
};

/** How safe the connection came out to be. */
export type LoginFacts = {
  /** Null for a plain connection. */
  readonly tls: { readonly protocol: string; readonly cipher: string } | null;
  /** Whether the server's certificate was checked against an authority. */
  readonly verified: boolean;
  /** The way to log in that the server asked for, in the words of require_auth. */
  readonly method: 'none' | 'password' | 'md5' | 'scram-sha-256';
  /** Whether the login was bound to the TLS channel (SCRAM-SHA-256-PLUS). */
  readonly bound: boolean;
};

/** A server's process. */
export type Backend = {
  /** As pg_stat_activity shows it: behind a proxy it is not the one of the login. */
  readonly pid: number;
  /** When it started (`backendStart`), since ids are used again; null where that was not asked for, or is hidden. */
  readonly start: string | null;
};

/** What a session knows of its server from the login. */
export type SessionFacts = {
  readonly login: LoginFacts;
  /** server_version_num, for example 150020. */
  readonly serverVersion: number;
  readonly backend: Backend;
  /** Whether the server was a standby at the login. */
  readonly inRecovery: boolean;
  /** Parameters that the server reports by itself, kept up to date: server_encoding, TimeZone and others. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Asks the server to cancel what this session runs, over a connection of its own. */
  readonly cancel: () => Promise<void>;
};

/** A peer that does not answer to the goodbye does not hold up the end of a run. */
const goodbyeMs = 2000;

/** One connection to one side. Every value it returns is the server's text. */
export class Session {
  readonly side: Side;
  readonly client: pg.Client;
  /** server_version_num, for example 150020. */
  readonly serverVersion: number;
  readonly #facts: SessionFacts;
  #lost: Failure | null = null;
  #closing = false;

  constructor(side: Side, client: pg.Client, facts: SessionFacts) {
    this.side = side;
    this.client = client;
    this.serverVersion = facts.serverVersion;
    this.#facts = facts;
    // A connection that breaks while nobody waits for an answer must not end the process: the next query tells.
    client.on('error', (error) => {
      if (!this.#closing) this.#lost ??= serverFailure(error, side, 'the connection broke');
    });
  }

  /** The backend's own process id, as pg_stat_activity shows it. */
  get backendPid(): number {
    return this.#facts.backend.pid;
  }

  /** The server's process at the other end. */
  get backend(): Backend {
    return this.#facts.backend;
  }

  /** Whether the server was a standby at the login; `fetchIsInRecovery` asks again. */
  get inRecovery(): boolean {
    return this.#facts.inRecovery;
  }

  /** TLS and login as they were negotiated. */
  get login(): LoginFacts {
    return this.#facts.login;
  }

  /** Why the connection is gone; null while it is there, as far as is known. */
  get lost(): Failure | null {
    return this.#lost;
  }

  /** A parameter that the server reports by itself (ParameterStatus), for example `server_encoding`; null for others. */
  parameter(name: string): string | null {
    return this.#facts.parameters.get(name) ?? null;
  }

  /** Runs one statement; rows are text. A server error becomes a Failure with the side's code. */
  async query(sql: string, values: readonly (string | null)[] = [], what = ''): Promise<TextRow[]> {
    return [...(await this.run(sql, values, what)).rows];
  }

  /**
   * As `query`, with the command tag. Several statements are possible without values; the last one's result counts.
   * `what` says in a failure's message what was being done, for example `could not create the publication`.
   */
  async run(sql: string, values: readonly (string | null)[] = [], what = ''): Promise<RunResult> {
    if (this.#lost !== null) throw this.#lost;
    try {
      const answer = await this.client.query<Record<string, string | null>>(sql, [...values]);
      // pg gives a list for several statements, which its types do not tell.
      const results: (typeof answer)[] = Array.isArray(answer) ? answer : [answer];
      const last = results.at(-1);
      return { rows: last?.rows ?? [], command: last?.command ?? '', count: last?.rowCount ?? null };
    } catch (error) {
      // Once the connection is gone pg only says that it is gone; the first error said why.
      const failure = this.#lost ?? serverFailure(error, this.side, what);
      if (failure.code === `${this.side}-disconnected`) this.#lost ??= failure;
      throw failure;
    }
  }

  /** Asks the server to cancel what this session runs now; that query then fails with SQLSTATE 57014. */
  async cancel(): Promise<void> {
    await this.#facts.cancel();
  }

  /** Ends the session; a query that still runs is cut off. Never throws, and returns within seconds. */
  async close(): Promise<void> {
    this.#closing = true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, goodbyeMs);
    });
    await Promise.race([this.client.end().catch(() => {}), late]);
    clearTimeout(timer);
    connectionOf(this.client).stream.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The connection inside of a pg.Client, which its types do not show; pg documents the events it emits. */
export function connectionOf(client: pg.Client): pg.Connection {
  return (client as unknown as { connection: pg.Connection }).connection;
}
