/**
 * In which order pre-data is restored, and how much of it side by side. pg_restore itself takes pre-data one statement
 * after the other, each with its round trip and its files on the disk: with thousands of tables that is longer than
 * their rows. Pure.
 *
 *     … functions, types ─▶ │ tables │ tables │ ─▶ views ─▶ │ tables │ tables │ ─▶ …
 *
 * Tables and what belongs to them follow from nothing but their dependencies, which the dump tells; runs of them are
 * dealt out, with everything that hangs together in one hand and in the dump's order. Every other kind of object waits
 * for all before it, and is waited for by all after it.
 */
import type { DumpEntry } from '../postgres/dump.js';

export type RestoreWave = {
  /** Lists of entries that may be restored side by side. */
  readonly lists: readonly (readonly DumpEntry[])[];
  /** Whether they are enough for many of them to make one transaction; see restore-batches.ts. */
  readonly together: boolean;
};

const dealtKinds = new Set([
  'TABLE',
  'TABLE ATTACH',
  'SEQUENCE',
  'SEQUENCE OWNED BY',
  'DEFAULT',
  'COMMENT',
  'SECURITY LABEL',
]);

/** Fewer entries than this for each of them are restored by the time that another session is there. */
const worthwhile = 100;

/** Fewer than this are restored by pg_restore by the time that there is a session for them. */
const worthASession = 50;

/** Waves in their order; with one job a single one. */
export function planWaves(entries: readonly DumpEntry[], jobs: number): RestoreWave[] {
  const waves: RestoreWave[] = [];
  const push = (lists: readonly (readonly DumpEntry[])[]) => {
    const most = Math.max(...lists.map(({ length }) => length));
    if (most > 0) waves.push({ lists, together: most >= worthASession });
  };
  let serial: DumpEntry[] = [];
  for (const run of runsOf(entries)) {
    const shares = Math.min(jobs, Math.floor(run.entries.length / worthwhile));
    const dealt = run.dealt && jobs > 1 && shares > 0 ? deal(run.entries, Math.max(shares, 2)) : [];
    if (dealt.length < 2) {
      serial.push(...run.entries);
      continue;
    }
    push([serial]);
    serial = [];
    push(dealt);
  }
  push([serial]);
  return waves;
}

type Run = { readonly dealt: boolean; readonly entries: DumpEntry[] };

/** Neighbours of the kinds that can be dealt out, and those between them. */
function runsOf(entries: readonly DumpEntry[]): Run[] {
  const runs: Run[] = [];
  for (const entry of entries) {
    const dealt = dealtKinds.has(entry.kind);
    const last = runs.at(-1);
    if (last?.dealt === dealt) last.entries.push(entry);
    else runs.push({ dealt, entries: [entry] });
  }
  return runs;
}

/** Entries of one run in as many shares; those that need one another, directly or not, in the same. */
function deal(entries: readonly DumpEntry[], jobs: number): DumpEntry[][] {
  const leaders = new Map(entries.map(({ dumpId }) => [dumpId, dumpId]));
  const leaderOf = (id: number): number => {
    let at = id;
    for (let up = leaders.get(at) ?? at; up !== at; up = leaders.get(at) ?? at) {
      leaders.set(at, leaders.get(up) ?? up);
      at = up;
    }
    return at;
  };
  for (const { dumpId, dependencies } of entries) {
    // What is needed and not of this run is there already.
    for (const needed of dependencies)
      if (leaders.has(needed)) leaders.set(leaderOf(dumpId), leaderOf(needed));
  }
  const sizes = new Map<number, number>();
  for (const { dumpId } of entries) sizes.set(leaderOf(dumpId), (sizes.get(leaderOf(dumpId)) ?? 0) + 1);
  const shares = Array.from({ length: jobs }, (): DumpEntry[] => []);
  const loads = shares.map(() => 0);
  const shareOf = new Map<number, number>();
  // The largest first, each to who has least.
  for (const [leader, size] of [...sizes].toSorted((a, b) => b[1] - a[1])) {
    const least = loads.indexOf(Math.min(...loads));
    shareOf.set(leader, least);
    loads[least] = (loads[least] ?? 0) + size;
  }
  for (const entry of entries) shares[shareOf.get(leaderOf(entry.dumpId)) ?? 0]?.push(entry);
  return shares.filter((share) => share.length > 0);
}
