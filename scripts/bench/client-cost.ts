/** What programs cost their machine: time, CPU with that of their children, and the memory of the largest of them. */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Sample } from './measure.js';

const pollMs = 200;

/** Runs a line of shell; throws with its words when it fails. */
export async function runMeasured(
  script: string,
  environment: Readonly<Record<string, string>>,
): Promise<Sample> {
  const began = performance.now();
  // A session of its own, by which its processes are found. `times` tells the CPU of all that was waited for.
  const child = spawn('sh', ['-c', `set -e; ${script}; times >&3`], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let words = '';
  let times = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (words += text));
  (child.stdio[3] as NodeJS.ReadableStream).setEncoding('utf8').on('data', (text: string) => (times += text));
  let peakBytes = 0;
  const poll = setInterval(() => {
    void largestOf(child.pid ?? 0).then((bytes) => (peakBytes = Math.max(peakBytes, bytes)));
  }, pollMs);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  }).finally(() => clearInterval(poll));
  const ms = performance.now() - began;
  if (code !== 0) throw new Error(`${script} ended with ${code}: ${words.slice(-2000)}`);
  return { ms, cpuMs: readTimes(times), peakBytes };
}

/** Resident memory of the largest process of a session, as the system shows it now. */
async function largestOf(session: number): Promise<number> {
  return await new Promise((resolve) => {
    execFile('ps', ['-o', 'rss=', '-s', String(session)], (_error, stdout) => {
      const sizes = stdout.split('\n').map(Number);
      resolve(Math.max(0, ...sizes) * 1024);
    });
  });
}

/** The shell's own line and its children's: `0m0.010s 0m0.020s`. */
function readTimes(text: string): number {
  let ms = 0;
  for (const [, minutes = '0', seconds = '0'] of text.matchAll(/(\d+)m([\d.]+)s/g)) {
    ms += Number(minutes) * 60_000 + Number(seconds) * 1000;
  }
  return ms;
}

/** Whether a program is on the PATH. */
export function findProgram(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(path.join(folder, name)));
}
