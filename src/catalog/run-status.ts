/**
 * What a run tells of itself to whoever looks: its phase, its positions, how they were over time, its last log lines.
 * Written about once a second, not fsynced, and of no use to the run: losing it loses nothing.
 *
 * Receiving and applying may be two processes of one work directory; each has its own row, and both add to the samples.
 */
import type { RunPhase } from '../model/run-phase.js';
import type { Catalog } from './database.js';

/** Which of the work directory's processes it is. `clone` and `follow` do everything, the others their part. */
export type RunRole = 'clone' | 'follow' | 'receive' | 'apply';

/** A stream's positions as text, and how far behind the source each was when it was written down. */
export type StreamStanding = {
  /** Null where no source is asked (`stream apply`). */
  readonly source: string | null;
  readonly written: PositionStanding | null;
  readonly durable: PositionStanding | null;
  readonly applied: PositionStanding | null;
  readonly endpos: string | null;
  /** Bytes of transform files; null where none are written. */
  readonly journalBytes: number | null;
  /** Whether the slot is not read because the transform files have reached their cap. */
  readonly resting: boolean;
};

export type PositionStanding = {
  readonly lsn: string;
  readonly behindBytes: number | null;
  /** From the times of commits; null when not known. */
  readonly behindMs: number | null;
};

/** What the source says of the slot. Times are ours. */
export type SlotStanding = {
  readonly name: string;
  readonly atMs: number;
  readonly walStatus: string | null;
  readonly retainedBytes: number;
  readonly safeBytes: number | null;
  readonly verdict: 'unlimited' | 'safe' | 'danger' | 'lost';
  readonly secondsLeft: number | null;
};

export type RunRecord = {
  readonly role: RunRole;
  /** The command's words, without its options. */
  readonly command: string;
  readonly pid: number;
  readonly startedAtMs: number;
  /** When this was written: a run that goes on writes every second. */
  readonly atMs: number;
  readonly phase: RunPhase;
  readonly phaseSinceMs: number;
  readonly stream: StreamStanding | null;
  readonly slot: SlotStanding | null;
  /** Whether the copy goes slower on purpose, so that the slot is not lost. */
  readonly copyBraked: boolean;
};

/** Positions at one moment, for rates and charts. Null is what the writing process does not know. */
export type Sample = {
  readonly atMs: number;
  readonly source: string | null;
  readonly written: string | null;
  readonly applied: string | null;
  readonly lagMs: number | null;
  /** WAL that is not applied yet; null where one process does not see both ends. */
  readonly behind: number | null;
  /** Bytes of rows copied so far. */
  readonly copied: number | null;
};

export type StoredLogLine = {
  readonly id: number;
  readonly atMs: number;
  readonly severity: string;
  readonly message: string;
};

/** A sample every two seconds for ten minutes, then one a minute for a day. */
const sampleEveryMs = 2000;
const denseForMs = 600_000;
const sparseEveryMs = 60_000;
const keptForMs = 86_400_000;

const keptLines = 300;

/** Replaces what the process of this role told before. */
export function saveRun(catalog: Catalog, record: RunRecord): void {
  catalog.database
    .prepare('insert or replace into run_status (role, at_ms, status) values (?, ?, ?)')
    .run(record.role, record.atMs, JSON.stringify(record));
}

/** What every process told last; empty where none ever did. */
export function loadRuns(catalog: Catalog): RunRecord[] {
  return catalog.database
    .prepare<[], { status: string }>('select status from run_status order by at_ms')
    .all()
    .map(({ status }) => JSON.parse(status) as RunRecord);
}

/** Adds a sample to those of its two seconds, and lets old ones go. */
export function saveSample(catalog: Catalog, sample: Sample): void {
  const { database } = catalog;
  database
    .prepare(
      `insert into sample (at_ms, source, written, applied, lag_ms, behind, copied)
       values (:atMs, :source, :written, :applied, :lagMs, :behind, :copied)
       on conflict (at_ms) do update set source = coalesce(excluded.source, source),
         written = coalesce(excluded.written, written), applied = coalesce(excluded.applied, applied),
         lag_ms = coalesce(excluded.lag_ms, lag_ms), behind = coalesce(excluded.behind, behind),
         copied = coalesce(excluded.copied, copied)`,
    )
    .run({ ...sample, atMs: slotOf(sample.atMs) });
  database
    .prepare('delete from sample where (at_ms < ? and at_ms % ? <> 0) or at_ms < ?')
    .run(sample.atMs - denseForMs, sparseEveryMs, sample.atMs - keptForMs);
}

function slotOf(atMs: number): number {
  return Math.floor(atMs / sampleEveryMs) * sampleEveryMs;
}

/** Samples after a moment, the oldest first. */
export function loadSamples(catalog: Catalog, afterMs: number): Sample[] {
  return catalog.database
    .prepare<[number], Omit<Sample, 'atMs' | 'lagMs'> & { at_ms: number; lag_ms: number | null }>(
      'select at_ms, source, written, applied, lag_ms, behind, copied from sample where at_ms > ? order by at_ms',
    )
    .all(afterMs)
    .map(({ at_ms, lag_ms, ...rest }) => ({ atMs: at_ms, lagMs: lag_ms, ...rest }));
}

/** Adds log lines, which are redacted already, and lets old ones go. */
export function saveLogLines(catalog: Catalog, lines: readonly Omit<StoredLogLine, 'id'>[]): void {
  if (lines.length === 0) return;
  const { database } = catalog;
  const put = database.prepare('insert into log_line (at_ms, severity, message) values (?, ?, ?)');
  database.transaction(() => {
    for (const { atMs, severity, message } of lines) put.run(atMs, severity, message);
    database.prepare('delete from log_line where id <= (select max(id) from log_line) - ?').run(keptLines);
  })();
}

/** The last lines behind an id, the oldest first. */
export function loadLogLines(catalog: Catalog, afterId: number, atMost: number): StoredLogLine[] {
  return catalog.database
    .prepare<[number, number], { id: number; at_ms: number; severity: string; message: string }>(
      'select id, at_ms, severity, message from log_line where id > ? order by id desc limit ?',
    )
    .all(afterId, atMost)
    .toReversed()
    .map(({ at_ms, ...rest }) => ({ atMs: at_ms, ...rest }));
}
