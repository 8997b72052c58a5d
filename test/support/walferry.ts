/** The built program as a process of its own, as a user runs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import path from 'node:path';
import { inject } from 'vitest';
import { mainFile } from './build.js';

export type WalferryExit = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
};

export type WalferryOptions = {
  readonly env?: Readonly<Record<string, string>>;
  /** Written to stdin, which is closed after it. */
  readonly input?: string;
  readonly cwd?: string;
};

/** A running walferry. Disposing of it kills it when it still runs. */
export class WalferryProcess implements AsyncDisposable {
  /** Resolves when the process is gone, whatever its exit code. */
  readonly exit: Promise<WalferryExit>;
  readonly #child: ChildProcess;
  readonly #watchers = new Set<() => void>();
  #stdout = '';
  #stderr = '';

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#tellWatchers();
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#tellWatchers();
    });
    this.exit = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr });
        this.#tellWatchers();
      });
    });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('walferry did not start');
    return this.#child.pid;
  }

  /** All of it up to now. */
  get stdout(): string {
    return this.#stdout;
  }

  /** All of it up to now. */
  get stderr(): string {
    return this.#stderr;
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  /** Waits until stdout or stderr holds a match; throws when the process ends first or the time is over. */
  async waitForOutput(pattern: RegExp, { timeoutMs = 60_000 } = {}): Promise<RegExpExecArray> {
    const search = () => pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        settle();
      };
      const fail = (why: string) =>
        finish(() =>
          reject(new Error(`${why} ${String(pattern)}\nstdout: ${this.#stdout}\nstderr: ${this.#stderr}`)),
        );
      const look = () => {
        const match = search();
        if (match !== null) finish(() => resolve(match));
        else if (this.#child.exitCode !== null || this.#child.signalCode !== null)
          fail('walferry ended without');
      };
      const timer = setTimeout(() => fail(`walferry did not print within ${timeoutMs} ms`), timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill('SIGKILL');
    await this.exit;
  }

  #tellWatchers(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

/** Runs `walferry …`. No variable of the machine that means something to it or to libpq is handed on. */
export function walferry(args: readonly string[], options: WalferryOptions = {}): WalferryProcess {
  const child = spawn(process.execPath, [mainFile, ...args], {
    env: { ...inheritedEnvironment(), XDG_DATA_HOME: dataHome(), ...options.env },
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  // A program that ends without reading its input is no error of the test's.
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input);
  return new WalferryProcess(child);
}

function inheritedEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(PG|WALFERRY_|PGCOPYDB_|VITEST|NODE_OPTIONS$)/.test(name),
    ),
  );
}

let madeDataHome: string | null = null;

/** Where work directories go that a test does not name: one place per test file, removed after the run. */
function dataHome(): string {
  madeDataHome ??= mkdtempSync(path.join(inject('dataHomes'), 'file-'));
  return madeDataHome;
}
