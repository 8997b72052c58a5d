/**
 * From a connection string to one normalised description of a server, which goes to our own connections and, as
 * PG* variables, to pg_dump and pg_restore: so both meet the same server with the same meaning of TLS.
 *
 * A parameter comes from, in this order: the string; the service it (or PGSERVICE) names; libpq's environment
 * variables; libpq's defaults. A password that none of them gives is looked up in the password file.
 * Everything that libpq would find out later (files in the home directory, the socket's directory) is found out here.
 */
import { existsSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Failure } from '../failure.js';
import {
  isKnownParameter,
  libpqVariables,
  parameterProblem,
  parameterVariables,
} from './connection-string-parameters.js';
import { readConnectionText } from './connection-string-syntax.js';
import { loadPassword } from './password-file.js';
import { loadService, serviceFiles } from './service-file.js';

export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
export type TlsVersion = 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';

/** A file that TLS needs. `named` tells one that was asked for from libpq's default, which may be used when it exists. */
export type TlsFile = { readonly path: string; readonly named: boolean };

/** What TLS has to be, in libpq's terms. Paths are absolute or as given; null means there is none. */
export type TlsSettings = {
  readonly mode: SslMode;
  readonly negotiation: 'postgres' | 'direct';
  /** Who may sign the server's certificate: a file, or the machine's own list (`sslrootcert=system`). */
  readonly rootCertificate: TlsFile | 'system' | null;
  readonly certificate: TlsFile | null;
  readonly key: TlsFile | null;
  readonly revoked: TlsFile | null;
  readonly minVersion: TlsVersion | null;
  readonly maxVersion: TlsVersion | null;
};

/**
 * One normalised connection description, read from a URI or a keyword/value string. Printing it (inspect, JSON)
 * gives {@link describeConninfo}, so that a password does not leave by accident; `{ ...conninfo, database }` makes
 * a changed one, without that protection: see {@link withDatabase}.
 */
export type Conninfo = {
  /** A name, an address, or the directory of a Unix socket (starts with `/`). */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string | null;
  readonly database: string;
  /** An address to go to instead of looking `host` up; TLS still checks `host`. */
  readonly hostaddr: string | null;
  readonly tls: TlsSettings;
  readonly channelBinding: 'disable' | 'prefer' | 'require';
  /** `require_auth`: the ways to log in that are accepted, null for all; `!` in front of each excludes. */
  readonly requireAuth: readonly string[] | null;
  /** 0 waits for as long as the operating system does. */
  readonly connectTimeoutSeconds: number;
  /** Null switches keepalives off. */
  readonly keepaliveIdleSeconds: number | null;
  /** Keepalive parameters that only libpq can set: they go to pg_dump and pg_restore. */
  readonly keepaliveParameters: Readonly<Record<string, string>>;
  /** Command-line options for the server process, for example `-c geqo=off` or Neon's `endpoint=…`. */
  readonly options: string | null;
  /** What target_session_attrs asks of the server, as far as one server can be asked. */
  readonly sessionKind: 'any' | 'primary' | 'standby';
  /** Why a password that might have been meant was not used; for the message of a login that fails. */
  readonly note: string | null;
};

/** libpq waits for ever by default; the peer waits 10 seconds, and so do we. */
const defaultConnectTimeoutSeconds = 10;

/** A connection without traffic is probed after this many seconds (the peer's value), so that no NAT forgets it. */
const defaultKeepaliveIdleSeconds = 10;

/**
 * Reads a connection string, completes it from `environment` and the files that libpq reads, and checks it. Throws a
 * Failure `usage` that names all problems, and never a password or a piece of one.
 */
export function readConninfo(text: string, environment: NodeJS.ProcessEnv): Conninfo {
  const { parameters: given, unsafe } = readConnectionText(text);
  const problems: string[] = [];
  for (const [keyword, value] of given) {
    const problem = isKnownParameter(keyword) ? parameterProblem(keyword, value) : unknown(keyword, unsafe);
    if (problem !== null) problems.push(problem);
  }
  const home = environment['HOME'] || homedir();
  const lookUp = completed(given, environment, home, problems);
  const conninfo = normalised(lookUp, home, problems);
  if (problems.length > 0) throw new Failure('usage', `connection string: ${problems.join('; ')}`);
  return protectedFromPrinting(withPassword(conninfo, lookUp, home));
}

function unknown(keyword: string, unsafe: ReadonlySet<string>): string {
  if (unsafe.has(keyword) || !/^[a-z][a-z0-9_]*$/i.test(keyword)) {
    return 'it holds a parameter that libpq does not know; its name is not shown because it may be a piece of a password (quote or percent-encode special characters in passwords)';
  }
  return `"${keyword}" is not a connection parameter that libpq knows`;
}

type LookUp = (keyword: string) => string | null;

/** The parameters with service and environment behind them. An empty value counts as none, as in libpq. */
function completed(
  given: ReadonlyMap<string, string>,
  environment: NodeJS.ProcessEnv,
  home: string,
  problems: string[],
): LookUp {
  const service = given.get('service') || environment['PGSERVICE'] || '';
  const files = given.get('servicefile');
  const fromService =
    service === ''
      ? new Map<string, string>()
      : loadService(service, files ? [files] : serviceFiles(environment, home));
  for (const [keyword, value] of fromService) {
    const problem = isKnownParameter(keyword)
      ? parameterProblem(keyword, value)
      : `"${keyword}" is not a connection parameter that libpq knows`;
    if (problem !== null) problems.push(`service "${service}": ${problem}`);
  }
  for (const [keyword, variable] of Object.entries(parameterVariables)) {
    const value = variable === null ? undefined : environment[variable];
    if (variable === null || !value || given.get(keyword) || fromService.get(keyword)) continue;
    const problem = parameterProblem(keyword, value);
    if (problem !== null) problems.push(`the variable ${variable}: ${problem}`);
  }
  return (keyword) => {
    const variable = parameterVariables[keyword];
    return (
      given.get(keyword) || fromService.get(keyword) || (variable ? environment[variable] : undefined) || null
    );
  };
}

/** Everything but the password. */
function normalised(lookUp: LookUp, home: string, problems: string[]): Conninfo {
  const port = readPort(lookUp('port'), problems);
  const hostaddr = lookUp('hostaddr');
  const host = lookUp('host') ?? hostaddr ?? defaultHost(port);
  if ([host, hostaddr ?? ''].some((value) => value.includes(','))) {
    problems.push(
      'it names several hosts: every connection of a run must meet the same server, so name the one to use',
    );
  }
  if (host.startsWith('@')) problems.push('sockets in the abstract namespace ("@…") are not supported');
  const user = lookUp('user') ?? operatingSystemUser(problems);
  const keepalive = Number(lookUp('keepalives_idle') ?? 0);
  const conninfo: Conninfo = {
    host,
    port,
    user,
    password: null,
    database: lookUp('dbname') ?? user,
    hostaddr: host.startsWith('/') ? null : hostaddr,
    tls: readTls(lookUp, home, problems),
    channelBinding: (lookUp('channel_binding') ?? 'prefer') as Conninfo['channelBinding'],
    requireAuth:
      lookUp('require_auth')
        ?.split(',')
        .map((method) => method.trim()) ?? null,
    connectTimeoutSeconds: Math.max(0, Number(lookUp('connect_timeout') ?? defaultConnectTimeoutSeconds)),
    keepaliveIdleSeconds:
      lookUp('keepalives') === '0' ? null : keepalive > 0 ? keepalive : defaultKeepaliveIdleSeconds,
    keepaliveParameters: Object.fromEntries(
      ['keepalives_interval', 'keepalives_count', 'tcp_user_timeout'].flatMap((keyword) => {
        const value = lookUp(keyword);
        return value === null ? [] : [[keyword, value.trim()]];
      }),
    ),
    options: lookUp('options'),
    sessionKind: readSessionKind(lookUp('target_session_attrs')),
    note: null,
  };
  if (conninfo.channelBinding === 'require' && (conninfo.tls.mode === 'disable' || host.startsWith('/'))) {
    problems.push('channel_binding=require needs TLS, which this connection does not use');
  }
  return conninfo;
}

function readPort(text: string | null, problems: string[]): number {
  if (text === null) return 5432;
  const port = /^\s*\d{1,5}\s*$/.test(text) ? Number(text) : 0;
  // The text is not shown: after an unescaped "/" in a password it is the password's beginning.
  if (port < 1 || port > 65_535) problems.push('the port must be a number between 1 and 65535');
  return port;
}

/** Where libpq's packages look for a local server's socket; without one, the local machine over TCP. */
function defaultHost(port: number): string {
  const directories = ['/var/run/postgresql', '/tmp'];
  return directories.find((directory) => existsSync(join(directory, `.s.PGSQL.${port}`))) ?? 'localhost';
}

function operatingSystemUser(problems: string[]): string {
  try {
    return userInfo().username;
  } catch {
    problems.push('no user is given, and this process runs under a user id without a name');
    return '';
  }
}

/** With one host, `read-write` asks for a primary (our sessions switch read-only defaults off), `read-only` for a standby. */
function readSessionKind(attributes: string | null): Conninfo['sessionKind'] {
  if (attributes === 'read-write' || attributes === 'primary') return 'primary';
  return attributes === 'read-only' || attributes === 'standby' ? 'standby' : 'any';
}

function readTls(lookUp: LookUp, home: string, problems: string[]): TlsSettings {
  const directory = join(home, '.postgresql');
  const file = (keyword: string, name: string): TlsFile | null => {
    const given = lookUp(keyword);
    if (given !== null) return { path: given, named: true };
    const path = join(directory, name);
    return existsSync(path) ? { path, named: false } : null;
  };
  const system = lookUp('sslrootcert') === 'system';
  const mode = (lookUp('sslmode') ?? (system ? 'verify-full' : 'prefer')) as SslMode;
  const negotiation = (lookUp('sslnegotiation') ?? 'postgres') as TlsSettings['negotiation'];
  if (system && mode !== 'verify-full') {
    problems.push(
      `sslrootcert=system needs sslmode=verify-full, as anybody can get a certificate from a public authority`,
    );
  }
  if (negotiation === 'direct' && ['disable', 'allow', 'prefer'].includes(mode)) {
    problems.push('sslnegotiation=direct needs sslmode=require or stronger');
  }
  const certificate = lookUp('sslcertmode') === 'disable' ? null : file('sslcert', 'postgresql.crt');
  return {
    mode,
    negotiation,
    rootCertificate: system ? 'system' : file('sslrootcert', 'root.crt'),
    certificate,
    // libpq's default for the key holds as soon as there is a certificate, whether or not the file exists.
    key:
      certificate === null
        ? null
        : (file('sslkey', 'postgresql.key') ?? { path: join(directory, 'postgresql.key'), named: false }),
    revoked: file('sslcrl', 'root.crl'),
    minVersion: lookUp('ssl_min_protocol_version') as TlsVersion | null,
    maxVersion: lookUp('ssl_max_protocol_version') as TlsVersion | null,
  };
}

function withPassword(conninfo: Conninfo, lookUp: LookUp, home: string): Conninfo {
  const password = lookUp('password');
  if (password !== null) return { ...conninfo, password };
  const { host, port, database, user } = conninfo;
  const found = loadPassword(lookUp('passfile') ?? join(home, '.pgpass'), {
    // libpq looks a server on its default socket up as localhost.
    host: host === '/var/run/postgresql' || host === '/tmp' ? 'localhost' : host,
    port,
    database,
    user,
  });
  return { ...conninfo, password: found.password, note: found.note };
}

function protectedFromPrinting(conninfo: Conninfo): Conninfo {
  const print = { value: () => describeConninfo(conninfo), enumerable: false };
  return Object.freeze(Object.defineProperties({ ...conninfo }, { toJSON: print, [inspect.custom]: print }));
}

/** The same server and user, another database. */
export function withDatabase(conninfo: Conninfo, database: string): Conninfo {
  return protectedFromPrinting({ ...conninfo, database });
}

/**
 * The connection as a URI for logs, reports and the work directory: without a password, and without `options`, which
 * some services let carry one. Read again on the same machine, it means the same server, database, user and TLS.
 */
export function describeConninfo(conninfo: Conninfo): string {
  const { tls } = conninfo;
  const host = conninfo.host.includes(':') ? `[${conninfo.host}]` : encodeURIComponent(conninfo.host);
  const named = (file: TlsFile | 'system' | null) =>
    file === 'system' ? 'system' : file?.named === true ? file.path : null;
  const parameters = Object.entries({
    hostaddr: conninfo.hostaddr === conninfo.host ? null : conninfo.hostaddr,
    sslmode: tls.mode === 'prefer' ? null : tls.mode,
    sslnegotiation: tls.negotiation === 'postgres' ? null : tls.negotiation,
    sslrootcert: named(tls.rootCertificate),
    sslcert: named(tls.certificate),
    channel_binding: conninfo.channelBinding === 'prefer' ? null : conninfo.channelBinding,
  }).flatMap(([keyword, value]) => (value === null ? [] : [`${keyword}=${encodeURIComponent(value)}`]));
  return (
    `postgres://${encodeURIComponent(conninfo.user)}@${host}:${conninfo.port}` +
    `/${encodeURIComponent(conninfo.database)}${parameters.length === 0 ? '' : `?${parameters.join('&')}`}`
  );
}

/**
 * libpq's whole environment for a child program (pg_dump, pg_restore): what this connection means is set, and every
 * other PG* variable of libpq is undefined, so that `{ ...process.env, ...clientEnvironment(c) }` does not inherit it.
 */
export function clientEnvironment(conninfo: Conninfo): Record<string, string | undefined> {
  const { tls } = conninfo;
  const path = (file: TlsFile | null) => file?.path;
  return {
    ...Object.fromEntries(libpqVariables.map((name) => [name, undefined])),
    PGHOST: conninfo.host,
    PGHOSTADDR: conninfo.hostaddr ?? undefined,
    PGPORT: String(conninfo.port),
    PGUSER: conninfo.user,
    PGPASSWORD: conninfo.password ?? undefined,
    PGDATABASE: conninfo.database,
    PGOPTIONS: conninfo.options ?? undefined,
    PGCONNECT_TIMEOUT: String(conninfo.connectTimeoutSeconds),
    PGCHANNELBINDING: conninfo.channelBinding,
    PGREQUIREAUTH: conninfo.requireAuth?.join(','),
    PGSSLMODE: tls.mode,
    // Only when asked for: libpq before 17 does not know it, and `postgres` is its way anyhow.
    PGSSLNEGOTIATION: tls.negotiation === 'direct' ? 'direct' : undefined,
    PGSSLROOTCERT:
      tls.rootCertificate === 'system' ? (systemCertificates() ?? 'system') : path(tls.rootCertificate),
    PGSSLCERT: path(tls.certificate),
    PGSSLKEY: path(tls.key),
    PGSSLCRL: path(tls.revoked),
    PGSSLCERTMODE: tls.certificate === null ? 'disable' : undefined,
    PGSSLMINPROTOCOLVERSION: tls.minVersion ?? undefined,
    PGSSLMAXPROTOCOLVERSION: tls.maxVersion ?? undefined,
    // Our own connections do not speak GSSAPI, so that a child must not meet another rule of pg_hba.conf by it.
    PGGSSENCMODE: 'disable',
  };
}

/**
 * The machine's own list of certificate authorities, in one file; null where there is none. libpq before 16 does not
 * know `sslrootcert=system`, but any libpq reads this file.
 */
export function systemCertificates(): string | null {
  const files = [
    process.env['SSL_CERT_FILE'],
    '/etc/ssl/certs/ca-certificates.crt',
    '/etc/pki/tls/certs/ca-bundle.crt',
    '/etc/ssl/ca-bundle.pem',
    '/etc/ssl/cert.pem',
  ];
  return files.find((file) => file !== undefined && file !== '' && existsSync(file)) ?? null;
}
