/**
 * Throw-away PostgreSQL clusters, for the tests, the benchmarks and the demo.
 *
 * A cluster lives in one directory (data, socket, certificate, log). A small guard process holds the read end of a
 * pipe whose write end is ours: when this process ends, however it ends, the guard reads the end of the file, stops
 * the server and removes the directory. So even after a kill -9 of the test run nothing stays behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { appendFile, chmod, chown, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Account, serverAccount } from './account.js';
import { makeCertificate } from './certificate.js';
import { takeMajor } from './majors.js';
import { type Programs, requirePrograms } from './programs.js';
import { run } from './run.js';

export type ClusterOptions = {
  /** Made when missing, and must be empty. A new directory below the system's temporary one unless told. */
  readonly directory?: string;
  /** On 127.0.0.1. A free one unless told. */
  readonly port?: number;
  /** Server settings, over the defaults. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines for pg_hba.conf, before the general ones. */
  readonly hba?: readonly string[];
  /** Keeps the directory after the end. */
  readonly keep?: boolean;
  /** The installation to use. */
  readonly programs?: Programs;
  /** The major version to use, in place of `programs`. */
  readonly major?: number;
  /** A streaming standby of this server, with its roles, databases and password. */
  readonly standbyOf?: ClusterAddress;
};

/** What is needed to connect to a cluster: plain data, so that it can be handed to other processes. */
export type ClusterAddress = {
  readonly host: string;
  readonly port: number;
  /** The bootstrap superuser is `postgres`. */
  readonly password: string;
  readonly directory: string;
  readonly socketDirectory: string;
  /** The certificate of the authority that signed the server's, for sslrootcert. */
  readonly authorityFile: string;
  /** Where the server programs are. */
  readonly programs: string;
};

/** How a server is stopped: `kill` takes it and all its processes away at once, as a power loss would. */
export type StopMode = 'smart' | 'fast' | 'immediate' | 'kill';

/** A connection URI; the bootstrap superuser unless a user is named. */
export function clusterUri(
  address: ClusterAddress,
  to: { database: string; user?: string; password?: string; parameters?: Readonly<Record<string, string>> },
): string {
  const user = encodeURIComponent(to.user ?? 'postgres');
  const password = encodeURIComponent(to.password ?? address.password);
  const parameters = new URLSearchParams(to.parameters).toString();
  const query = parameters === '' ? '' : `?${parameters}`;
  return `postgres://${user}:${password}@${address.host}:${address.port}/${encodeURIComponent(to.database)}${query}`;
}

/** A server of our own. Dispose of it to stop it and remove its files. */
export class Cluster implements AsyncDisposable {
  readonly address: ClusterAddress;
  readonly #account: Account | null;
  readonly #guard: ChildProcess;
  #running = false;

  constructor(address: ClusterAddress, account: Account | null, guard: ChildProcess) {
    this.address = address;
    this.#account = account;
    this.#guard = guard;
  }

  /** A connection URI; the bootstrap superuser unless a user is named. */
  uri(to: Parameters<typeof clusterUri>[1]): string {
    return clusterUri(this.address, to);
  }

  /** Starts the server, again after a stop: same port, same data. Returns once it accepts connections. */
  async start(): Promise<void> {
    const { directory } = this.address;
    await this.#control(['start', '-l', path.join(directory, 'log'), '-t', '60']);
    this.#running = true;
  }

  /** Stops the server and returns once it is gone. */
  async stop(mode: StopMode = 'fast'): Promise<void> {
    if (!this.#running) return;
    if (mode === 'kill') await this.#kill();
    else await this.#control(['stop', '-m', mode, '-t', '60']);
    this.#running = false;
  }

  async restart(mode: StopMode = 'fast'): Promise<void> {
    await this.stop(mode);
    await this.start();
  }

  /** Has the server read its configuration files again. */
  async reload(): Promise<void> {
    await this.#control(['reload']);
  }

  /** What the server logged so far. */
  async log(): Promise<string> {
    return readFile(path.join(this.address.directory, 'log'), 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running = false;
    if (this.#guard.exitCode !== null) return;
    const gone = new Promise<void>((resolve) => this.#guard.once('exit', () => resolve()));
    this.#guard.ref();
    this.#guard.stdin?.end();
    await gone;
  }

  async #control(args: readonly string[]): Promise<void> {
    const { directory, programs } = this.address;
    try {
      await run(path.join(programs, 'pg_ctl'), [...args, '-w', '-D', path.join(directory, 'data')], {
        ...this.#account,
        cwd: directory,
      });
    } catch (error) {
      const log = await this.log().catch(() => '');
      throw new Error(`${String(error)}\n${log.split('\n').slice(-20).join('\n')}`, { cause: error });
    }
  }

  /** The postmaster first, so that it cannot begin a recovery, then the children it had. */
  async #kill(): Promise<void> {
    const { directory, socketDirectory, port } = this.address;
    const lockFile = path.join(directory, 'data/postmaster.pid');
    const postmaster = Number((await readFile(lockFile, 'utf8')).split('\n')[0]);
    const children = (await listProcesses()).filter(({ parent }) => parent === postmaster);
    const pids = [postmaster, ...children.map(({ pid }) => pid)];
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        // Ended by itself between the list and here.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    while ((await listProcesses()).some(({ pid }) => pids.includes(pid))) await setTimeout(10);
    // In a container nobody may reap them, and a zombie's pid in a lock file would refuse the next start.
    await rm(lockFile);
    await rm(path.join(socketDirectory, `.s.PGSQL.${port}.lock`), { force: true });
  }
}

/** Every process that has not ended; zombies have. */
async function listProcesses(): Promise<{ pid: number; parent: number }[]> {
  const printed = await run('ps', ['-A', '-o', 'pid=', '-o', 'ppid=', '-o', 'stat=']);
  return printed.split('\n').flatMap((line) => {
    const [pid, parent, state] = line.trim().split(/\s+/);
    if (pid === undefined || parent === undefined || state === undefined || state.startsWith('Z')) return [];
    return [{ pid: Number(pid), parent: Number(parent) }];
  });
}

/** Makes a cluster and starts it. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const account = serverAccount();
  const directory = options.directory ?? (await mkdtemp(path.join(os.tmpdir(), 'walferry-')));
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if ((await readdir(directory)).length > 0) throw new Error(`${directory} is not empty`);
  const guard = startGuard(directory, options.keep === true);
  let programs: Programs;
  try {
    programs = await choosePrograms(options, directory);
  } catch (error) {
    guard.stdin?.end();
    throw error;
  }

  const address: ClusterAddress = {
    host: '127.0.0.1',
    port: options.port ?? (await freePort()),
    password: options.standbyOf?.password ?? randomBytes(16).toString('hex'),
    directory,
    socketDirectory: directory,
    authorityFile: path.join(directory, 'certificate/authority.crt'),
    programs: programs.directory,
  };
  const cluster = new Cluster(address, account, guard);
  try {
    await initialise(address, account, options, programs);
    await cluster.start();
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
  return cluster;
}

function choosePrograms(
  { programs, major }: ClusterOptions,
  directory: string,
): Promise<Programs> | Programs {
  if (major !== undefined) return takeMajor(major, path.join(directory, 'programs'));
  return programs ?? requirePrograms();
}

async function initialise(
  address: ClusterAddress,
  account: Account | null,
  options: ClusterOptions,
  programs: Programs,
): Promise<void> {
  const { directory, password } = address;
  const data = path.join(directory, 'data');
  const passwordFile = path.join(directory, 'password');
  await writeFile(passwordFile, password, { mode: 0o600 });
  const certificate = await makeCertificate(path.join(directory, 'certificate'));
  await chmod(certificate.keyFile, 0o600);
  if (account !== null) {
    for (const file of [
      directory,
      passwordFile,
      path.dirname(certificate.keyFile),
      ...Object.values(certificate),
    ]) {
      await chown(file, account.uid, account.gid);
    }
  }
  const standbyOf = options.standbyOf ?? null;
  const program = path.join(programs.directory, standbyOf === null ? 'initdb' : 'pg_basebackup');
  const args =
    standbyOf === null
      ? [
          ...['-D', data, '--username=postgres', `--pwfile=${passwordFile}`, '--no-sync'],
          ...['--encoding=UTF8', '--locale=C', '--auth-local=trust', '--auth-host=scram-sha-256'],
        ]
      : [
          ...['-D', data, '--write-recovery-conf', '--checkpoint=fast', '--no-sync'],
          // Local connections are trusted, so that no password need be handed over.
          ...['-U', 'postgres', '-h', standbyOf.socketDirectory, '-p', String(standbyOf.port)],
        ];
  await run(program, args, { ...account, cwd: directory });
  await rm(passwordFile);
  const plugins = await outputPluginSetting(programs, account, directory);
  const settings: Record<string, string> = {
    listen_addresses: address.host,
    port: String(address.port),
    unix_socket_directories: address.socketDirectory,
    ssl: 'on',
    ssl_cert_file: certificate.certificateFile,
    ssl_key_file: certificate.keyFile,
    password_encryption: 'scram-sha-256',
    wal_level: 'logical',
    max_connections: '200',
    max_replication_slots: '60',
    max_wal_senders: '60',
    max_prepared_transactions: '20',
    // A throw-away cluster need not survive the machine; it does survive a kill of the server.
    fsync: 'off',
    log_line_prefix: '%m [%p] %u@%d %a ',
    ...plugins,
    ...options.settings,
  };
  const lines = Object.entries(settings).map(
    ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
  );
  await appendFile(path.join(data, 'postgresql.conf'), lines.join(''));
  const rules = [
    'local all all trust',
    'local replication all trust',
    ...(options.hba ?? []),
    'host all all 127.0.0.1/32 scram-sha-256',
    'host replication all 127.0.0.1/32 scram-sha-256',
  ];
  await writeFile(path.join(data, 'pg_hba.conf'), `${rules.join('\n')}\n`);
}

/** Minor releases of late 2026 let roles without superuser name only the listed output plugins; wal2json is not. */
async function outputPluginSetting(
  programs: Programs,
  account: Account | null,
  directory: string,
): Promise<Record<string, string>> {
  const known = await run(path.join(programs.directory, 'postgres'), ['--describe-config'], {
    ...account,
    cwd: directory,
  });
  if (!/^output_plugin_libraries\t/m.test(known)) return {};
  return { output_plugin_libraries: 'pgoutput, test_decoding, wal2json' };
}

const guardScript = `
trap '' INT TERM HUP
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -QUIT "$pid" 2>/dev/null
  tries=0
  while [ -e "$1/data/postmaster.pid" ] && [ "$tries" -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
  kill -KILL "$pid" 2>/dev/null
fi
[ "$2" = keep ] || rm -rf "$1"
`;

/** Its own session, so that Ctrl-C on the terminal reaches us and not the guard. */
function startGuard(directory: string, keep: boolean): ChildProcess {
  const guard = spawn(
    '/bin/sh',
    ['-c', guardScript, 'walferry-cluster-guard', directory, keep ? 'keep' : 'remove'],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    },
  );
  guard.unref();
  // A guard that was killed from outside must not end us with EPIPE.
  guard.stdin?.on('error', () => {});
  return guard;
}

/** Below the range from which systems take the ports of outgoing connections: it stays ours while the server is down. */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(20_000, 32_000);
    if (await isFree(port)) return port;
  }
  throw new Error('no free port between 20000 and 32000 on 127.0.0.1');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve(true)));
  });
}
