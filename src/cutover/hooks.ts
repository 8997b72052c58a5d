/**
 * The operator's commands at the seams of a cutover. A command line for the shell, as it was typed; it inherits the
 * environment, where connection strings are found by who needs them, and is given no more than where the cutover is.
 * What it prints goes to the log, line by line.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';

export type HookOptions = {
  readonly name: '--before-freeze' | '--after' | '--on-undo';
  readonly command: string;
  readonly timeoutMs: number;
  readonly environment: NodeJS.ProcessEnv;
  /** WALFERRY_CUTOVER_…, without secrets. */
  readonly facts: Readonly<Record<string, string>>;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** A command that was told to end and does not is killed after this time. */
const graceMs = 5000;
/** What a command has printed arrives a moment behind its end. What it left running may hold the pipes for ever. */
const lastOutputMs = 200;

/** Runs it to its end; what it has started in the background goes on. Throws `hook-failed` when it ends with another status than 0, or not in time. */
export async function runHook(options: HookOptions): Promise<void> {
  const { name, command, timeoutMs, environment, facts, log, signal } = options;
  const child = spawn('/bin/sh', ['-c', command], {
    env: { ...environment, ...facts },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: what a command that is ended has started ends with it.
    detached: true,
  });
  const relay = (line: string) => log.info(`${name}: ${line}`);
  createInterface({ input: child.stdout }).on('line', relay);
  createInterface({ input: child.stderr }).on('line', relay);
  const kill = (how: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, how);
    } catch {
      // It is gone already.
    }
  };
  let why: string | null = null;
  let exited = false;
  let force: NodeJS.Timeout | undefined;
  const end = (reason: string) => {
    if (exited) return;
    why ??= reason;
    kill('SIGTERM');
    force ??= setTimeout(() => kill('SIGKILL'), graceMs);
  };
  const timer = setTimeout(() => end(`did not end within ${timeoutMs / 1000} s`), timeoutMs);
  const stop = () => end('was stopped');
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    const how = await new Promise<string | null>((resolve) => {
      child.once('error', (error) => resolve(`could not be started: ${error.message}`));
      child.once('exit', (code, killed) => {
        exited = true;
        const status = code === 0 ? null : `ended with ${code === null ? killed : `exit status ${code}`}`;
        const settle = () => {
          clearTimeout(last);
          resolve(status);
        };
        // One that was told to end is given the time to end with everything that it has started.
        const last = setTimeout(settle, lastOutputMs + (why === null ? 0 : graceMs));
        child.once('close', settle);
      });
    });
    if (why !== null || how !== null) {
      throw new Failure('hook-failed', `the command of ${name} ${why ?? how}`);
    }
  } finally {
    clearTimeout(timer);
    clearTimeout(force);
    child.stdout.destroy();
    child.stderr.destroy();
    signal.removeEventListener('abort', stop);
  }
}
