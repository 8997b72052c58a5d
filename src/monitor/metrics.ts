/**
 * The status as Prometheus reads it. Pure. Every metric is one row of the table below, and one of docs/monitoring.md.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
import { readLsn } from '../model/lsn.js';
import { goneAfterMs, type RunState } from './state.js';
import type { RunStatus } from './status.js';

export const metricsType = 'text/plain; version=0.0.4; charset=utf-8';

/** Null and undefined: not known, and left out. */
type Value = number | boolean | null | undefined;

type Labelled = readonly { readonly labels: Readonly<Record<string, string>>; readonly value: Value }[];

export type Metric = {
  readonly name: string;
  readonly help: string;
  readonly read: (status: RunStatus) => Value | Labelled;
};

const states: readonly RunState[] = [
  'unknown',
  'setup',
  'copying',
  'receiving',
  'catching-up',
  'following',
  'draining',
  'finishing',
  'done',
  'stopped',
  'failed',
  'gone',
];

const positionNames = ['written', 'durable', 'applied'] as const;

function ofPositions(
  { stream }: RunStatus,
  read: (position: { lsn: string; behindBytes: number | null; behindMs: number | null }) => Value,
): Labelled {
  return positionNames.map((position) => {
    const standing = stream?.[position] ?? null;
    return { labels: { position }, value: standing === null ? null : read(standing) };
  });
}

const toNumber = (lsn: string | null | undefined): Value =>
  lsn === null || lsn === undefined ? null : Number(readLsn(lsn));

const toSeconds = (ms: number | null): Value => (ms === null ? null : ms / 1000);

/** All are gauges: what a run counts begins anew with every run, and a position is set, not counted. */
export const metrics: readonly Metric[] = [
  {
    name: 'walferry_up',
    help: '1 while the run tells of itself, 0 when it has ended or was not heard of for 20 seconds',
    read: ({ state, heardAtMs, atMs }) =>
      heardAtMs !== null &&
      atMs - heardAtMs <= goneAfterMs &&
      !['done', 'stopped', 'failed', 'gone'].includes(state),
  },
  {
    name: 'walferry_state',
    help: '1 for the state that the run is in, 0 for the others',
    read: ({ state }) => states.map((one) => ({ labels: { state: one }, value: one === state })),
  },
  {
    name: 'walferry_start_timestamp_seconds',
    help: 'when the process began, seconds since 1970',
    read: ({ startedAtMs }) => toSeconds(startedAtMs),
  },
  { name: 'walferry_warnings', help: 'warnings that hold now', read: ({ warnings }) => warnings.length },
  { name: 'walferry_copy_tables', help: 'tables to be copied', read: ({ copy }) => copy?.tables.total },
  {
    name: 'walferry_copy_tables_done',
    help: 'tables all rows of which are copied',
    read: ({ copy }) => copy?.tables.done,
  },
  {
    name: 'walferry_copy_tables_running',
    help: 'tables that are being copied',
    read: ({ copy }) => copy?.tables.running,
  },
  { name: 'walferry_copy_indexes', help: 'indexes to be built', read: ({ copy }) => copy?.indexes.total },
  {
    name: 'walferry_copy_indexes_done',
    help: 'indexes that are built',
    read: ({ copy }) => copy?.indexes.done,
  },
  {
    name: 'walferry_copy_indexes_running',
    help: 'indexes that are being built',
    read: ({ copy }) => copy?.indexes.running,
  },
  { name: 'walferry_copy_bytes', help: 'bytes of rows copied', read: ({ copy }) => copy?.copiedBytes },
  {
    name: 'walferry_copy_expected_bytes',
    help: 'about what all rows will be',
    read: ({ copy }) => copy?.expectedBytes,
  },
  {
    name: 'walferry_copy_seconds_left',
    help: 'about how long the rows take at the pace of the last half minute',
    read: ({ copy }) => copy?.secondsLeft,
  },
  {
    name: 'walferry_copy_braked',
    help: '1 while one table is copied at a time so that the slot is not lost',
    read: ({ copy }) => copy?.braked,
  },
  {
    name: 'walferry_source_position_bytes',
    help: 'where the source is known to be, as a number of bytes',
    read: ({ stream }) => toNumber(stream?.source),
  },
  {
    name: 'walferry_position_bytes',
    help: 'the positions written, durable and applied, as numbers of bytes',
    read: (status) => ofPositions(status, ({ lsn }) => toNumber(lsn)),
  },
  {
    name: 'walferry_lag_bytes',
    help: 'WAL between a position and the source',
    read: (status) => ofPositions(status, ({ behindBytes }) => behindBytes),
  },
  {
    name: 'walferry_lag_seconds',
    help: 'age of the oldest commit behind a position',
    read: (status) => ofPositions(status, ({ behindMs }) => toSeconds(behindMs)),
  },
  {
    name: 'walferry_source_bytes_per_second',
    help: 'WAL that the source writes, over the last half minute',
    read: ({ stream }) => stream?.rates.source,
  },
  {
    name: 'walferry_received_bytes_per_second',
    help: 'WAL received, over the last half minute',
    read: ({ stream }) => stream?.rates.received,
  },
  {
    name: 'walferry_applied_bytes_per_second',
    help: 'WAL applied, over the last half minute',
    read: ({ stream }) => stream?.rates.applied,
  },
  {
    name: 'walferry_catch_up_seconds_left',
    help: 'about how long until the target is level; 0 when it is, left out while that cannot be said',
    read: ({ stream }) => {
      if (stream?.catchUp.kind === 'level') return 0;
      return stream?.catchUp.kind === 'shrinking' ? stream.catchUp.secondsLeft : null;
    },
  },
  {
    name: 'walferry_not_converging',
    help: '1 when the backlog does not shrink while changes are applied',
    read: ({ stream, state }) =>
      stream === null ? null : state === 'catching-up' && stream.catchUp.kind === 'growing',
  },
  {
    name: 'walferry_apply_enabled',
    help: '1 when the sentinel allows applying',
    read: ({ stream }) => stream?.applyEnabled,
  },
  {
    name: 'walferry_end_position_set',
    help: '1 when an end position is set',
    read: ({ stream }) => (stream === null ? null : stream.endpos !== null),
  },
  {
    name: 'walferry_end_position_distance_bytes',
    help: 'WAL between the applied and the end position; left out while none is set',
    read: ({ stream }) => stream?.toEndBytes,
  },
  {
    name: 'walferry_journal_bytes',
    help: 'bytes of transform files',
    read: ({ stream }) => stream?.journalBytes,
  },
  {
    name: 'walferry_journal_resting',
    help: '1 while the slot is not read because the transform files have reached their cap',
    read: ({ stream }) => stream?.resting,
  },
  {
    name: 'walferry_cutover_abandoned',
    help: '1 when a cutover was killed before it had ended: the source may be frozen',
    read: ({ cutover }) => cutover?.abandoned,
  },
  {
    name: 'walferry_slot_retained_bytes',
    help: 'WAL that the slot holds back',
    read: ({ slot }) => slot?.retainedBytes,
  },
  {
    name: 'walferry_slot_safe_bytes',
    help: 'WAL that may still be written before the slot is in danger; left out where the source has no limit',
    read: ({ slot }) => slot?.safeBytes,
  },
  {
    name: 'walferry_slot_seconds_left',
    help: 'about when the slot is lost at this pace; left out while its room does not shrink',
    read: ({ slot }) => slot?.secondsLeft,
  },
  {
    name: 'walferry_slot_danger',
    help: '1 when the slot may be lost soon',
    read: ({ slot }) => (slot === null ? null : slot.verdict === 'danger'),
  },
  {
    name: 'walferry_slot_lost',
    help: '1 when the slot is lost',
    read: ({ slot }) => (slot === null ? null : slot.verdict === 'lost'),
  },
];

/** The whole text. What is not known is left out, so that nobody takes it for 0. */
export function metricsText(status: RunStatus): string {
  return metrics
    .map(({ name, help, read }) => {
      const value = read(status);
      const samples: Labelled = isLabelled(value) ? value : [{ labels: {}, value }];
      const lines = samples.flatMap((sample) => sampleLine(name, sample));
      return lines.length === 0 ? '' : `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${lines.join('')}`;
    })
    .join('');
}

function isLabelled(value: Value | Labelled): value is Labelled {
  return Array.isArray(value);
}

function sampleLine(name: string, { labels, value }: Labelled[number]): string[] {
  if (value === null || value === undefined) return [];
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
  return [`${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${Number(value)}\n`];
}
