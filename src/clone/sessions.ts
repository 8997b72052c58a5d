/**
 * The sessions of a clone's workers. A worker holds its session for as long as it is good; after a failure it is
 * discarded and the next piece of work opens a new one.
 */
import { throwIfStopped } from '../failure.js';
import type { Log } from '../log.js';
import { connect } from '../postgres/connect.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { cut } from '../postgres/cut-session.js';
import { importSnapshot } from '../postgres/snapshot.js';
import { oneOfSeveralForMs, refusedForMs } from '../postgres/too-many-connections.js';

type OpenOptions = {
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
  /** For COPY out of it. */
  readonly bulk?: boolean | undefined;
  /** One of several at the same work, or not needed: where there is no connection for it, the run goes on without. */
  readonly dispensable?: boolean | undefined;
};

// A server that notices only at the next read that we are gone would finish an index build for nobody, under locks
// that the resumed run waits for. From version 14 on, and not on every platform: without it, it just takes longer.
const noticeLossStatement = `select pg_catalog.set_config('client_connection_check_interval', '2s', false)`;

async function open(
  conninfo: Conninfo,
  side: 'source' | 'target',
  name: string,
  { log, signal, bulk, dispensable = false }: OpenOptions,
): Promise<Session> {
  throwIfStopped(signal);
  const session = await connect(conninfo, {
    side,
    applicationName: `walferry ${name}`,
    log,
    bulk,
    refusedForMs: dispensable ? oneOfSeveralForMs : refusedForMs,
    // What a user's own CHECK constraints and index expressions see is the database's own time zone.
    timeZone: side === 'source' ? 'UTC' : 'server',
    ...(signal === undefined ? {} : { signal }),
  });
  if (session.serverVersion >= 140000) await session.query(noticeLossStatement).catch(() => []);
  return session;
}

/** A source session inside the snapshot. Throws `snapshot-lost`. */
export async function openInSnapshot(
  source: Conninfo,
  snapshot: string,
  name: string,
  options: OpenOptions,
): Promise<Session> {
  const session = await open(source, 'source', name, options);
  try {
    await importSnapshot(session, snapshot);
  } catch (error) {
    await session.close();
    throw error;
  }
  return session;
}

/** A source session that sees the database as it is now. */
export function openSource(source: Conninfo, name: string, options: OpenOptions): Promise<Session> {
  return open(source, 'source', name, options);
}

/** A target session whose commits are durable when they return. */
export function openTarget(target: Conninfo, name: string, options: OpenOptions): Promise<Session> {
  return open(target, 'target', name, options);
}

/**
 * A target session for bulk work: its commits may be lost with the server, and with them the task rows that prove
 * them; the durable commit at the end of the copy makes all earlier ones durable.
 */
export async function openBulkTarget(target: Conninfo, name: string, options: OpenOptions): Promise<Session> {
  const session = await open(target, 'target', name, options);
  await session.query('set synchronous_commit to off');
  return session;
}

const settingsQuery = `
  select name, reset_val as value from pg_catalog.pg_settings where name = any ($1::text[])`;

/**
 * The target for a program whose session has these settings from its login on, where the server takes them so (a pooler
 * or a proxy may not).
 */
export async function withSettings(
  target: Conninfo,
  settings: ReadonlyMap<string, string>,
  options: OpenOptions,
): Promise<Conninfo> {
  const words = [...settings].map(([name, value]) => `-c ${name}=${value}`);
  const asked = {
    ...target,
    options: [...(target.options === null ? [] : [target.options]), ...words].join(' '),
  };
  try {
    await using session = await openTarget(asked, 'clone', { ...options, dispensable: true });
    const rows = await session.query(settingsQuery, [`{${[...settings.keys()].join(',')}}`]);
    const taken = rows.filter(({ name, value }) => settings.get(name ?? '') === value);
    return taken.length === settings.size ? asked : target;
  } catch {
    throwIfStopped(options.signal);
    return target;
  }
}

/** The target for a program whose commits need not wait for the disk. A durable commit has to follow. */
export function withoutWaiting(target: Conninfo, options: OpenOptions): Promise<Conninfo> {
  return withSettings(target, new Map([['synchronous_commit', 'off']]), options);
}

/** One worker's session, opened when it is first needed. */
export class HeldSession {
  readonly #open: () => Promise<Session>;
  readonly #signal: AbortSignal;
  readonly #stop = () => void this.#cut();
  #session: Session | null = null;

  constructor(open: () => Promise<Session>, signal: AbortSignal) {
    this.#open = open;
    this.#signal = signal;
    signal.addEventListener('abort', this.#stop);
  }

  async get(): Promise<Session> {
    throwIfStopped(this.#signal);
    if (this.#session !== null && this.#session.lost !== null) await this.discard();
    this.#session ??= await this.#open();
    return this.#session;
  }

  /** Gives the session up, whatever state it is in; the server rolls back what was open. */
  async discard(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal.removeEventListener('abort', this.#stop);
    await this.discard();
  }

  async #cut(): Promise<void> {
    if (this.#session !== null) await cut(this.#session);
  }
}
