/**
 * How a run stands, as data: read from its work directory, in one short look that disturbs nothing. The terminal, the
 * page, the metrics and `list progress` all show this.
 */
import { isAbandoned, loadCutoverHold, type CutoverState } from '../catalog/cutover.js';
import { closeCatalog, type Catalog } from '../catalog/database.js';
import { loadPhases, type PhaseRecord } from '../catalog/phases.js';
import {
  loadLogLines,
  loadRuns,
  loadSamples,
  type PositionStanding,
  type RunRecord,
  type Sample,
  type SlotStanding,
  type StoredLogLine,
} from '../catalog/run-status.js';
import { loadSentinel } from '../catalog/sentinel.js';
import { loadSetup } from '../catalog/setup.js';
import { loadStream } from '../catalog/stream.js';
import {
  loadCopyTotals,
  loadTableStandings,
  type TableStanding,
  type TaskTotals,
} from '../catalog/task-standings.js';
import { requireCatalogToRead } from '../catalog/work-directory.js';
import { formatLsn, readLsn, zeroLsn } from '../model/lsn.js';
import type { RunPhase } from '../model/run-phase.js';
import {
  expectedBytes,
  judgeBacklog,
  ratePerSecond,
  rateWindowMs,
  secondsFor,
  trendWindowMs,
  type CatchUp,
  type Reading,
} from './rates.js';
import { describeState, judgeState, warningsOf, type RunState, type StateFacts } from './state.js';

/** Grows with every change that a reader of the JSON would have to know of. */
export const statusVersion = 1;

export type CopyStatus = {
  readonly tables: TaskTotals;
  readonly indexes: TaskTotals;
  readonly copiedBytes: number;
  /** About what all rows will be on the wire. */
  readonly expectedBytes: number;
  readonly bytesPerSecond: number | null;
  readonly secondsLeft: number | null;
  readonly braked: boolean;
};

export type StreamStatus = {
  readonly slotName: string;
  /** Where the source is known to be. */
  readonly source: string | null;
  readonly written: PositionStanding | null;
  readonly durable: PositionStanding | null;
  readonly applied: PositionStanding | null;
  readonly endpos: string | null;
  readonly applyEnabled: boolean;
  /** WAL bytes a second: written by the source, received, applied. */
  readonly rates: {
    readonly source: number | null;
    readonly received: number | null;
    readonly applied: number | null;
  };
  readonly catchUp: CatchUp;
  readonly toEndBytes: number | null;
  readonly toEndSeconds: number | null;
  readonly journalBytes: number | null;
  readonly resting: boolean;
};

export type RunStatus = {
  readonly version: typeof statusVersion;
  /** When this was read, milliseconds since 1970. */
  readonly atMs: number;
  readonly directory: string;
  /** The two sides, without passwords. */
  readonly source: string | null;
  readonly target: string | null;
  readonly state: RunState;
  /** The state in one sentence. */
  readonly headline: string;
  readonly warnings: readonly string[];
  readonly phase: RunPhase | null;
  readonly command: string | null;
  readonly pid: number | null;
  readonly startedAtMs: number | null;
  /** When the run last told something. */
  readonly heardAtMs: number | null;
  readonly steps: readonly PhaseRecord[];
  readonly copy: CopyStatus | null;
  readonly stream: StreamStatus | null;
  readonly slot: SlotStanding | null;
  /** The cutover that was begun last; `abandoned`: it was killed before it had ended. */
  readonly cutover: { readonly state: CutoverState; readonly abandoned: boolean } | null;
};

/** What else a work directory tells: more than is needed every second. */
export type RunDetails = {
  readonly tables: readonly TableStanding[];
  readonly samples: readonly Sample[];
  readonly log: readonly StoredLogLine[];
};

/** The status of the run in a work directory. Throws `work-directory-broken` when nothing was begun there. */
export function readStatus(directory: string, nowMs = Date.now()): RunStatus {
  return look(directory, (catalog) => loadStatus(catalog, nowMs));
}

/** The same with its details; samples and lines behind those that are known already. */
export function readStatusAndDetails(
  directory: string,
  known: { readonly sampleMs: number; readonly lineId: number; readonly tables: number },
  nowMs = Date.now(),
): { readonly status: RunStatus; readonly details: RunDetails } {
  return look(directory, (catalog) => ({
    status: loadStatus(catalog, nowMs),
    details: {
      tables: known.tables === 0 ? [] : loadTableStandings(catalog, known.tables),
      samples: loadSamples(catalog, known.sampleMs),
      log: loadLogLines(catalog, known.lineId, 100),
    },
  }));
}

function look<Result>(directory: string, work: (catalog: Catalog) => Result): Result {
  const catalog = requireCatalogToRead(directory);
  try {
    // One transaction: what is read belongs together.
    return catalog.database.transaction(() => work(catalog))();
  } finally {
    closeCatalog(catalog);
  }
}

/** Reads it from an open catalog. */
export function loadStatus(catalog: Catalog, nowMs: number): RunStatus {
  const setup = loadSetup(catalog);
  const runs = newest(loadRuns(catalog));
  const main = runs.at(-1) ?? null;
  const samples = loadSamples(catalog, nowMs - trendWindowMs - 10_000);
  const copy = copyStatus(catalog, samples, main);
  const stream = streamStatus(catalog, runs, samples);
  const facts: StateFacts = {
    phase: main?.phase ?? null,
    silentMs: main === null ? 0 : Math.max(0, nowMs - main.atMs),
    lagMs: stream?.applied?.behindMs ?? null,
    behindBytes: stream?.applied?.behindBytes ?? null,
    catchUp: stream?.catchUp ?? { kind: 'unknown' },
    toEndBytes: stream?.toEndBytes ?? null,
    toEndSeconds: stream?.toEndSeconds ?? null,
    copy: copy === null ? null : { ...copy, tables: copy.tables.total, tablesDone: copy.tables.done },
  };
  const state = judgeState(facts);
  const cutover = loadCutoverHold(catalog)?.state ?? null;
  const cutoverAbandoned = isAbandoned(catalog.directory, cutover);
  const slot = runs.find((run) => run.slot !== null)?.slot ?? null;
  return {
    version: statusVersion,
    atMs: nowMs,
    directory: catalog.directory,
    source: setup?.source ?? null,
    target: setup?.target ?? null,
    state,
    headline: describeState(state, facts),
    warnings: warningsOf({
      state,
      catchUp: facts.catchUp,
      lagMs: facts.lagMs,
      resting: stream?.resting === true,
      copyBraked: copy?.braked === true,
      cutover,
      cutoverAbandoned,
      slot,
    }),
    phase: main?.phase ?? null,
    command: main?.command ?? null,
    pid: main?.pid ?? null,
    startedAtMs: main?.startedAtMs ?? null,
    heardAtMs: main?.atMs ?? null,
    steps: loadPhases(catalog),
    copy,
    stream,
    slot,
    cutover: cutover === null ? null : { state: cutover, abandoned: cutoverAbandoned },
  };
}

/** A receiver and an applier of the same time are one run; whatever ran before the newest has ended. */
function newest(runs: readonly RunRecord[]): RunRecord[] {
  const last = runs.at(-1);
  if (last === undefined || (last.role !== 'receive' && last.role !== 'apply'))
    return last === undefined ? [] : [last];
  const other = last.role === 'receive' ? 'apply' : 'receive';
  const beside = runs.find((run) => run.role === other && run.atMs >= last.startedAtMs);
  // What the applier does says more than that changes are received.
  return beside === undefined ? [last] : [beside, last].toSorted((a, b) => rank(a) - rank(b));
}

function rank({ role }: RunRecord): number {
  return role === 'apply' ? 1 : 0;
}

function copyStatus(catalog: Catalog, samples: readonly Sample[], main: RunRecord | null): CopyStatus | null {
  const totals = loadCopyTotals(catalog);
  if (totals === null) return null;
  const expected = expectedBytes(totals);
  const readings = samples.flatMap(({ atMs, copied }) => (copied === null ? [] : [{ atMs, value: copied }]));
  const copied = Math.max(
    totals.copiedBytes,
    main?.phase.kind === 'copy' ? (readings.at(-1)?.value ?? 0) : 0,
  );
  const bytesPerSecond = main?.phase.kind === 'copy' ? ratePerSecond(readings, rateWindowMs) : null;
  return {
    tables: totals.tables,
    indexes: totals.indexes,
    copiedBytes: copied,
    expectedBytes: Math.max(expected, copied),
    bytesPerSecond,
    secondsLeft: secondsFor(Math.max(0, expected - copied), bytesPerSecond),
    braked: main?.copyBraked === true,
  };
}

function streamStatus(
  catalog: Catalog,
  runs: readonly RunRecord[],
  samples: readonly Sample[],
): StreamStatus | null {
  const stream = loadStream(catalog);
  const sentinel = loadSentinel(catalog);
  if (stream === null || sentinel === null) return null;
  const told = runs.flatMap((run) => (run.stream === null ? [] : [run.stream]));
  const first = <T>(pick: (one: (typeof told)[number]) => T | null) =>
    told.map(pick).find((one) => one !== null) ?? null;
  const source = first((one) => one.source);
  const written = first((one) => one.written);
  const applied = appliedBehind(
    first((one) => one.applied),
    written,
    source,
    told.length,
  );
  const endpos = sentinel.endpos === zeroLsn ? null : sentinel.endpos;
  const rates = {
    source: ratePerSecond(positions(samples, 'source'), rateWindowMs),
    received: ratePerSecond(positions(samples, 'written'), rateWindowMs),
    applied: ratePerSecond(positions(samples, 'applied'), rateWindowMs),
  };
  const left = endpos === null || endpos <= sentinel.replayLsn ? 0n : endpos - sentinel.replayLsn;
  const toEndBytes = endpos === null ? null : Number(left);
  return {
    slotName: stream.slot,
    source,
    written,
    durable: first((one) => one.durable),
    applied,
    endpos: endpos === null ? null : formatLsn(endpos),
    applyEnabled: sentinel.apply,
    rates,
    // While rows are copied the backlog only grows: the trend begins where changes begin to be applied.
    catchUp: judgeBacklog(
      backlog(samples.filter(({ atMs }) => atMs >= (runs.at(-1)?.phaseSinceMs ?? 0))),
      applied?.behindMs ?? null,
    ),
    toEndBytes,
    toEndSeconds: toEndBytes === null ? null : secondsFor(toEndBytes, rates.applied),
    journalBytes: first((one) => one.journalBytes),
    resting: told.some((one) => one.resting),
  };
}

/** An applier on its own knows of the source only what is in the files: what is not in them yet comes on top. */
function appliedBehind(
  applied: PositionStanding | null,
  written: PositionStanding | null,
  source: string | null,
  processes: number,
): PositionStanding | null {
  if (applied === null || processes < 2 || written === null || source === null) return applied;
  return {
    lsn: applied.lsn,
    behindBytes: (applied.behindBytes ?? 0) + (written.behindBytes ?? 0),
    behindMs:
      applied.behindMs === null || written.behindMs === null
        ? null
        : Math.max(applied.behindMs, written.behindMs),
  };
}

function positions(samples: readonly Sample[], name: 'source' | 'written' | 'applied'): Reading[] {
  const known = samples.flatMap((sample) => {
    const text = sample[name];
    return text === null ? [] : [{ atMs: sample.atMs, lsn: readLsn(text) }];
  });
  // Distances, since a position itself may be more than a number holds.
  const [first] = known;
  return known.map(({ atMs, lsn }) => ({ atMs, value: Number(lsn - (first?.lsn ?? lsn)) }));
}

function backlog(samples: readonly Sample[]): Reading[] {
  return samples.flatMap(({ atMs, behind, source, applied }) => {
    if (behind !== null) return [{ atMs, value: behind }];
    if (source === null || applied === null) return [];
    return [{ atMs, value: Math.max(0, Number(readLsn(source) - readLsn(applied))) }];
  });
}
