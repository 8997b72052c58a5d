/** Connections against real servers: TLS, logins that fail, sessions that are lost; and no password anywhere. */
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterUri } from '../../scripts/clusters/cluster.js';
import { asFailure, Failure, type FailureCode, type Side } from '../../src/failure.js';
import { silentLog, type Log } from '../../src/log.js';
import { connect, type ConnectOptions } from '../../src/postgres/connect.js';
import { readConninfo, type Conninfo } from '../../src/postgres/connection-string.js';
import { fetchIsInRecovery } from '../../src/postgres/server-facts.js';
import { sqlState } from '../../src/postgres/sqlstate.js';
import { sharedServer, startServer } from '../support/clusters.js';
import { createDatabase } from '../support/databases.js';
import { until } from '../support/until.js';

const canary = 'canary-p@ss w/rd?#%"\'\\';

/** Nothing of the machine's own user: no variables, no files in its home. */
const environment = { HOME: '/nonexistent' };

function read(uri: string, parameters: Record<string, string> = {}): Conninfo {
  const query = new URLSearchParams(parameters).toString().replaceAll('+', '%20');
  return readConninfo(query === '' ? uri : `${uri}${uri.includes('?') ? '&' : '?'}${query}`, environment);
}

/** A URI to the shared server of a side, over TCP. */
function sharedUri(side: Side, to: { database?: string; user?: string; password?: string } = {}): string {
  return clusterUri(sharedServer(side).address, { database: 'postgres', ...to });
}

async function failureOf(conninfo: Conninfo, options: Partial<ConnectOptions> = {}): Promise<Failure> {
  try {
    await using session = await connect(conninfo, {
      side: 'target',
      applicationName: 'test',
      retryForMs: 0,
      ...options,
    });
    throw new Error(`connected to ${session.client.host}`);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return error;
  }
}

function open(conninfo: Conninfo, options: Partial<ConnectOptions> = {}) {
  return connect(conninfo, { side: 'source', applicationName: 'test', retryForMs: 0, ...options });
}

const usesTls = 'select ssl::text from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid()';

describe('a login that fails says why, at once, with its code, and without the password', () => {
  const cases: [claim: string, conninfo: () => Conninfo, code: FailureCode, words: RegExp][] = [
    [
      'wrong password',
      () => read(sharedUri('target', { password: canary })),
      'target-login',
      /^cannot connect to the target at 127\.0\.0\.1:\d+\/postgres as "postgres": password authentication failed/,
    ],
    [
      'no password',
      () =>
        readConninfo(
          `host=127.0.0.1 port=${sharedServer('target').address.port} user=u dbname=d`,
          environment,
        ),
      'target-login',
      /the server asks for a password, and none is given/,
    ],
    [
      'missing database',
      () => read(sharedUri('target', { database: 'not there' })),
      'target-login',
      /at 127\.0\.0\.1:\d+\/not there as "postgres": database "not there" does not exist \(SQLSTATE 3D000\)/,
    ],
    [
      'nothing listens',
      () => read(`postgres://u:${encodeURIComponent(canary)}@127.0.0.1:1/d`),
      'target-unreachable',
      /^cannot connect to the target at 127\.0\.0\.1:1\/d as "u": connection refused: no server listens there$/,
    ],
    [
      'no socket',
      () => read('postgres:///d?host=/nonexistent&user=u'),
      'target-unreachable',
      /there is no such socket/,
    ],
    ['unknown host', () => read('postgres://u@no-such-host.invalid/d'), 'target-unreachable', /host name/],
    [
      "Neon's pooler",
      () => read(`postgres://u:${encodeURIComponent(canary)}@ep-x-123-pooler.eu-central-1.aws.neon.tech/d`),
      'target-setup',
      /ep-x-123-pooler\S+ is Neon's connection pooler/,
    ],
  ];
  test.each(cases)('%s', async (_claim, conninfo, code, words) => {
    const started = performance.now();
    const failure = await failureOf(conninfo(), { retryForMs: code === 'target-unreachable' ? 0 : 60_000 });
    expect(failure.message).toMatch(words);
    expect(failure.code).toBe(code);
    expect(performance.now() - started).toBeLessThan(10_000);
    const printed = inspect(failure, { depth: 10, showHidden: true });
    expect(printed).not.toContain('canary');
    expect(printed).not.toContain(sharedServer('target').address.password);
  });

  test("the remedy for Neon's pooler is the direct host", async () => {
    const failure = await failureOf(read('postgres://u@ep-x-123-pooler.eu-central-1.aws.neon.tech/d'));
    expect(failure.remedy).toBe('Use the direct host: ep-x-123.eu-central-1.aws.neon.tech');
  });

  test('the password file that others may read is mentioned', async ({ onTestFinished }) => {
    const { address } = sharedServer('target');
    const file = path.join(address.directory, `pgpass-${process.pid}`);
    await writeFile(file, `*:*:*:*:${address.password}\n`, { mode: 0o644 });
    onTestFinished(async () => (await import('node:fs/promises')).rm(file));
    const uri = `host=127.0.0.1 port=${address.port} user=postgres dbname=postgres passfile=${file}`;
    const failure = await failureOf(readConninfo(uri, environment));
    expect(failure.code).toBe('target-login');
    expect(failure.message).toContain(`the password file ${file} was not used because others may read it`);

    await (await import('node:fs/promises')).chmod(file, 0o600);
    await using session = await open(readConninfo(uri, environment));
    expect(await session.query('select 1 as one')).toEqual([{ one: '1' }]);
  });

  test('a right that is missing', async () => {
    await using database = await createDatabase('target');
    await database.sql(`revoke connect on database ${database.name} from public`);
    await database.sql(`create role ${database.name}_r login password 'x'`);
    const uri = sharedUri('target', { database: database.name, user: `${database.name}_r`, password: 'x' });
    const failure = await failureOf(read(uri), { retryForMs: 60_000 });
    await database.sql(`drop role ${database.name}_r`);
    expect(failure.code).toBe('target-rights');
    expect(failure.message).toMatch(/permission denied for database/);
  });
});

describe('sslmode means what libpq means by it', () => {
  const root = () => sharedServer('source').address.authorityFile;
  const accepted: [parameters: () => Record<string, string>, tls: string][] = [
    [() => ({ sslmode: 'disable' }), 'false'],
    [() => ({ sslmode: 'allow' }), 'false'],
    [() => ({}), 'true'],
    [() => ({ sslmode: 'require' }), 'true'],
    [() => ({ sslmode: 'require', sslrootcert: root() }), 'true'],
    [() => ({ sslmode: 'verify-ca', sslrootcert: root() }), 'true'],
    [() => ({ sslmode: 'verify-full', sslrootcert: root() }), 'true'],
    [() => ({ sslmode: 'require', channel_binding: 'require' }), 'true'],
    [() => ({ sslmode: 'require', channel_binding: 'disable' }), 'true'],
    [() => ({ sslmode: 'require', require_auth: 'scram-sha-256' }), 'true'],
    [() => ({ sslmode: 'require', ssl_min_protocol_version: 'TLSv1.3' }), 'true'],
  ];
  test.each(accepted)('%o', async (parameters, tls) => {
    await using session = await open(read(sharedUri('source'), parameters()));
    expect(await session.query(usesTls)).toEqual([{ ssl: tls }]);
  });

  test('verify-full checks the name behind hostaddr, and refuses another', async () => {
    const { port, password } = sharedServer('source').address;
    const through = (host: string, mode: string) =>
      readConninfo(
        `host=${host} hostaddr=127.0.0.1 port=${port} user=postgres password=${password} dbname=postgres sslmode=${mode} sslrootcert='${root()}'`,
        environment,
      );
    await using session = await open(through('wrong.example', 'verify-ca'));
    expect(await session.query(usesTls)).toEqual([{ ssl: 'true' }]);
    const failure = await failureOf(through('wrong.example', 'verify-full'));
    expect(failure.code).toBe('target-tls');
    expect(failure.message).toMatch(/wrong\.example/);
  });

  const refused: [parameters: Record<string, string>, words: RegExp][] = [
    [{ sslmode: 'verify-ca' }, /needs a root certificate, and there is none/],
    [{ sslmode: 'verify-full', sslrootcert: 'system' }, /certificate/],
    [
      { sslmode: 'require', sslrootcert: '/nonexistent/root.crt' },
      /\/nonexistent\/root\.crt \(sslrootcert\)/,
    ],
    [{ require_auth: 'md5' }, /require_auth does not accept/],
    [{ require_auth: '!scram-sha-256' }, /require_auth does not accept/],
  ];
  test.each(refused)('%o is refused', async (parameters, words) => {
    const failure = await failureOf(read(sharedUri('target'), parameters));
    expect(failure.message).toMatch(words);
    expect(failure.code).toBe('target-tls');
  });

  test("a certificate of another authority is refused by require with sslrootcert, and passed over by prefer's plain", async () => {
    await using other = await startServer('source', { settings: { ssl: 'off' } });
    const wrong = { sslrootcert: other.address.authorityFile };
    const failure = await failureOf(read(sharedUri('target'), { sslmode: 'require', ...wrong }));
    expect(failure.code).toBe('target-tls');
    await using session = await open(read(sharedUri('target'), { sslmode: 'prefer', ...wrong }));
    expect(await session.query(usesTls)).toEqual([{ ssl: 'false' }]);

    const without = clusterUri(other.address, { database: 'postgres' });
    const noTls = await failureOf(read(without, { sslmode: 'require' }));
    expect(noTls.code).toBe('target-tls');
    expect(noTls.message).toMatch(/the server does not offer TLS, which sslmode demands/);
    const unbound = await failureOf(read(without, { channel_binding: 'require' }));
    expect(unbound.code).toBe('target-tls');
    await using plain = await open(read(without));
    expect(await plain.query(usesTls)).toEqual([{ ssl: 'false' }]);
  });

  test('what pg_hba.conf refuses one way is tried the other way by allow and prefer, and by no other mode', async () => {
    const hba = [
      'hostssl sslonly all all scram-sha-256',
      'host sslonly all all reject',
      'hostnossl plain all all trust',
      'host plain all all reject',
    ];
    await using server = await startServer('source', { hba });
    const { address } = server;
    await using postgres = await open(read(clusterUri(address, { database: 'postgres' })));
    await postgres.query('create database sslonly');
    await postgres.query('create database plain');
    const tlsOf = async (database: string, sslmode: string) => {
      await using session = await open(read(clusterUri(address, { database }), { sslmode }));
      return (await session.query(usesTls))[0]?.['ssl'];
    };
    expect(await tlsOf('sslonly', 'allow')).toBe('true');
    expect(await tlsOf('plain', 'prefer')).toBe('false');
    const disabled = await failureOf(
      read(clusterUri(address, { database: 'sslonly' }), { sslmode: 'disable' }),
    );
    expect([disabled.code, sqlState(disabled)]).toEqual(['target-login', '28000']);
    const wrong = read(clusterUri(address, { database: 'sslonly', password: canary }), { sslmode: 'allow' });
    expect(sqlState(await failureOf(wrong))).toBe('28P01');
    // With trust nobody proves anything: channel_binding=require must not take it.
    const unproved = await failureOf(
      read(clusterUri(address, { database: 'plain' }), { channel_binding: 'require' }),
    );
    expect(unproved.code).toBe('target-tls');
  });
});

describe('a session', () => {
  test('knows its server, and its values are text', async () => {
    await using session = await open(read(sharedUri('source')));
    const [row] = await session.query(
      'select current_setting($1) as version, null as nothing, 1.50 as number, true as yes',
      ['server_version_num'],
    );
    expect(row).toEqual({ version: String(session.serverVersion), nothing: null, number: '1.50', yes: 't' });
    expect(await session.query('select pg_backend_pid() as pid')).toEqual([
      { pid: String(session.backendPid) },
    ]);
    expect(session.parameter('server_encoding')).toBe('UTF8');
    expect(session.inRecovery).toBe(false);
    expect(await fetchIsInRecovery(session)).toBe(false);
  });

  test('tells the command tag, and the last result of several statements', async () => {
    await using session = await open(read(sharedUri('source')));
    const made = await session.run('create temp table t (id int); insert into t values (1), (2)');
    expect(made).toEqual({ rows: [], command: 'INSERT', count: 2 });
    expect(await session.run('delete from t where id = $1', ['1'])).toMatchObject({
      command: 'DELETE',
      count: 1,
    });
  });

  test.each([false, true])(
    'starts with our settings whatever role and database say (replication: %s)',
    async (replication) => {
      await using database = await createDatabase('source');
      const hostile = {
        datestyle: 'SQL, DMY',
        intervalstyle: 'iso_8601',
        extra_float_digits: '0',
        bytea_output: 'escape',
        statement_timeout: '1000',
        lock_timeout: '1000',
        idle_in_transaction_session_timeout: '1000',
        idle_session_timeout: '1000',
        default_transaction_read_only: 'on',
        default_transaction_isolation: 'serializable',
        standard_conforming_strings: 'off',
        search_path: 'public',
        array_nulls: 'off',
        row_security: 'on',
        timezone: 'Asia/Kathmandu',
      };
      for (const [name, value] of Object.entries(hostile)) {
        await database.sql(`alter database ${database.name} set ${name} = '${value.replace(', ', "', '")}'`);
      }
      const conninfo = read(database.uri, { options: '-c statement_timeout=5s' });
      await using session = await open(conninfo, { replication });
      const names = [
        'DateStyle',
        'IntervalStyle',
        'extra_float_digits',
        'bytea_output',
        'statement_timeout',
        'lock_timeout',
        'idle_in_transaction_session_timeout',
        'idle_session_timeout',
        'default_transaction_read_only',
        'default_transaction_isolation',
        'standard_conforming_strings',
        'search_path',
        'array_nulls',
        'row_security',
        'TimeZone',
        'client_encoding',
        'lc_monetary',
        'xmloption',
        'application_name',
      ];
      const rows = await session.query(
        `select name, setting from pg_catalog.pg_settings where name in (${names.map((name) => `'${name}'`).join(', ')})`,
      );
      expect(Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))).toEqual({
        DateStyle: 'ISO, DMY',
        IntervalStyle: 'postgres',
        extra_float_digits: '3',
        bytea_output: 'hex',
        statement_timeout: '0',
        lock_timeout: '0',
        idle_in_transaction_session_timeout: '0',
        idle_session_timeout: '0',
        default_transaction_read_only: 'off',
        default_transaction_isolation: 'read committed',
        standard_conforming_strings: 'on',
        search_path: '',
        array_nulls: 'on',
        row_security: 'off',
        TimeZone: 'UTC',
        client_encoding: 'UTF8',
        lc_monetary: 'C',
        xmloption: 'content',
        application_name: 'test',
      });
      await using own = await open(conninfo, { timeZone: 'server' });
      expect(await own.query("select current_setting('timezone') as zone")).toEqual([
        { zone: 'Asia/Kathmandu' },
      ]);
    },
  );

  test('takes nothing from the environment of the process', async ({ onTestFinished }) => {
    const saved = { ...process.env };
    onTestFinished(() => void (process.env = saved));
    Object.assign(process.env, {
      PGOPTIONS: '-c geqo=off',
      PGPASSWORD: 'wrong',
      PGSSLMODE: 'disable',
      PGAPPNAME: 'other',
      PGSSLNEGOTIATION: 'nonsense',
    });
    await using session = await open(read(sharedUri('source')));
    expect(
      await session.query(
        `select current_setting('geqo') as geqo, current_setting('application_name') as name`,
      ),
    ).toEqual([{ geqo: 'on', name: 'test' }]);
    expect(await session.query(usesTls)).toEqual([{ ssl: 'true' }]);
  });

  test('speaks through a Unix socket, where sslmode has no say', async () => {
    const { socketDirectory, port } = sharedServer('source').address;
    await using session = await open(
      readConninfo(
        `postgres:///postgres?host=${encodeURIComponent(socketDirectory)}&port=${port}&user=postgres&sslmode=require`,
        environment,
      ),
    );
    expect(await session.query(usesTls)).toEqual([{ ssl: 'false' }]);
  });

  test('does not end the process when it is ended from outside, and tells at the next query', async () => {
    await using session = await open(read(sharedUri('source')));
    await using other = await open(read(sharedUri('source')));
    await other.query('select pg_terminate_backend($1::int)', [String(session.backendPid)]);
    await until('the session is lost', () => session.lost !== null);
    const failure = await session.query('select 1').catch(asFailure);
    expect(failure).toMatchObject({ code: 'source-disconnected' });
    expect((failure as Failure).message).toMatch(
      /terminating connection due to administrator command \(SQLSTATE 57P01\)/,
    );
  });

  test('tells when it is ended during a query', async () => {
    await using session = await open(read(sharedUri('source')));
    await using other = await open(read(sharedUri('source')));
    const answer = session.query('select pg_sleep(60)').catch(asFailure);
    await other.query('select pg_terminate_backend($1::int)', [String(session.backendPid)]);
    expect(await answer).toMatchObject({ code: 'source-disconnected' });
    expect(await session.query('select 1').catch(asFailure)).toMatchObject({ code: 'source-disconnected' });
  });

  test.each([
    ['TLS', { sslmode: 'require' }],
    ['plain', { sslmode: 'disable' }],
  ])('can be cancelled (%s)', async (_way, parameters) => {
    await using session = await open(read(sharedUri('source'), parameters));
    await using other = await open(read(sharedUri('source')));
    const answer = session.query('select pg_sleep(60)').catch(asFailure);
    await until('the query runs', async () => {
      const rows = await other.query(
        "select 1 as one from pg_stat_activity where pid = $1::int and state = 'active'",
        [String(session.backendPid)],
      );
      return rows.length === 1;
    });
    await session.cancel();
    expect(sqlState(await answer)).toBe('57014');
    expect(await session.query('select 1 as one')).toEqual([{ one: '1' }]);
  });

  test('closes in time though a query runs', async () => {
    const session = await open(read(sharedUri('source')));
    const answer = session.query('select pg_sleep(60)').catch(asFailure);
    const started = performance.now();
    await session.close();
    expect(performance.now() - started).toBeLessThan(3000);
    expect(await answer).toBeInstanceOf(Failure);
  });

  test('errors name the side and no row values', async () => {
    await using session = await open(read(sharedUri('source')));
    const message = async (sql: string) => asFailure(await session.query(sql).catch(asFailure)).message;
    expect(await message(`select 'canary'::int`)).toBe(
      'source: invalid input syntax for type integer: "…" (SQLSTATE 22P02)',
    );
    expect(await message(`do $$ begin raise 'canary'; end $$`)).toBe(
      'source: PL/pgSQL function inline_code_block line 1 raised an exception (SQLSTATE P0001)',
    );
    await session.query('create temp table t (id text primary key)');
    expect(await message(`insert into t values ('canary'), ('canary')`)).toBe(
      'source: duplicate key value violates unique constraint "t_pkey" (SQLSTATE 23505)',
    );
    expect(
      asFailure(await session.query('select nothing', [], 'could not look').catch(asFailure)).message,
    ).toBe('source: could not look: column "nothing" does not exist (SQLSTATE 42703)');
  });

  test('notices go to the log, those of functions without their words', async () => {
    const lines: string[] = [];
    const keep = (message: string) => void lines.push(message);
    const log: Log = { error: keep, warn: keep, info: keep, notice: keep, debug: keep };
    await using session = await open(read(sharedUri('source')), { log });
    await session.query('drop table if exists public.not_there');
    await session.query(`do $$ begin raise notice 'canary'; end $$`);
    expect(lines).toEqual([
      'source: table "not_there" does not exist, skipping',
      'source: a function gave a notice',
    ]);
  });

  test('printed, it shows no password', async () => {
    const { password } = sharedServer('source').address;
    const conninfo = read(sharedUri('source'));
    await using session = await open(conninfo);
    const printed = inspect(session, { depth: 20 }) + inspect(conninfo) + JSON.stringify(conninfo);
    expect(printed).not.toContain(password);
  });
});

describe('a server that does not speak as expected fails the login, and never the process', () => {
  const message = (type: string, ...body: number[]) =>
    Buffer.from([type.charCodeAt(0), 0, 0, 0, body.length + 4, ...body]);
  test.each<
    [claim: string, answer: Buffer, parameters: Record<string, string>, code: FailureCode, words: RegExp]
  >([
    [
      'GSSAPI',
      message('R', 0, 0, 0, 7),
      { sslmode: 'disable' },
      'target-setup',
      /a way to log in that walferry does not have/,
    ],
    ['another protocol', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), {}, 'target-unreachable', /./],
    ['neither yes nor no to TLS', Buffer.from('X'), { sslmode: 'require' }, 'target-unreachable', /SSL/],
    ['no TLS', Buffer.from('N'), { sslmode: 'require' }, 'target-tls', /does not offer TLS/],
    [
      'no proof of the password',
      message('R', 0, 0, 0, 0),
      { sslmode: 'disable', require_auth: 'scram-sha-256' },
      'target-tls',
      /require_auth/,
    ],
    [
      'the password in clear',
      message('R', 0, 0, 0, 3),
      { sslmode: 'disable', require_auth: 'scram-sha-256' },
      'target-tls',
      /require_auth/,
    ],
  ])('%s', async (_claim, answer, parameters, code, words) => {
    const heard: Buffer[] = [];
    const server = createServer((socket) => {
      socket.on('error', () => {}).on('data', (chunk) => heard.push(chunk));
      socket.once('data', () => socket.end(answer));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const conninfo = read(`postgres://u:${encodeURIComponent(canary)}@127.0.0.1:${port}/d`, parameters);
    const failure = await failureOf(conninfo);
    await new Promise((resolve) => server.close(resolve));
    expect(failure.message).toMatch(words);
    expect(failure.code).toBe(code);
    expect(Buffer.concat(heard).toString('latin1')).not.toContain('canary');
  });
});

describe('a server that is not there yet', () => {
  let silent: Server;
  beforeAll(async () => {
    silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => void silent.close());
  const silentUri = (parameters: Record<string, string> = {}) => {
    const address = silent.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return read(`postgres://u:${encodeURIComponent(canary)}@127.0.0.1:${address.port}/d`, parameters);
  };

  test('is waited for', async () => {
    await using server = await startServer('source');
    await server.cluster.stop();
    const warnings: string[] = [];
    const log = {
      error() {},
      warn: (line: string) => void warnings.push(line),
      info() {},
      notice() {},
      debug() {},
    };
    const uri = clusterUri(server.address, { database: 'postgres' });
    const waiting = open(read(uri), { retryForMs: 60_000, log });
    await until('the first attempt failed', () => warnings.length > 0);
    await server.cluster.start();
    await using session = await waiting;
    expect(await session.query('select 1 as one')).toEqual([{ one: '1' }]);
    expect(warnings).toEqual([expect.stringMatching(/connection refused.*; trying again for 60 s/)]);
  });

  test('is given up after the time given', async () => {
    const started = performance.now();
    const failure = await failureOf(read('postgres://u@127.0.0.1:1/d'), { retryForMs: 300 });
    expect(failure.code).toBe('target-unreachable');
    expect(performance.now() - started).toBeGreaterThanOrEqual(290);
  });

  test('that accepts and says nothing is given up after connect_timeout', async () => {
    const failure = await failureOf(silentUri({ connect_timeout: '1' }));
    expect(failure.code).toBe('target-unreachable');
    expect(failure.message).toMatch(/no answer within 1 s/);
  });

  test('is no longer waited for once asked to stop', async () => {
    const controller = new AbortController();
    const whileSilent = failureOf(silentUri(), { signal: controller.signal });
    const whilePausing = failureOf(read('postgres://u@127.0.0.1:1/d'), {
      signal: controller.signal,
      retryForMs: 60_000,
    });
    setImmediate(() => controller.abort());
    expect((await whileSilent).code).toBe('stopped');
    expect((await whilePausing).code).toBe('stopped');
    expect((await failureOf(silentUri(), { signal: controller.signal })).code).toBe('stopped');
  });
});

test('a server that has no connection left is asked again for as long as was said, and not at all unless told', async () => {
  await using database = await createDatabase('target');
  const name = `${database.name}_crowd`;
  await database.sql(
    `create role ${name} login password '${canary.replaceAll("'", "''")}' connection limit 0`,
  );
  try {
    const conninfo = read(sharedUri('target', { database: database.name, user: name, password: canary }));
    expect(sqlState(await failureOf(conninfo))).toBe('53300');
    const began = Date.now();
    const late = await failureOf(conninfo, { refusedForMs: 300 });
    expect([sqlState(late), Date.now() - began >= 300]).toEqual(['53300', true]);

    const said: string[] = [];
    const log: Log = { ...silentLog, warn: (message) => said.push(message) };
    const opening = open(conninfo, { side: 'target', refusedForMs: 60_000, log });
    await until('it says that it waits', () => Promise.resolve(said.length > 0));
    await database.sql(`alter role ${name} connection limit 1`);
    await using session = await opening;
    expect(session.lost).toBeNull();
    expect(said).toEqual([expect.stringMatching(/too many connections .*; trying again for 60 s/)]);
  } finally {
    await database.sql(`drop role ${name}`);
  }
});
