/**
 * Connections: one attempt with one way of TLS (connect-attempt.ts), the ways that sslmode allows, and tries again
 * while a server is not there yet.
 *
 * Tried again is only what waiting can mend: no server, a server that starts or stops, a broken network. A wrong
 * password, a missing database or right, a certificate that does not hold, fail at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import { Failure, throwIfStopped, type Side } from '../failure.js';
import { silentLog, type Log } from '../log.js';
import { nextPauseMs } from '../model/back-off.js';
import { attempt } from './connect-attempt.js';
import { Session } from './connect-session.js';
import { pooledHostProblem } from './connect-pooled-host.js';
import type { Conninfo } from './connection-string.js';
import { errorKind, isNoTls, loginFailure, nodeCode, sqlState } from './sqlstate.js';
import { loadTlsOptions, tlsTries } from './tls.js';
import { hasNoConnection } from './too-many-connections.js';

export { Session, type Backend, type RunResult, type TextRow } from './connect-session.js';

export type ConnectOptions = {
  readonly side: Side;
  /** Shown in pg_stat_activity, for example `walferry copy`. It wins over PGAPPNAME. */
  readonly applicationName: string;
  /** Ends the attempts with `stopped`. A session that is open is not touched by it. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long an unreachable server is tried again, in milliseconds; 3 seconds unless told, which bridges a restart of a
   * container and still tells a typing mistake soon. 0 tries once.
   */
  readonly retryForMs?: number | undefined;
  /** How long a server that has no connection left is asked again, in milliseconds; 0 unless told. */
  readonly refusedForMs?: number | undefined;
  readonly log?: Log | undefined;
  /** A walsender connection (`replication=database`). */
  readonly replication?: boolean | undefined;
  /**
   * The session's TimeZone. `UTC` unless told, so that both sides print the same text for the same instant; `server`
   * leaves what role and database say, for sessions in which a user's CHECK constraints are evaluated.
   */
  readonly timeZone?: 'UTC' | 'server' | undefined;
  /** For COPY: the socket is read into large buffers that are used again (bulk-socket.ts). */
  readonly bulk?: boolean | undefined;
  /** The session is to be told from a later one of the same process id: `Session.backend` has its start. */
  readonly watched?: boolean | undefined;
};

const defaultRetryForMs = 3000;

/** The peer's figures. */
const pauses = { shortestMs: 5, longestMs: 2000 };

/** A long wait says every so often that it still waits. */
const reminderMs = 30_000;

/**
 * Opens a connection, with our session settings. Throws a Failure: `…-unreachable`, `…-login`, `…-tls`, `…-setup`,
 * `…-rights`, or `stopped`.
 */
export async function connect(conninfo: Conninfo, options: ConnectOptions): Promise<Session> {
  const { side, signal, log = silentLog } = options;
  const pooled = pooledHostProblem(conninfo);
  if (pooled !== null) {
    throw new Failure(`${side}-setup`, `${side}: ${pooled.problem}`, { remedy: pooled.remedy });
  }
  const started = Date.now();
  let pauseMs = pauses.shortestMs;
  let nextReminder = started;
  for (let tries = 1; ; tries += 1) {
    throwIfStopped(signal);
    const result = await tryOnce(conninfo, options);
    if (result instanceof Session) {
      if (tries > 1) log.info(`connected to the ${side} after ${tries} attempts`, { side, attempts: tries });
      return result;
    }
    const leftMs = waitsForMs(result, options) - (Date.now() - started);
    if (leftMs <= 0) throw result;
    if (Date.now() >= nextReminder) {
      log.warn(`${result.message}; trying again for ${Math.ceil(leftMs / 1000)} s`, { side });
      nextReminder = Date.now() + reminderMs;
    }
    pauseMs = nextPauseMs(pauseMs, pauses, Math.random());
    await pause(Math.min(pauseMs, leftMs), signal);
  }
}

async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch {
    throwIfStopped(signal);
  }
}

/** How long a login that failed like this is tried again. */
function waitsForMs(
  failure: Failure,
  { retryForMs = defaultRetryForMs, refusedForMs = 0 }: ConnectOptions,
): number {
  if (hasNoConnection(failure)) return refusedForMs;
  return waitingMayHelp(failure) ? retryForMs : 0;
}

/** Whether a server may be there in a moment. An unknown host name or a forbidden socket stays what it is. */
function waitingMayHelp(failure: Failure): boolean {
  const unreachable = failure.code === 'source-unreachable' || failure.code === 'target-unreachable';
  return unreachable && !['ENOTFOUND', 'EACCES'].includes(nodeCode(failure.cause));
}

/** The ways of TLS that sslmode allows, one after the other: a session, or why there is none. */
async function tryOnce(conninfo: Conninfo, options: ConnectOptions): Promise<Session | Failure> {
  const { side, signal } = options;
  const what = `cannot connect to the ${side} at ${placeOf(conninfo)} as "${conninfo.user}"`;
  const failures: Failure[] = [];
  for (const tls of tlsTries(conninfo)) {
    const tlsOptions = tls ? loadTlsOptions(conninfo, side) : null;
    try {
      return await withBinding(conninfo, tlsOptions, options);
    } catch (error) {
      throwIfStopped(signal);
      failures.push(loginFailure(error, side, what, conninfo.note));
      if (!otherWayMayHelp(error)) break;
    }
  }
  return mostTelling(failures);
}

/**
 * `channel_binding=prefer` binds where it can. Some certificates (Ed25519) define no hash to bind to: then there is
 * nothing to prefer, and the login goes on without.
 */
async function withBinding(
  conninfo: Conninfo,
  tls: ConnectionOptions | null,
  options: ConnectOptions,
): Promise<Session> {
  const binding = tls !== null && conninfo.channelBinding !== 'disable';
  try {
    return await attempt(conninfo, { tls, binding }, options);
  } catch (error) {
    const impossible = error instanceof Error && error.message.startsWith('SASL channel binding');
    if (!binding || !impossible || conninfo.channelBinding === 'require') throw error;
    return await attempt(conninfo, { tls, binding: false }, options);
  }
}

/**
 * Whether a server that refused TLS may take plain, or the other way round (`allow`, `prefer`). libpq tries the other
 * way after every error of the login; here only after those that depend on it: no TLS, a handshake that failed, and
 * 28000 (no rule in pg_hba.conf). A wrong password is not sent twice.
 */
function otherWayMayHelp(error: unknown): boolean {
  return errorKind(error, 'login') === 'tls' || sqlState(error) === '28000';
}

/** Of the failures of one or two ways, the one that got furthest: a missing TLS or rule tells less than the rest. */
function mostTelling(failures: readonly Failure[]): Failure {
  const telling = failures.filter((failure) => !isNoTls(failure.cause) && sqlState(failure) !== '28000');
  const [chosen] = [...telling, ...failures.filter((failure) => !isNoTls(failure.cause)), ...failures];
  return chosen ?? new Failure('internal', 'no way to connect was tried');
}

/** `host:port/database`, for messages. */
function placeOf(conninfo: Conninfo): string {
  const host = conninfo.host.includes(':') ? `[${conninfo.host}]` : conninfo.host;
  return `${host}:${conninfo.port}/${conninfo.database}`;
}
