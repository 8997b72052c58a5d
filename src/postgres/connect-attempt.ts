/**
 * One attempt to open one connection in one way: with or without TLS, with or without channel binding.
 *
 * pg opens the socket, asks for TLS (SSLRequest → `S`), does the handshake, sends the start-up message and answers
 * the server's requests for a password; the server then reports its parameters and is ready. We stand in between at
 * two places: pg asks *us* for the password at each request, which is where `channel_binding=require` and
 * `require_auth` are kept, before anything secret is sent; and AuthenticationOk is checked against what went before.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, TLSSocket, type ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { throwIfStopped, type Side } from '../failure.js';
import { silentLog, type Log } from '../log.js';
import { BulkSocket } from './bulk-socket.js';
import { connectionOf, Session, type LoginFacts } from './connect-session.js';
import { sessionStatement } from './connect-settings.js';
import type { Conninfo } from './connection-string.js';
import { readServerVersion } from './server-facts.js';
import { LoginProblem } from './sqlstate.js';

/** One way to connect. */
export type Attempt = {
  /** Options of the handshake; null for a plain connection. */
  readonly tls: ConnectionOptions | null;
  /** Whether a SCRAM login is bound to the TLS channel when the server offers it. */
  readonly binding: boolean;
};

export type AttemptOptions = {
  readonly side: Side;
  readonly applicationName: string;
  readonly signal?: AbortSignal | undefined;
  readonly log?: Log | undefined;
  readonly replication?: boolean | undefined;
  readonly timeZone?: 'UTC' | 'server' | undefined;
  readonly bulk?: boolean | undefined;
  readonly watched?: boolean | undefined;
};

/** Makes the attempt. Throws what pg, the server or the network say, or a LoginProblem; nothing stays open then. */
export async function attempt(conninfo: Conninfo, way: Attempt, options: AttemptOptions): Promise<Session> {
  const gate = new LoginGate(conninfo, way);
  const client = createClient(conninfo, { way, gate }, options);
  // An error that comes when no query waits for it must not end the process, neither now nor after this is given up.
  client.on('error', () => {});
  const connection = connectionOf(client);
  const parameters = new Map<string, string>();
  connection.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) => {
    parameters.set(message.parameterName, message.parameterValue);
  });
  const stop = () => connection.stream.destroy();
  const releaseParser = guardParser(connection);
  options.signal?.addEventListener('abort', stop);
  try {
    await opened(client, conninfo);
    releaseParser();
    throwIfStopped(options.signal);
    const serverVersion = readServerVersion(parameters.get('server_version') ?? '');
    const { timeZone = 'UTC', watched = false } = options;
    const answer = await client.query<{ pid: string; in_recovery: string; backend_start?: string | null }>(
      sessionStatement(serverVersion, { timeZone, backendStart: watched }),
    );
    const inRecovery = answer.rows[0]?.in_recovery === 't';
    checkSessionKind(conninfo, inRecovery);
    return new Session(options.side, client, {
      login: { ...negotiatedTls(connection.stream, way), ...gate.login },
      serverVersion,
      backend: { pid: Number(answer.rows[0]?.pid), start: answer.rows[0]?.backend_start ?? null },
      inRecovery,
      parameters,
      cancel: () => sendCancel(client, conninfo, way.tls),
    });
  } catch (error) {
    connection.stream.destroy();
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', stop);
  }
}

/** A client that takes nothing from the process's environment, where pg would otherwise look for what is not given. */
function createClient(
  conninfo: Conninfo,
  { way, gate }: { readonly way: Attempt; readonly gate: LoginGate },
  options: AttemptOptions,
): pg.Client {
  const { log = silentLog, side } = options;
  const client = new pg.Client({
    host: conninfo.host,
    port: conninfo.port,
    user: conninfo.user,
    database: conninfo.database,
    password: () => gate.password(),
    ssl: way.tls ?? false,
    sslnegotiation: way.tls === null ? 'postgres' : conninfo.tls.negotiation,
    enableChannelBinding: way.binding,
    application_name: options.applicationName,
    connectionTimeoutMillis: conninfo.connectTimeoutSeconds * 1000,
    keepAlive: conninfo.keepaliveIdleSeconds !== null,
    keepAliveInitialDelayMillis: (conninfo.keepaliveIdleSeconds ?? 0) * 1000,
    // TLS reads the socket itself, and gives its own buffers.
    stream: () => createSocket(conninfo, options.bulk === true && way.tls === null),
    // Every value is the server's text: nothing is parsed into numbers, dates or objects.
    types: { getTypeParser: () => (value: unknown) => value } as unknown as pg.CustomTypesConfig,
  });
  const { connectionParameters } = client as unknown as { connectionParameters: Record<string, unknown> };
  connectionParameters['options'] = conninfo.options ?? undefined;
  connectionParameters['replication'] = options.replication === true ? 'database' : undefined;
  gate.watch(connectionOf(client));
  client.on('notice', (notice) => log.notice(noticeWords(side, notice), { side }));
  return client;
}

/** What the handshake came to. */
function negotiatedTls(stream: Duplex, { tls }: Attempt): Pick<LoginFacts, 'tls' | 'verified'> {
  if (!(stream instanceof TLSSocket)) return { tls: null, verified: false };
  const protocol = stream.getProtocol() ?? 'TLS';
  return { tls: { protocol, cipher: stream.getCipher().name }, verified: tls?.rejectUnauthorized === true };
}

/** `hostaddr` is where to go; pg and TLS still see the host's name. */
function createSocket(conninfo: Conninfo, bulk = false): Socket {
  const socket = bulk ? new BulkSocket() : new Socket();
  const { hostaddr } = conninfo;
  if (hostaddr !== null) {
    const connect = socket.connect.bind(socket);
    socket.connect = ((port: number) => connect(port, hostaddr)) as typeof socket.connect;
  }
  return socket;
}

/** pg's connect; also fails on errors that pg tells only its `error` listeners. */
async function opened(client: pg.Client, conninfo: Conninfo): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      client.once('error', reject);
      client.connect().then(() => {
        client.removeListener('error', reject);
        resolve();
      }, reject);
    });
  } catch (error) {
    if (!(error instanceof Error) || error.message !== 'timeout expired') throw error;
    throw new LoginProblem('unreachable', `no answer within ${conninfo.connectTimeoutSeconds} s`);
  }
}

/**
 * pg's parser throws at a request for a login that it does not know (GSSAPI, SSPI): from the socket's event, where
 * nobody can catch it, so that the process would end. Until the function returned is called, it fails the login.
 */
function guardParser(connection: pg.Connection): () => void {
  const inner = connection as unknown as { attachListeners: (stream: Duplex) => void };
  const attach = inner.attachListeners.bind(connection);
  let release = () => {};
  inner.attachListeners = (stream) => {
    attach(stream);
    const parse = stream.listeners('data').at(-1) as ((chunk: Buffer) => void) | undefined;
    if (parse === undefined) return;
    const guarded = (chunk: Buffer) => {
      try {
        parse(chunk);
      } catch {
        connection.emit(
          'error',
          new LoginProblem(
            'setup',
            'the server asks for a way to log in that walferry does not have, such as GSSAPI',
          ),
        );
      }
    };
    stream.removeListener('data', parse).on('data', guarded);
    release = () => void stream.on('data', parse).removeListener('data', guarded);
  };
  return () => release();
}

type AuthenticationRequest = { readonly name: string; readonly mechanisms?: readonly string[] };

/** Keeps `channel_binding` and `require_auth` during one login. */
class LoginGate {
  readonly #conninfo: Conninfo;
  readonly #way: Attempt;
  #method: LoginFacts['method'] = 'none';
  #bound = false;
  /** Whether the server proved in the end of a SCRAM login that it knows the password as well. */
  #proved = false;

  constructor(conninfo: Conninfo, way: Attempt) {
    this.#conninfo = conninfo;
    this.#way = way;
  }

  get login(): Pick<LoginFacts, 'method' | 'bound'> {
    return { method: this.#method, bound: this.#bound };
  }

  /** Listens to the server's requests before pg does. */
  watch(connection: pg.Connection): void {
    connection.on('authenticationCleartextPassword', () => (this.#method = 'password'));
    connection.on('authenticationMD5Password', () => (this.#method = 'md5'));
    connection.on('authenticationSASL', ({ mechanisms = [] }: AuthenticationRequest) => {
      this.#method = 'scram-sha-256';
      this.#bound = this.#way.binding && mechanisms.includes('SCRAM-SHA-256-PLUS');
    });
    connection.on('authenticationSASLFinal', () => (this.#proved = true));
    connection.on('authenticationOk', () => {
      const problem =
        this.#method === 'scram-sha-256' && !this.#proved
          ? new LoginProblem(
              'tls',
              'the server ended the SCRAM login without proving that it knows the password',
            )
          : this.#problem();
      if (problem !== null) connection.emit('error', problem);
    });
  }

  /** The password, once what the server asks for is acceptable. */
  password(): string {
    const problem = this.#problem();
    if (problem !== null) throw problem;
    const { password } = this.#conninfo;
    if (password === null)
      throw new LoginProblem('login', 'the server asks for a password, and none is given');
    return password;
  }

  #problem(): LoginProblem | null {
    if (this.#conninfo.channelBinding === 'require' && !this.#bound) {
      return new LoginProblem(
        'tls',
        'channel_binding=require, and the server does not offer channel binding',
      );
    }
    const methods = this.#conninfo.requireAuth;
    if (methods === null) return null;
    const accepted = methods.some((method) => method.startsWith('!'))
      ? !methods.includes(`!${this.#method}`)
      : methods.includes(this.#method);
    if (accepted) return null;
    return new LoginProblem(
      'tls',
      `require_auth does not accept the server's way to log in ("${this.#method}")`,
    );
  }
}

function checkSessionKind(conninfo: Conninfo, inRecovery: boolean): void {
  if (conninfo.sessionKind === 'primary' && inRecovery) {
    throw new LoginProblem('setup', 'the server is a standby, and target_session_attrs asks for a primary');
  }
  if (conninfo.sessionKind === 'standby' && !inRecovery) {
    throw new LoginProblem('setup', 'the server is a primary, and target_session_attrs asks for a standby');
  }
}

/** A notice without data: what a user's function says (it has a context) may quote rows. */
function noticeWords(
  side: Side,
  notice: { message?: string | undefined; where?: string | undefined },
): string {
  return notice.where ? `${side}: a function gave a notice` : `${side}: ${notice.message ?? 'a notice'}`;
}

const sslRequestCode = 80_877_103;
const cancelRequestCode = 80_877_102;

/** A cancel that gets no answer within this time is given up: it is only a wish. */
const cancelMs = 10_000;

/**
 * Sends a CancelRequest the way the session itself came (TLS included: the key of the session is a secret, and
 * Neon's proxy takes it over TLS only). Resolves when the server closes the connection, which says nothing about
 * whether there was something to cancel.
 */
async function sendCancel(
  client: pg.Client,
  conninfo: Conninfo,
  tls: ConnectionOptions | null,
): Promise<void> {
  const { processID, secretKey } = client as unknown as {
    processID: number | null;
    secretKey: number | null;
  };
  if (processID === null || secretKey === null) return;
  const socket = createSocket(conninfo);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.setTimeout(cancelMs, () => reject(new Error('timeout expired')));
      socket.on('error', reject).on('close', () => resolve());
      const request = words(16, cancelRequestCode, processID, secretKey);
      const upgrade = () => {
        const { host } = conninfo;
        const secure = connectTls({ ...tls, socket, host, ...(isName(host) ? { servername: host } : {}) });
        secure.on('error', reject).on('close', () => resolve());
        secure.once('secureConnect', () => secure.write(request));
      };
      socket.once('connect', () => {
        if (tls === null) socket.write(request);
        else if (conninfo.tls.negotiation === 'direct') upgrade();
        else socket.once('data', upgrade).write(words(8, sslRequestCode));
      });
      if (conninfo.host.startsWith('/')) socket.connect(`${conninfo.host}/.s.PGSQL.${conninfo.port}`);
      else socket.connect(conninfo.port, conninfo.host);
    });
  } finally {
    socket.destroy();
  }
}

/** Whether a host may stand in the TLS handshake: an address may not (RFC 6066 section 3). */
function isName(host: string): boolean {
  return !host.includes(':') && !/^[\d.]+$/.test(host);
}

/** A message of 32-bit words, the first of which is its length. */
function words(...values: readonly number[]): Buffer {
  const message = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) message.writeInt32BE(value | 0, index * 4);
  return message;
}
