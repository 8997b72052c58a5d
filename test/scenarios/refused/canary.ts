/**
 * Passwords that are looked for everywhere. Every run of these scenarios goes through `runWatched`: it reads the
 * command lines of the process and of all its children while it runs, and afterwards everything that was printed and
 * every file that was left.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { walferry, type WalferryExit, type WalferryProcess } from '../../support/walferry.js';

/** The same in a URI, in SQL and in a shell, so that one search finds it in every form. */
export const canary = 'canaryQ7xZ3mN9';

export type WatchedRun = {
  readonly command: readonly string[];
  /** Holds the work directory, which the program makes itself, and the log file. */
  readonly directory: string;
  readonly env: Readonly<Record<string, string>>;
};

/** Runs to the end, and finds the canary nowhere. */
export async function runWatched(run: WatchedRun): Promise<WalferryExit> {
  await using watched = startWatched(run);
  return await watched.finish();
}

/** A run that is watched from its start; `finish` waits for its end and looks at what it left. */
export function startWatched({ command, directory, env }: WatchedRun): AsyncDisposable & {
  readonly process: WalferryProcess;
  /** The command lines that were seen up to now. */
  readonly seen: ReadonlySet<string>;
  finish(): Promise<WalferryExit>;
} {
  const logFile = path.join(directory, 'run.log');
  const workDirectory = path.join(directory, 'work');
  const process = walferry([...command, '--dir', workDirectory, '--debug'], {
    env: { WALFERRY_LOG_FILENAME: logFile, ...env },
  });
  const { pid } = process;
  const seen = new Set<string>();
  const watch = setInterval(() => {
    for (const line of commandLines(pid)) seen.add(line);
  }, 5);
  return {
    process,
    seen,
    finish: async () => {
      const exit = await process.exit;
      clearInterval(watch);
      expect(exit.stdout + exit.stderr).not.toContain(canary);
      // Before the program's own code runs, its command line is the one that the user typed.
      const typed = command.some((word) => word.includes(canary));
      const lines = [...seen].filter((line) => !(typed && line.includes('main.js')));
      expect(lines.filter((line) => line.includes(canary))).toEqual([]);
      for (const file of filesOf(directory)) {
        expect(readFileSync(file).includes(canary), `the password stands in ${file}`).toBe(false);
      }
      if (existsSync(workDirectory)) expect(statSync(workDirectory).mode & 0o777).toBe(0o700);
      expect(statSync(logFile).mode & 0o777).toBe(0o600);
      expect(readFileSync(logFile, 'utf8').length).toBeGreaterThan(0);
      return exit;
    },
    [Symbol.asyncDispose]: async () => {
      clearInterval(watch);
      await process[Symbol.asyncDispose]();
    },
  };
}

/** Command lines of the process and everything below it; none where there is no /proc. */
function commandLines(pid: number): string[] {
  const found: string[] = [];
  const pending = [pid];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    try {
      found.push(readFileSync(`/proc/${next}/cmdline`, 'utf8').replaceAll('\0', ' '));
      for (const thread of readdirSync(`/proc/${next}/task`)) {
        const children = readFileSync(`/proc/${next}/task/${thread}/children`, 'utf8');
        pending.push(...children.split(' ').filter(Boolean).map(Number));
      }
    } catch {
      // It ended between two looks.
    }
  }
  return found;
}

function filesOf(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}
