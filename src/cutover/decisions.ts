/**
 * Every decision of a cutover about itself. Pure.
 *
 *   (none) ──▶ running ──▶ finalizing ──▶ open ──▶ done
 *                 │             │
 *                 └─────────────┴──▶ undoing ──▶ undone
 *
 * `open` is the point of no return: the application may have written to the target. Up to there everything can be
 * undone, and is, on any failure: the target then holds what the source held at the end position and goes on following.
 */
import type { CutoverRecord, CutoverState, FreezeRecord } from '../catalog/cutover.js';
import { Failure } from '../failure.js';
import { formatLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import type { FreezeKind } from './choices.js';

export type CutoverRequest = 'begin' | 'resume' | 'abort';

/** What a call does with what it finds. `from`: the first thing that is still to be done. */
export type CutoverDecision =
  | { readonly kind: 'begin' }
  | { readonly kind: 'go-on'; readonly from: 'running' | 'finalizing' | 'open' }
  | { readonly kind: 'undo' }
  | { readonly kind: 'nothing-to-do'; readonly why: string };

type Asked = Readonly<Record<CutoverRequest, CutoverDecision | 'unfinished' | 'too-late'>>;

const begin: Asked['begin'] = { kind: 'begin' };
const undo: Asked['abort'] = { kind: 'undo' };
const goOn = (from: 'running' | 'finalizing' | 'open'): CutoverDecision => ({ kind: 'go-on', from });
const nothing = (why: string): CutoverDecision => ({ kind: 'nothing-to-do', why });
const complete = nothing('the cutover is complete');

/** One row a state, one column a request. */
const table: Readonly<Record<CutoverState | 'none', Asked>> = {
  none: { begin, resume: begin, abort: nothing('there is no cutover to be undone') },
  running: { begin: 'unfinished', resume: goOn('running'), abort: undo },
  finalizing: { begin: 'unfinished', resume: goOn('finalizing'), abort: undo },
  open: { begin: 'unfinished', resume: goOn('open'), abort: 'too-late' },
  done: { begin: complete, resume: complete, abort: 'too-late' },
  undoing: { begin: 'unfinished', resume: 'unfinished', abort: undo },
  undone: { begin, resume: begin, abort: nothing('the cutover is undone') },
};

/** Throws `cutover-unfinished`, `cutover-too-late`. */
export function decideCutover(
  record: Pick<CutoverRecord, 'state'> | null,
  request: CutoverRequest,
): CutoverDecision {
  const state = record?.state ?? 'none';
  const decision = table[state][request];
  if (decision === 'unfinished') {
    const again = state === 'undoing' ? '' : 'go on with `walferry cutover --resume`, or ';
    throw new Failure(
      'cutover-unfinished',
      `a cutover was begun in this work directory and is not finished (${state}): the source may be frozen`,
      { remedy: `${again}undo it with \`walferry cutover --abort\`` },
    );
  }
  if (decision === 'too-late') {
    throw new Failure(
      'cutover-too-late',
      'the application may have written to the target already: going back to the source would lose that',
    );
  }
  return decision;
}

/** What an undo has to do, by what is recorded. Each part may be done twice. */
export function planUndo(record: Pick<CutoverRecord, 'state' | 'freeze'>): {
  /** The end position is taken back, and what was recorded as done behind it. */
  readonly takeBack: boolean;
  readonly unfreeze: FreezeRecord | null;
} {
  const frozen = record.freeze === null || record.freeze.kind === 'none' ? null : record.freeze;
  switch (record.state) {
    case 'running':
    case 'finalizing':
      return { takeBack: true, unfreeze: frozen };
    case 'undoing':
      return { takeBack: false, unfreeze: frozen };
    case 'open':
    case 'done':
    case 'undone':
      return { takeBack: false, unfreeze: null };
  }
}

/** A resumed cutover stops writes the way it was begun: the record of what to put back is of that one. */
export function expectSameFreeze(record: Pick<CutoverRecord, 'freeze'>, freeze: FreezeKind): void {
  if (record.freeze === null || record.freeze.kind === freeze) return;
  throw new Failure('usage', `the cutover was begun with --freeze ${record.freeze.kind}, not ${freeze}`, {
    remedy: 'Leave --freeze out, or undo it first with `walferry cutover --abort`.',
  });
}

/** What a look at the run that follows tells while the cutover waits for it to reach the end position. */
export type DrainView = {
  /** Whether a process receives and applies. */
  readonly alive: boolean;
  readonly drained: Lsn | null;
  readonly sentinelEndpos: Lsn;
  readonly endpos: Lsn;
};

/**
 *   1. drained: everything up to our end position is on the target, and the run waits there
 *   2. moved: somebody else has set another end position
 *   3. gone: the run has ended
 *   4. wait
 */
export function judgeDrain({
  alive,
  drained,
  sentinelEndpos,
  endpos,
}: DrainView): 'drained' | 'moved' | 'gone' | 'wait' {
  if (sentinelEndpos !== endpos) return 'moved'; // 2
  if (!alive) return 'gone'; // 3
  return drained === endpos ? 'drained' : 'wait'; // 1, 4
}

/** The failure of a drain that cannot end. */
export function drainFailure(judged: 'moved' | 'gone', view: DrainView): Failure {
  if (judged === 'gone') {
    return new Failure('cutover-failed', 'the run that follows has ended before everything was applied', {
      remedy: 'Its own log says why. Start it again with --resume, then cut over again.',
    });
  }
  const now = view.sentinelEndpos === zeroLsn ? 'taken back' : `set to ${formatLsn(view.sentinelEndpos)}`;
  return new Failure('cutover-failed', `the end position was ${now} by somebody else during the cutover`);
}

/** What a look tells while the run completes the target. */
export type FinalizeView = {
  /** `clone`: the run of `clone --follow` completes the target. `follow`: it puts back what it had switched off. */
  readonly run: 'clone' | 'follow';
  readonly alive: boolean;
  readonly writable: boolean;
};

/**
 *   1. the run says that the application may write
 *   2. a clone ended without: it has failed
 *   3. a follow ended without: what it had switched off is on record, and whoever has its locks can put it back
 *   4. wait
 */
export function judgeFinalize({ run, alive, writable }: FinalizeView): 'writable' | 'gone' | 'ours' | 'wait' {
  if (writable) return 'writable'; // 1
  if (alive) return 'wait'; // 4
  return run === 'clone' ? 'gone' : 'ours'; // 2, 3
}
