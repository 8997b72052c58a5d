/**
 * What a run is doing, as an operator would say it: one state, one sentence, and what to worry about. Pure: made from
 * what the run told, and from when it told it.
 */
import { abandonedCutover, type CutoverState } from '../catalog/cutover.js';
import { isEnd, type CopyStep, type RunPhase } from '../model/run-phase.js';
import { formatAbout, formatBytes, formatSeconds, formatShare } from './page/format.js';
import type { CatchUp } from './rates.js';

export type RunState =
  /** Nothing was ever told: no run in this directory, or one of an older walferry. */
  | 'unknown'
  | 'setup'
  | 'copying'
  /** Changes are received and not applied. */
  | 'receiving'
  /** Changes are applied, and the target is behind. */
  | 'catching-up'
  /** Changes are applied, and the target is level. */
  | 'following'
  /** An end position is set, and not everything up to it is applied. */
  | 'draining'
  /** Sequences, foreign keys, triggers. */
  | 'finishing'
  | 'done'
  | 'stopped'
  | 'failed'
  /** The run has not been heard of, and did not say that it ended: it was killed, or hangs. */
  | 'gone';

/** A run tells something every second; this long without a word is too long even on a busy machine. */
export const goneAfterMs = 20_000;

export type StateFacts = {
  readonly phase: RunPhase | null;
  /** Since the run told something. */
  readonly silentMs: number;
  readonly lagMs: number | null;
  readonly behindBytes: number | null;
  readonly catchUp: CatchUp;
  /** WAL up to the end position that is not applied; null while none is set. */
  readonly toEndBytes: number | null;
  readonly toEndSeconds: number | null;
  readonly copy: {
    readonly copiedBytes: number;
    readonly expectedBytes: number;
    readonly secondsLeft: number | null;
    readonly tablesDone: number;
    readonly tables: number;
  } | null;
};

export function judgeState({ phase, silentMs, catchUp, toEndBytes }: StateFacts): RunState {
  if (phase === null) return 'unknown';
  if (!isEnd(phase) && silentMs > goneAfterMs) return 'gone';
  switch (phase.kind) {
    case 'setup':
    case 'done':
    case 'stopped':
    case 'failed':
      return phase.kind;
    case 'copy':
      return 'copying';
    case 'receive':
      return 'receiving';
    case 'sequences':
    case 'finalize':
      return 'finishing';
    case 'apply':
      break;
  }
  if (toEndBytes !== null) return 'draining';
  return catchUp.kind === 'level' ? 'following' : 'catching-up';
}

const stepWords: Readonly<Record<CopyStep, string>> = {
  catalog: "reading the source's catalogs",
  dump: 'dumping the schema',
  'pre-data': 'restoring the schema',
  copy: 'rows and indexes',
  'post-data': 'rows, indexes and their constraints are there',
  sequences: 'setting the sequences',
  finalize: 'foreign keys, triggers and the rest',
  done: 'done',
};

/** The state in one sentence. */
export function describeState(state: RunState, facts: StateFacts): string {
  const { phase, lagMs, behindBytes, catchUp } = facts;
  const behind =
    lagMs === null ? `${formatBytes(behindBytes ?? 0)} behind` : `${formatSeconds(lagMs)} behind`;
  switch (state) {
    case 'unknown':
      return 'No run has told anything here yet';
    case 'setup':
      return 'Starting: connecting, and preparing the stream';
    case 'copying':
      return describeCopy(facts);
    case 'receiving':
      return 'Receiving: changes are kept, and not applied';
    case 'following':
      return `Following: ${lagMs !== null && lagMs < 100 ? 'level with the source' : behind}`;
    case 'catching-up':
      if (catchUp.kind === 'shrinking') {
        return `Catching up: ${behind}, level in ${formatAbout(catchUp.secondsLeft)}`;
      }
      if (catchUp.kind === 'growing')
        return `Falling behind: ${behind}, and it does not converge at this pace`;
      return `Catching up: ${behind}`;
    case 'draining': {
      const left = facts.toEndSeconds === null ? '' : `, ${formatAbout(facts.toEndSeconds)} left`;
      return `Draining: ${formatBytes(facts.toEndBytes ?? 0)} to the end position${left}`;
    }
    case 'finishing':
      return phase?.kind === 'sequences'
        ? 'Finishing: setting the sequences'
        : 'Finishing: adding foreign keys, triggers and the rest';
    case 'done':
      return 'Done: everything that was asked for is on the target';
    case 'stopped':
      return 'Stopped as asked; the same command with --resume goes on';
    case 'failed':
      return `Failed: ${phase?.kind === 'failed' ? phase.message : 'see the log'}`;
    case 'gone':
      return `The run was last heard of ${formatSeconds(facts.silentMs)} ago: it was killed, or hangs`;
  }
  return state satisfies never;
}

function describeCopy({ phase, copy }: StateFacts): string {
  const step = phase?.kind === 'copy' ? phase.step : 'copy';
  if (step !== 'copy' || copy === null) return `Copying: ${stepWords[step]}`;
  if (copy.tables > 0 && copy.tablesDone === copy.tables) {
    return 'Copying: all rows are there, the last indexes are being built';
  }
  const left = copy.secondsLeft === null ? '' : `, ${formatAbout(copy.secondsLeft)} left`;
  return `Copying: ${formatShare(copy.copiedBytes, copy.expectedBytes)} of the rows${left}`;
}

export type WarningFacts = {
  readonly state: RunState;
  readonly catchUp: CatchUp;
  readonly lagMs: number | null;
  readonly resting: boolean;
  readonly copyBraked: boolean;
  /** Where a cutover stands that was begun; null without one. */
  readonly cutover: CutoverState | null;
  /** It was killed before it had ended. */
  readonly cutoverAbandoned: boolean;
  readonly slot: {
    readonly name: string;
    readonly verdict: 'unlimited' | 'safe' | 'danger' | 'lost';
    readonly secondsLeft: number | null;
    readonly retainedBytes: number;
  } | null;
};

/** What an operator should know, the worst first. */
export function warningsOf(facts: WarningFacts): string[] {
  const { state, slot, catchUp } = facts;
  const warnings: string[] = [];
  const ended = state === 'done' || state === 'stopped' || state === 'failed';
  if (slot?.verdict === 'lost') {
    warnings.push(`The replication slot "${slot.name}" is lost: the copy must be made anew (--restart).`);
  }
  if (slot?.verdict === 'danger' && !ended) {
    const soon = slot.secondsLeft === null ? 'soon' : `in ${formatAbout(slot.secondsLeft)}`;
    warnings.push(
      `The replication slot "${slot.name}" may be lost ${soon}: it holds back ${formatBytes(slot.retainedBytes)} ` +
        'of WAL. Raise max_slot_wal_keep_size on the source, or end transactions that have been open for long.',
    );
  }
  if (state === 'gone') {
    warnings.push(
      'Nothing is received or applied, and the slot holds back WAL on the source. Go on with --resume.',
    );
  }
  if (state === 'catching-up' && catchUp.kind === 'growing') {
    warnings.push('The target does not catch up: changes arrive faster than they are applied.');
  }
  if (facts.cutoverAbandoned) warnings.push(abandonedCutover);
  else if (facts.cutover === 'running' || facts.cutover === 'finalizing') {
    warnings.push('A cutover is at work: writes on the source may be stopped.');
  } else if (facts.cutover === 'undoing') {
    warnings.push('A cutover is being undone: writes on the source may still be stopped.');
  }
  if (facts.resting) {
    warnings.push('The slot is not read: the transform files have reached --max-journal-size.');
  }
  if (facts.copyBraked) {
    warnings.push('The copy brakes: one table at a time, until the replication slot has room again.');
  }
  return warnings;
}
