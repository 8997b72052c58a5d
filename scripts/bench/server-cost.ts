/** What a server costs its machine: the CPU of all its processes, those that have ended included. Linux alone. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Cluster } from '../clusters/cluster.js';

/** A clock tick of /proc, in milliseconds, on every Linux there is. */
export const tickMs = 10;

/** User and system time of a server since it was started, in milliseconds. */
export async function serverCpuMs({ address }: Cluster): Promise<number> {
  const file = path.join(address.directory, 'data/postmaster.pid');
  const postmaster = Number((await readFile(file, 'utf8')).split('\n')[0]);
  const processes = await Promise.all(
    (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map((name) => readTicks(Number(name))),
  );
  let ticks = 0;
  for (const one of processes) {
    if (one?.parent === postmaster) ticks += one.own;
    if (one?.pid === postmaster) ticks += one.own + one.ended;
  }
  return ticks * tickMs;
}

type Ticks = { readonly pid: number; readonly parent: number; readonly own: number; readonly ended: number };

/** Null when the process is gone. */
export async function readTicks(pid: number): Promise<Ticks | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (stat === null) return null;
  // The second field, a name in parentheses, may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const at = (index: number) => Number(fields[index]);
  return { pid, parent: at(1), own: at(11) + at(12), ended: at(13) + at(14) };
}
