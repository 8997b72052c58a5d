/**
 * PostgreSQL's own client programs: found, checked against the server's version, and run with the connection in
 * their environment: never in their arguments, which everybody on the machine can read.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants, readdirSync, realpathSync } from 'node:fs';
import os from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Failure, throwIfStopped, type Side } from '../failure.js';
import type { Log } from '../log.js';
import { clientEnvironment, type Conninfo } from './connection-string.js';
import { refusedForMs, saysNoConnection } from './too-many-connections.js';

export type ClientTool = 'pg_dump' | 'pg_restore' | 'pg_dumpall';

export type ClientTools = {
  /** Where all of them are. */
  readonly directory: string;
  /** Their version as server_version_num without the minor: 150000. */
  readonly version: number;
};

const execute = promisify(execFile);

const tools: readonly ClientTool[] = ['pg_dump', 'pg_restore', 'pg_dumpall'];

/**
 * Finds the client programs: those of `$PG_CONFIG` when it is set, else the first on PATH or in the usual places
 * (newest first) that are at least of the server's major version, since an older pg_dump refuses or misunderstands
 * the server. Throws `client-tools-missing` or `client-tools-old`.
 */
export async function locateClientTools(options: {
  /** server_version_num of the server to dump; 0 takes any. */
  readonly serverVersion: number;
  readonly environment?: NodeJS.ProcessEnv;
}): Promise<ClientTools> {
  const { serverVersion, environment = process.env } = options;
  const directories = await candidateDirectories(environment);
  let newest: ClientTools | null = null;
  for (const directory of directories) {
    const version = await versionIn(directory);
    if (version === null) continue;
    if (major(version) >= major(serverVersion)) return { directory, version };
    if (newest === null || version > newest.version) newest = { directory, version };
  }
  if (newest !== null) {
    throw new Failure(
      'client-tools-old',
      `pg_dump in ${newest.directory} is version ${major(newest.version)}, and the source server is version ${major(serverVersion)}`,
    );
  }
  const where = environment['PG_CONFIG']
    ? `where PG_CONFIG points to (${environment['PG_CONFIG']})`
    : 'on PATH';
  throw new Failure('client-tools-missing', `pg_dump, pg_restore and pg_dumpall were not found ${where}`);
}

function major(version: number): number {
  return Math.floor(version / 10_000);
}

async function candidateDirectories(environment: NodeJS.ProcessEnv): Promise<string[]> {
  const program = environment['PG_CONFIG'];
  if (program) {
    try {
      return [(await execute(program, ['--bindir'])).stdout.trim()];
    } catch (error) {
      throw new Failure('client-tools-missing', `PG_CONFIG is set, and ${program} --bindir does not work`, {
        cause: error,
      });
    }
  }
  const onPath = (environment['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
  return [...new Set([...onPath.filter((directory) => !isDebianWrapper(directory)), ...usualDirectories()])];
}

/**
 * Debian's /usr/bin/pg_dump is a script that chooses a version by rules of its own, and not always the same for
 * `--version` as for a dump. The programs that it chooses from are in the usual places.
 */
function isDebianWrapper(directory: string): boolean {
  try {
    return basename(realpathSync(join(directory, 'pg_dump'))) === 'pg_wrapper';
  } catch {
    return false;
  }
}

/** Parent directory, the names in it that hold a version, and where the programs are below: Debian, Red Hat, macOS. */
const installations: readonly (readonly [parent: string, name: RegExp, below: string])[] = [
  ['/usr/lib/postgresql', /^(\d+)$/, 'bin'],
  ['/usr', /^pgsql-(\d+)$/, 'bin'],
  ['/opt/homebrew/opt', /^(?:libpq|postgresql@(\d+))$/, 'bin'],
  ['/usr/local/opt', /^(?:libpq|postgresql@(\d+))$/, 'bin'],
  ['/Applications/Postgres.app/Contents/Versions', /^(\d+)$/, 'bin'],
];

function usualDirectories(): string[] {
  return installations.flatMap(([parent, pattern, below]) =>
    names(parent)
      .flatMap((name) => {
        const match = pattern.exec(name);
        // Homebrew's libpq has no number, and is the newest.
        return match === null ? [] : [{ name, version: Number(match[1] ?? 1000) }];
      })
      .sort((a, b) => b.version - a.version)
      .map(({ name }) => join(parent, name, below)),
  );
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** The version of the programs in a directory; null when not all of them are there and can be run. */
async function versionIn(directory: string): Promise<number | null> {
  try {
    for (const tool of tools) accessSync(join(directory, tool), constants.X_OK);
    return readToolVersion((await execute(join(directory, 'pg_dump'), ['--version'])).stdout);
  } catch {
    return null;
  }
}

/** `pg_dump (PostgreSQL) 15.20 (Debian 15.20-1)` → 150000; null for anything else. */
export function readToolVersion(printed: string): number | null {
  const match = /^pg_dump \(PostgreSQL\) (\d+)/.exec(printed);
  return match === null ? null : Number(match[1]) * 10_000;
}

export type RunClientTool = {
  readonly tool: ClientTool;
  readonly args: readonly string[];
  /**
   * The server to speak to; without one, none (`pg_restore --list`). `--dbname` is added when `args` has none, with
   * the keepalive parameters, for which libpq has no variables.
   */
  readonly conninfo?: Conninfo | undefined;
  /** Whose server it is, for messages. */
  readonly side?: Side | undefined;
  /** server_version_num of the source, when its version matters. */
  readonly serverVersion?: number | undefined;
  /** Found before; looked for unless told. */
  readonly tools?: ClientTools | undefined;
  /** Ends the program, and rejects with `stopped`. */
  readonly signal?: AbortSignal | undefined;
  readonly log: Log;
  /** Where its errors go in the log: `notice` for a caller who reads `stderr` and tells of errors himself. */
  readonly errorsAs?: 'error' | 'notice' | undefined;
  /** Takes what it prints, line by line; `stdout` of the result is then empty. */
  readonly onLine?: ((line: string) => void) | undefined;
};

export type ClientToolResult = {
  /** Exit status; 128 and more for a program that was killed by a signal. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
};

/** More than any schema's list or errors; what is beyond is dropped, so that memory stays bounded. */
const maxOutputCharacters = 64 * 1024 * 1024;

/** pg_dump and pg_restore end their own workers at SIGTERM; one that does not within this time is killed. */
const killAfterMs = 5000;

/** As long as a session's login is tried again, with pauses in between. */
const pauseWhenRefusedMs = 2000;

/**
 * Runs a client program to its end; one for which the server has no connection is started again, for a while. Its words go to the log line by line. Resolves whatever the exit status is: pg_restore
 * has one for "some statements failed", about which the caller decides; {@link clientToolFailure} makes the Failure.
 * Rejects with `stopped`, `client-tools-missing` or `client-tools-old`.
 */
export async function runClientTool(options: RunClientTool): Promise<ClientToolResult> {
  const { tool, side, log, signal } = options;
  const until = Date.now() + refusedForMs;
  let said = false;
  for (;;) {
    const result = await runOnce(options);
    if (result.code === 0 || !saysNoConnection(result.stderr) || Date.now() > until) return result;
    if (!said)
      log.warn(
        `the ${side} has no connection for ${tool}: it waits for one, ${refusedForMs / 1000} s at most`,
      );
    said = true;
    await sleep(pauseWhenRefusedMs, undefined, signal === undefined ? {} : { signal }).catch(() => {});
    throwIfStopped(signal);
  }
}

async function runOnce(options: RunClientTool): Promise<ClientToolResult> {
  const { tool, conninfo, signal } = options;
  throwIfStopped(signal);
  const { directory } =
    options.tools ?? (await locateClientTools({ serverVersion: options.serverVersion ?? 0 }));
  throwIfStopped(signal);
  const args =
    conninfo === undefined ? options.args : [...connectionArguments(conninfo, options.args), ...options.args];
  const child = spawn(join(directory, tool), args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: toolEnvironment(options),
  });
  let timer: NodeJS.Timeout | undefined;
  const stop = () => {
    child.kill('SIGTERM');
    timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
  };
  signal?.addEventListener('abort', stop);
  try {
    const relay = new ErrorRelay(tool, options);
    createInterface({ input: child.stderr, crlfDelay: Infinity }).on('line', (line) => relay.line(line));
    const [code, stdout, stderr] = await Promise.all([
      ended(child, tool, directory),
      options.onLine === undefined ? collect(child.stdout) : readLines(child.stdout, options.onLine),
      collect(child.stderr),
    ]);
    throwIfStopped(signal);
    return { code, stdout, stderr };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

/** The environment of a client program: ours, without its PG* variables, with the connection's. */
function toolEnvironment({ tool, conninfo, serverVersion = 0 }: RunClientTool): NodeJS.ProcessEnv {
  const connection = conninfo === undefined ? {} : clientEnvironment(conninfo);
  if (tool === 'pg_dumpall') {
    connection['PGOPTIONS'] = [connection['PGOPTIONS'] ?? '', ...withoutTimeLimits(serverVersion)]
      .join(' ')
      .trim();
  }
  // LC_ALL: error lines are told from others by their English prefix.
  return { ...process.env, ...connection, PGAPPNAME: `walferry ${tool}`, LC_ALL: 'C' };
}

/** pg_dump and pg_restore lift the time limits that a role or a database has; pg_dumpall does not, and is ended by them. */
function withoutTimeLimits(serverVersion: number): string[] {
  const limits = [
    'statement_timeout',
    'lock_timeout',
    'idle_in_transaction_session_timeout',
    'idle_session_timeout',
    ...(serverVersion >= 170_000 ? ['transaction_timeout'] : []),
  ];
  return limits.map((limit) => `-c ${limit}=0`);
}

/**
 * `--dbname` with what no variable can carry, and never a prompt. The name is quoted, as one that looks like a
 * connection string would be read as one.
 */
function connectionArguments(conninfo: Conninfo, args: readonly string[]): string[] {
  if (args.some((arg) => /^(?:-d|--dbname)/.test(arg))) return ['--no-password'];
  const quoted = (value: string) => `'${value.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
  const parameters = {
    dbname: conninfo.database,
    keepalives: conninfo.keepaliveIdleSeconds === null ? '0' : '1',
    ...(conninfo.keepaliveIdleSeconds === null
      ? {}
      : { keepalives_idle: String(conninfo.keepaliveIdleSeconds) }),
    ...conninfo.keepaliveParameters,
  };
  const text = Object.entries(parameters).map(([keyword, value]) => `${keyword}=${quoted(value)}`);
  return ['--no-password', `--dbname=${text.join(' ')}`];
}

function ended(child: ChildProcess, tool: ClientTool, directory: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(
        new Failure('client-tools-missing', `${join(directory, tool)} could not be started`, {
          cause: error,
        }),
      );
    });
    child.once('close', (code, signal) => resolve(code ?? 128 + os.constants.signals[signal ?? 'SIGTERM']));
  });
}

/** Only a line feed ends a line: a name may hold what else looks like an end. */
async function readLines(stream: Readable, onLine: (line: string) => void): Promise<string> {
  stream.setEncoding('utf8');
  let rest = '';
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
  await new Promise<void>((resolve) => stream.once('close', resolve));
  if (rest !== '') onLine(rest);
  return '';
}

async function collect(stream: Readable): Promise<string> {
  stream.setEncoding('utf8');
  const chunks: string[] = [];
  let length = 0;
  stream.on('data', (chunk: string) => {
    if (length < maxOutputCharacters) chunks.push(chunk);
    length += chunk.length;
  });
  await new Promise<void>((resolve) => stream.once('close', resolve));
  return chunks.join('');
}

type Level = 'error' | 'warn' | 'notice' | 'debug';

/**
 * Brings a program's stderr to the log. A failed statement is printed by pg_restore in full after `Command was:`, and
 * may hold a password (a user mapping's, a subscription's): only its beginning, up to the first quote, goes on.
 */
class ErrorRelay {
  readonly #prefix: string;
  readonly #log: Log;
  readonly #errorsAs: 'error' | 'notice';
  #inCommand = false;
  #level: Level = 'debug';

  constructor(tool: ClientTool, options: RunClientTool) {
    this.#prefix = `${tool}: `;
    this.#log = options.log;
    this.#errorsAs = options.errorsAs ?? 'error';
  }

  line(line: string): void {
    if (line.startsWith(this.#prefix)) {
      this.#inCommand = false;
      this.#level = this.#levelOf(line.slice(this.#prefix.length));
    } else if (line.startsWith('Command was: ')) {
      this.#inCommand = true;
      this.#write(beginning(line));
      return;
    }
    if (!this.#inCommand && line !== '') this.#write(line);
  }

  #levelOf(words: string): Level {
    if (saysNoConnection(this.#prefix + words)) return 'notice';
    if (words.startsWith('error: ')) return this.#errorsAs;
    if (words.startsWith('warning: ')) return this.#errorsAs === 'notice' ? 'notice' : 'warn';
    // These belong to the line before them.
    return /^(?:detail|hint): /.test(words) ? this.#level : 'debug';
  }

  #write(words: string): void {
    this.#log[this.#level](words.startsWith(this.#prefix) ? words : `${this.#prefix}${words}`);
  }
}

function beginning(command: string): string {
  const quote = command.search(/['$]/);
  return quote === -1 ? command : `${command.slice(0, quote)}…`;
}

/** A program that ended with an error, as a Failure: with its last error line. */
export function clientToolFailure(tool: ClientTool, result: ClientToolResult, side?: Side): Failure {
  const errors = result.stderr.split('\n').filter((line) => line.startsWith(`${tool}: error: `));
  const last = errors.at(-1)?.slice(`${tool}: error: `.length) ?? 'it gave no reason';
  const where = side === undefined ? '' : ` on the ${side}`;
  return new Failure('client-tool-failed', `${tool}${where} ended with status ${result.code}: ${last}`);
}
