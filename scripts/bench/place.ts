/** Where one run of a benchmark takes place: a new database on each server, a work directory, and the way in between. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { startDelayProxy } from './delay-proxy.js';
import { readTicks, tickMs } from './server-cost.js';
import { createDatabase, dropDatabase, runProgram, type BenchServers } from './servers.js';

export type Place = { readonly sourceUri: string; readonly targetUri: string; readonly directory: string };

export type Conditions = {
  readonly scale: number;
  readonly roundTripMs: number;
  /** Whether all connections are encrypted, or none. */
  readonly tls: boolean;
};

export type PlaceOptions = Omit<Conditions, 'scale'> & {
  readonly far: 'source' | 'target';
  /** A database on the source that is there already, and stays. */
  readonly filled?: string;
};

/**
 * Runs `work` between the servers as they are near, and as they are with one of them, `far`, a round trip away; takes
 * everything away afterwards.
 */
export async function withPlace<T>(
  { source, target }: BenchServers,
  purpose: string,
  { far, roundTripMs, tls, filled }: PlaceOptions,
  work: (near: Place, place: Place) => Promise<T>,
): Promise<T> {
  const from = filled ?? (await createDatabase(source, purpose));
  const into = await createDatabase(target, purpose);
  const directory = await mkdtemp(path.join(os.tmpdir(), 'walferry-bench-'));
  // Unless told, libpq and walferry take TLS where the server has it.
  const parameters: Record<string, string> = tls ? {} : { sslmode: 'disable' };
  const near: Place = {
    sourceUri: source.uri({ database: from, parameters }),
    targetUri: target.uri({ database: into, parameters }),
    directory,
  };
  const name = far === 'source' ? 'sourceUri' : 'targetUri';
  const { hostname, port } = new URL(near[name]);
  await using proxy = await startDelayProxy({ host: hostname, port: Number(port) }, roundTripMs);
  const overProxy = new URL(near[name]);
  overProxy.port = String(proxy.port);
  overProxy.hostname = '127.0.0.1';
  try {
    return await work(near, { ...near, ...(roundTripMs === 0 ? {} : { [name]: String(overProxy) }) });
  } finally {
    // After a failure a slot or a subscription may hold it; the servers go in the end.
    await dropDatabase(target, into).catch(() => {});
    if (filled === undefined) await dropDatabase(source, from).catch(() => {});
    await rm(directory, { recursive: true, force: true });
  }
}

function environmentOf({ sourceUri, targetUri, directory }: Place): Record<string, string> {
  return {
    WALFERRY_SOURCE_PGURI: sourceUri,
    WALFERRY_TARGET_PGURI: targetUri,
    XDG_DATA_HOME: directory,
  };
}

const program = path.resolve('dist/src/cli/main.js');

/** walferry as built, in the place's work directory. */
export async function runWalferry(args: readonly string[], place: Place): Promise<string> {
  return runProgram(process.execPath, [program, ...args], environmentOf(place));
}

/** Starts it, and looks at its process as the kernel counts it. */
export function startWalferry(args: readonly string[], place: Place) {
  const child = spawn(process.execPath, [...profileOptions(), program, ...args], {
    env: { ...process.env, ...environmentOf(place) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line);
    for (const look of waiting) look();
  });
  let seen = { cpuMs: 0, peakBytes: 0 };
  const timer = setInterval(() => {
    void lookAt(child.pid ?? 0).then((now) => (seen = now ?? seen));
  }, 50);
  /** Its end, with what it cost; rejects with its words where it has failed. One that was stopped (22) has not. */
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve)).then((code) => {
    clearInterval(timer);
    if (code !== 0 && code !== 22)
      throw new Error(`walferry ${args[0]} ended with ${code}:\n${lines.join('\n')}`);
    return seen;
  });
  ended.catch(() => {});
  /** Until it has said this, or has failed. */
  const said = async (words: string): Promise<void> => {
    const there = new Promise<void>((resolve) => {
      const look = () => {
        if (lines.some((line) => line.includes(words))) resolve();
      };
      waiting.add(look);
      look();
    });
    await Promise.race([there, ended]);
  };
  return { child, ended, said };
}

/** WALFERRY_BENCH_PROFILE names a directory for CPU profiles. */
function profileOptions(): string[] {
  const directory = process.env['WALFERRY_BENCH_PROFILE'];
  return directory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${directory}`];
}

async function lookAt(pid: number): Promise<{ cpuMs: number; peakBytes: number } | null> {
  const [ticks, status] = await Promise.all([
    readTicks(pid),
    readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''),
  ]);
  const peak = /VmHWM:\s+(\d+) kB/.exec(status)?.[1];
  if (ticks === null || peak === undefined) return null;
  return { cpuMs: ticks.own * tickMs, peakBytes: Number(peak) * 1024 };
}
