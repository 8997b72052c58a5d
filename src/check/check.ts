/**
 * The preflight: what a run would find out later, found out before it begins. `check` tells all of it; a run that is
 * about to begin asks `expectReady` for what would end it.
 */
import { Failure, type FailureCode, type Side } from '../failure.js';
import { describeConninfo } from '../postgres/connection-string.js';
import { copySeconds, judgeEstimate, type CopySeconds } from './estimate.js';
import { examine } from './examine.js';
import { inOrder, type Finding } from './finding.js';
import type { RunWish } from './options.js';
import { numberSetting } from './server-facts.js';
import {
  checkDirectory,
  fetchFreeBytes,
  judgeJournalRoom,
  judgeSlotRoom,
  type DirectoryWish,
  type RoomFacts,
} from './work-directory.js';

/** What was measured on the way; null where it was not. */
export type Measured = {
  readonly roundTripMs: Readonly<Record<Side, number | null>>;
  /** WAL of the source. */
  readonly writeBytesPerSecond: number | null;
  /** Of real rows, over one connection. */
  readonly copyBytesPerSecond: number | null;
  readonly copySeconds: CopySeconds | null;
  readonly journalFreeBytes: number | null;
};

export type CheckReport = {
  /** Descriptions without passwords. */
  readonly source: string;
  readonly target: string;
  readonly follow: boolean;
  /** By theme. */
  readonly findings: readonly Finding[];
  readonly measured: Measured;
};

export type CheckOptions = Omit<RunWish, 'own'> & {
  readonly place: DirectoryWish;
};

/** Looks at everything, and changes nothing. Throws `stopped`, and mistakes of ours; what it finds is in the report. */
export async function check(options: CheckOptions): Promise<CheckReport> {
  const { place, jobs, stream } = options;
  const directory = await checkDirectory(place);
  // --restart drops the tables of the run that is there, and no others.
  const ownTarget = directory.target === null || directory.target === describeConninfo(options.target);
  const dropIfExists = options.dropIfExists || (place.restart && ownTarget);
  const examined = await examine({ ...options, dropIfExists, own: directory.own }, 'everything');
  const { source, target, estimate, writeBytesPerSecond } = examined;
  const seconds = estimate === null ? null : copySeconds(estimate, jobs);
  const room: RoomFacts = {
    freeBytes: await fetchFreeBytes(place.journalDirectory),
    maxJournalBytes: stream?.maxJournalBytes ?? null,
    writeBytesPerSecond,
    copySeconds: seconds?.most ?? null,
  };
  const findings = [...examined.findings, directory.finding];
  if (stream !== null) {
    findings.push(judgeJournalRoom(room));
    if (source !== null) {
      findings.push(judgeSlotRoom(room, numberSetting(source, 'max_slot_wal_keep_size')));
    }
  }
  if (estimate !== null) findings.push(judgeEstimate(estimate, jobs));
  return {
    source: describeConninfo(options.source),
    target: describeConninfo(options.target),
    follow: stream !== null,
    findings: inOrder(findings),
    measured: {
      roundTripMs: { source: source?.roundTripMs ?? null, target: target?.roundTripMs ?? null },
      writeBytesPerSecond,
      copyBytesPerSecond: estimate?.bytesPerSecond ?? null,
      copySeconds: seconds,
      journalFreeBytes: room.freeBytes,
    },
  };
}

/**
 * The blocking part, for a run that is about to begin. Throws what would end it later, all of it at once: one finding
 * as the failure that the run would end with, several as `check-failed` unless they agree on a code.
 */
export async function expectReady(wish: RunWish): Promise<void> {
  const { findings } = await examine(wish, 'what blocks');
  const failure = failureOf(inOrder(findings));
  if (failure !== null) throw failure;
}

/** What failing findings come to; null when nothing failed. Pure. */
export function failureOf(findings: readonly Finding[]): Failure | null {
  const all = findings.filter(({ verdict }) => verdict === 'fail');
  // One thing may be in the way of several: a name that is taken, of both publications.
  const failed = all.filter(({ reason }, at) => all.findIndex((other) => other.reason === reason) === at);
  const [first] = failed;
  if (first === undefined) return null;
  const code: FailureCode = first.code ?? 'check-failed';
  if (failed.length === 1) return new Failure(code, first.reason, { remedy: first.remedy ?? '' });
  const lines = failed.flatMap(({ reason, remedy }) => [reason, ...(remedy === null ? [] : [`  ${remedy}`])]);
  return new Failure(
    failed.every((one) => one.code === code) ? code : 'check-failed',
    [`${failed.length} things would end this run:`, ...lines].join('\n'),
    { remedy: 'Mend them and start again; `walferry check` with the same options shows the whole list.' },
  );
}
