/** walferry as a program of its own, as in a terminal. */
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';

export type Environment = Readonly<Record<string, string>>;

export type Exit = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** A walferry that runs. Disposing of it stops it, if it has to with force. */
export class Program implements AsyncDisposable {
  readonly exit: Promise<Exit>;
  readonly #child: ChildProcess;
  #ended = false;
  #stopping = false;

  constructor(
    args: readonly string[],
    environment: Environment,
    { signal, onLine = () => {} }: { signal: AbortSignal; onLine?: (line: string) => void },
  ) {
    const child = spawn(process.execPath, [path.resolve('dist/src/cli/main.js'), ...args], {
      env: { ...withoutPostgres(process.env), ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: Ctrl-C is for the demo, which then stops walferry, once.
      detached: true,
    });
    this.#child = child;
    const stop = () => this.#stop();
    signal.addEventListener('abort', stop, { once: true });
    child.once('close', () => signal.removeEventListener('abort', stop));
    let stdout = '';
    let stderr = '';
    createInterface({ input: child.stdout }).on('line', (line) => {
      stdout += `${line}\n`;
    });
    createInterface({ input: child.stderr }).on('line', (line) => {
      stderr += `${line}\n`;
      onLine(line);
    });
    this.exit = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => {
        this.#ended = true;
        resolve({ code, stdout, stderr });
      });
    });
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Once: a second signal would have it stop without tidying up. */
  #stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#child.kill('SIGTERM');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.#stop();
    const force = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    await this.exit.catch(() => {});
    clearTimeout(force);
  }
}

/** Runs one command to its end. */
export async function walferry(
  args: readonly string[],
  environment: Environment,
  signal: AbortSignal,
): Promise<Exit> {
  await using program = new Program(args, environment, { signal });
  return await program.exit;
}

/** No variable of the user's shell may point the demo at the user's own servers. */
function withoutPostgres(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !/^(PG|PGCOPYDB_|WALFERRY_)/.test(name)),
  );
}
