/**
 * The one place where errors of servers and sockets are recognised, and become Failures. Servers are recognised by
 * SQLSTATE, since their words may be in any language; the network by Node's codes.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
import pg from 'pg';
import { Failure, failurePolicies, type FailureCode, type Side } from '../failure.js';

/** What an error is about, before the side is known. */
export type ErrorKind =
  | 'unreachable'
  | 'login'
  | 'rights'
  | 'setup'
  | 'tls'
  | 'disconnected'
  | 'disk-full'
  | 'statement';

/** During the login there is no session yet: a broken connection means that the server cannot be reached. */
export type Phase = 'login' | 'session';

type Rule = readonly [pattern: RegExp, login: ErrorKind, session: ErrorKind];

/** First match wins. */
const rules: readonly Rule[] = [
  [/^28...$/, 'login', 'login'],
  // No such database. In a session: CREATE DATABASE … TEMPLATE and the like.
  [/^3D000$/, 'login', 'statement'],
  [/^42501$/, 'rights', 'rights'],
  // A pooler refuses a start-up parameter, or speaks out of turn: waiting does not help.
  [/^08P01$/, 'setup', 'statement'],
  [/^08...$/, 'unreachable', 'disconnected'],
  // The database was dropped; otherwise class 57P is the server (or its administrator) ending the session.
  [/^57P04$/, 'login', 'setup'],
  [/^57P0[1235]$/, 'unreachable', 'disconnected'],
  // The server ends sessions whose transaction is idle or long; ours switch these limits off, a proxy may not.
  [/^25P0[34]$/, 'disconnected', 'disconnected'],
  [/^53100$/, 'disk-full', 'disk-full'],
  // No connection, WAL sender or replication slot is left.
  [/^53[34]00$/, 'setup', 'setup'],
  // A standby, or a read-only replica behind a proxy.
  [/^25006$/, 'setup', 'setup'],
];

/** Codes of Node for a peer that is not there, or not any more. */
const networkCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/** What pg says of a connection that ended; it has no code for it. */
const pgConnectionEnd =
  /^(?:Connection terminated|Client has encountered a connection error|Client was closed|Connection ended|timeout expired|There was an error establishing an SSL connection)/;

/** Codes of a certificate or a handshake that is not as demanded. */
const tlsCode =
  /^(?:EPROTO$|ERR_SSL_|ERR_TLS_|ERR_OSSL_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH_EXCEEDED|ERROR_IN_)/;

/** pg's words for a server that answers the request for TLS with no. */
const noTlsWords = 'The server does not support SSL connections';

/** Whether the server has no TLS at all. */
export function isNoTls(error: unknown): boolean {
  return error instanceof Error && error.message === noTlsWords;
}

/** Something about a login that our side does not accept. */
export class LoginProblem extends Error {
  readonly kind: ErrorKind;

  constructor(kind: ErrorKind, message: string) {
    super(message);
    this.name = 'LoginProblem';
    this.kind = kind;
  }
}

/** The SQLSTATE of a server's error, also of one inside of a Failure; null for any other error. */
export function sqlState(error: unknown): string | null {
  if (error instanceof pg.DatabaseError) return error.code ?? null;
  return error instanceof Error && error.cause !== undefined ? sqlState(error.cause) : null;
}

/** What kind of error this is; null for one that neither a server nor the network made: a mistake of ours. */
export function errorKind(error: unknown, phase: Phase): ErrorKind | null {
  if (error instanceof pg.DatabaseError) {
    const state = error.code ?? '';
    const rule = rules.find(([pattern]) => pattern.test(state));
    if (rule !== undefined) return phase === 'login' ? rule[1] : rule[2];
    // 55000 says many things; the setting's name stands in it in every language.
    if (state === '55000' && /\b(?:wal_level|max_replication_slots)\b/.test(error.message)) return 'setup';
    return phase === 'login' ? 'setup' : 'statement';
  }
  if (error instanceof LoginProblem) return error.kind;
  if (!(error instanceof Error)) return null;
  const code = nodeCode(error);
  if (isNoTls(error) || error.message.startsWith('SASL channel binding')) return 'tls';
  if (error.message.startsWith('SASL: ')) return 'login';
  // A Unix socket that is missing or forbidden; elsewhere these codes are about files.
  const noSocket = phase === 'login' && (code === 'ENOENT' || code === 'EACCES');
  if (noSocket || networkCodes.has(code) || pgConnectionEnd.test(error.message)) {
    return phase === 'login' ? 'unreachable' : 'disconnected';
  }
  return tlsCode.test(code) ? 'tls' : null;
}

/** Node's code of an error (`ECONNREFUSED`), also of several addresses that all failed; empty when it has none. */
export function nodeCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function codeOf(kind: ErrorKind, side: Side): FailureCode {
  return kind === 'disk-full' ? 'disk-full' : `${side}-${kind}`;
}

/**
 * Any error of a statement on one side as a Failure. `what` is what was being done, for example `could not create the
 * publication "walferry"`; empty when the server's words say enough. A Failure is returned as it is.
 */
export function serverFailure(error: unknown, side: Side, what: string): Failure {
  if (error instanceof Failure) return error;
  const prefix = what === '' ? `${side}: ` : `${side}: ${what}: `;
  const kind = errorKind(error, 'session');
  if (kind === null) {
    return new Failure('internal', `${prefix}${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const remedy = remedyOf(kind, side, error);
  return new Failure(codeOf(kind, side), `${prefix}${serverWords(error)}`, {
    cause: error,
    ...(remedy === '' ? {} : { remedy }),
  });
}

/** As {@link serverFailure}, for a connection that could not be opened; `what` names side, place and user. */
export function loginFailure(error: unknown, side: Side, what: string, note: string | null): Failure {
  if (error instanceof Failure) return error;
  const kind = errorKind(error, 'login');
  const words = `${serverWords(error)}${note !== null && kind === 'login' ? `; ${note}` : ''}`;
  if (kind === null) return new Failure('internal', `${what}: ${words}`, { cause: error });
  const remedy = remedyOf(kind, side, error);
  return new Failure(codeOf(kind, side), `${what}: ${words}`, {
    cause: error,
    ...(remedy === '' ? {} : { remedy }),
  });
}

/** The server's hint where our own table has nothing to advise; empty when there is none either. */
function remedyOf(kind: ErrorKind, side: Side, error: unknown): string {
  if (kind === 'disk-full')
    return `Make room on the ${side} server, then run the same command with --resume.`;
  if (failurePolicies[codeOf(kind, side)].remedy !== '') return '';
  // A hint of a user's own function (class P0) could hold anything.
  if (error instanceof pg.DatabaseError && error.code?.startsWith('P0') !== true) return error.hint ?? '';
  return '';
}

/** What Node's codes say, in words. */
const networkWords: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: no server listens there',
  ECONNRESET: 'the connection was reset',
  ECONNABORTED: 'the connection was aborted',
  EPIPE: 'the connection is broken',
  ETIMEDOUT: 'no answer',
  EHOSTUNREACH: 'the host cannot be reached',
  EHOSTDOWN: 'the host is down',
  ENETUNREACH: 'the network cannot be reached',
  ENETDOWN: 'the network is down',
  ENOTFOUND: 'the host name is unknown',
  EAI_AGAIN: 'the host name cannot be looked up at the moment',
  ENOENT: 'there is no such socket: no server listens there',
  EACCES: 'the socket may not be used by this user',
};

/**
 * The error in one line, without values of rows. Detail and context are left out, since they quote rows; where the
 * main message quotes them too, the quotation is taken out. All of it is in the Failure's `cause`.
 */
export function serverWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!(error instanceof pg.DatabaseError)) {
    if (isNoTls(error)) return 'the server does not offer TLS, which sslmode demands';
    const code = nodeCode(error);
    const words = networkWords[code] ?? error.message;
    return words === '' ? code : words;
  }
  const state = error.code ?? '';
  return `${withoutValues(error, state)} (SQLSTATE ${state})`;
}

function withoutValues(error: pg.DatabaseError, state: string): string {
  // Class 22, data exceptions: `invalid input syntax for type integer: "…"`.
  if (state.startsWith('22')) return error.message.replaceAll(/"(?:[^"]|"")*"/gs, '"…"');
  // A user's own RAISE: any text, so only its place is told.
  if (state.startsWith('P0')) {
    const place = /PL\/\w+ function [^\n]*? line \d+/.exec(error.where ?? '')?.[0] ?? 'a function';
    return `${place} raised an exception`;
  }
  return error.message;
}
