/**
 * The cutover of a work directory: where it is, and what it has done to the source. Written before each thing is
 * done, so that whoever finds it after a crash knows what may have to be undone. One row: a cutover that was undone is
 * replaced by the next one.
 *
 * The process that follows looks at it too: while a cutover is `running`, it waits at the end position.
 */
import { existsSync } from 'node:fs';
import { Failure } from '../failure.js';
import { formatLsn, readLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import type { Catalog } from './database.js';
import { isLocked, lockPath } from './lock.js';
import { loadSentinel, setEndpos } from './sentinel.js';
import { reopenEnd } from './setup.js';

/**
 *   running     the cutover may be anywhere between its checks and its verification; the run that follows waits at the
 *               end position. Entered by the cutover.
 *   finalizing  verified: the run completes the target. Entered by the cutover.
 *   open        the application may write to the target: nothing is undone any more. Entered by the cutover.
 *   done        the hook after it has run too. Entered by the cutover.
 *   undoing     the end position is taken back, so that the stream goes on; the source may still be frozen. Entered by
 *               the cutover that failed, or by `cutover --abort`.
 *   undone      the source is as it was.
 */
export const cutoverStates = ['running', 'finalizing', 'open', 'done', 'undoing', 'undone'] as const;
export type CutoverState = (typeof cutoverStates)[number];

/** One privilege as it was granted; `grantee` null: PUBLIC, `column` null: the table's. */
export type GrantRecord = {
  readonly schema: string;
  readonly table: string;
  readonly column: string | null;
  readonly grantor: string;
  /** Whether the grantor owned the table. */
  readonly byOwner: boolean;
  readonly grantee: string | null;
  readonly privilege: string;
  readonly grantable: boolean;
};

/** What the freeze has changed on the source, exactly as it was before. */
export type FreezeRecord =
  | { readonly kind: 'none' }
  /** `before`: what the database's own default_transaction_read_only said; null where it said nothing. */
  | { readonly kind: 'read-only'; readonly database: string; readonly before: string | null }
  | { readonly kind: 'revoke'; readonly database: string; readonly grants: readonly GrantRecord[] };

/** A step that was begun; `ms` null while it is not done. */
export type CutoverStepRecord = {
  readonly name: string;
  readonly startedAt: string;
  readonly ms: number | null;
  readonly detail: string;
};

export type CutoverRecord = {
  readonly state: CutoverState;
  readonly startedAt: string;
  /** What it was told. */
  readonly settings: Readonly<Record<string, string | number | boolean | null>>;
  /** Null before anything was frozen. */
  readonly freeze: FreezeRecord | null;
  /** When the freeze began to take effect, in milliseconds of the epoch. */
  readonly frozenAtMs: number | null;
  /** When the application was first allowed to write to the target. */
  readonly openAtMs: number | null;
  readonly endpos: Lsn | null;
  /** The end position at which the run that follows waits: everything up to it is on the target. */
  readonly drained: Lsn | null;
  readonly steps: readonly CutoverStepRecord[];
};

/** What the run that follows has to know. */
export type CutoverHold = Pick<CutoverRecord, 'state' | 'endpos'>;

type CutoverRow = {
  state: string;
  started_at: string;
  settings: string;
  freeze: string | null;
  frozen_at_ms: number | null;
  open_at_ms: number | null;
  endpos: string | null;
  drained: string | null;
  steps: string;
};

function readState(text: string): CutoverState {
  const state = cutoverStates.find((one) => one === text);
  if (state !== undefined) return state;
  throw new Failure('work-directory-broken', `the catalog holds a cutover in the unknown state "${text}"`);
}

const readOptional = (text: string | null) => (text === null ? null : readLsn(text));

/** The cutover of this directory; null before there was one. */
export function loadCutover(catalog: Catalog): CutoverRecord | null {
  const row = catalog.database.prepare<[], CutoverRow>('select * from cutover where id = 1').get();
  if (row === undefined) return null;
  return {
    state: readState(row.state),
    startedAt: row.started_at,
    settings: JSON.parse(row.settings) as CutoverRecord['settings'],
    freeze: row.freeze === null ? null : (JSON.parse(row.freeze) as FreezeRecord),
    frozenAtMs: row.frozen_at_ms,
    openAtMs: row.open_at_ms,
    endpos: readOptional(row.endpos),
    drained: readOptional(row.drained),
    steps: JSON.parse(row.steps) as CutoverStepRecord[],
  };
}

/** State and end position alone, for whoever looks often. */
export function loadCutoverHold(catalog: Catalog): CutoverHold | null {
  const row = catalog.database
    .prepare<[], Pick<CutoverRow, 'state' | 'endpos'>>('select state, endpos from cutover where id = 1')
    .get();
  return row === undefined ? null : { state: readState(row.state), endpos: readOptional(row.endpos) };
}

/**
 * Whether a cutover was begun, has not ended, and nobody is at it any more (it was killed): the source may be frozen, and
 * nothing happens by itself. False where that cannot be seen.
 */
export function isAbandoned(directory: string, state: CutoverState | null): boolean {
  if (state !== 'running' && state !== 'finalizing' && state !== 'undoing') return false;
  // Only a cutover makes the lock: whoever looks makes nothing.
  if (!existsSync(lockPath(directory, 'cutover'))) return false;
  try {
    return !isLocked(directory, 'cutover');
  } catch {
    return false;
  }
}

/** What is left to say of one that is abandoned. */
export const abandonedCutover =
  'A cutover has ended without finishing: writes on the source may be stopped, and stay so. Go on with `walferry cutover --resume`, or undo it with `walferry cutover --abort`.';

/** Begins a cutover, in place of an earlier one that was undone. */
export function beginCutover(catalog: Catalog, settings: CutoverRecord['settings']): void {
  catalog.database
    .prepare(
      `insert or replace into cutover (id, state, started_at, settings, freeze, frozen_at_ms, open_at_ms, endpos, drained, steps)
       values (1, 'running', ?, ?, null, null, null, null, null, '[]')`,
    )
    .run(new Date().toISOString(), JSON.stringify(settings));
}

export function setCutoverState(catalog: Catalog, state: CutoverState): void {
  catalog.database.prepare('update cutover set state = ?').run(state);
}

/** Before the freeze: what will have to be put back. A record that is there stays: it is the older truth. */
export function recordFreeze(catalog: Catalog, freeze: FreezeRecord, frozenAtMs: number): void {
  catalog.database
    .prepare('update cutover set freeze = ?, frozen_at_ms = ? where freeze is null')
    .run(JSON.stringify(freeze), frozenAtMs);
}

/** The application may write to the target from now on; the first time counts. */
export function recordOpen(catalog: Catalog, openAtMs: number): void {
  catalog.database
    .prepare(`update cutover set state = 'open', open_at_ms = coalesce(open_at_ms, ?)`)
    .run(openAtMs);
}

export function saveCutoverSteps(catalog: Catalog, steps: readonly CutoverStepRecord[]): void {
  catalog.database.prepare('update cutover set steps = ?').run(JSON.stringify(steps));
}

/** Sets the end position, as the cutover's own. */
export function setCutoverEndpos(catalog: Catalog, endpos: Lsn): void {
  catalog.database
    .transaction(() => {
      catalog.database.prepare('update cutover set endpos = ?').run(formatLsn(endpos));
      setEndpos(catalog, endpos);
    })
    .immediate();
}

/**
 * Sets the end position for somebody else, `zeroLsn` takes it back. Throws `cutover-unfinished` while it is a cutover's:
 * what that proves, and what it would undo, stands on its own one.
 */
export function setEndposByHand(catalog: Catalog, endpos: Lsn): void {
  catalog.database
    .transaction(() => {
      if (loadSentinel(catalog)?.endpos !== endpos) expectNoCutover(catalog);
      setEndpos(catalog, endpos);
    })
    .immediate();
}

/** Throws `cutover-unfinished` while the sentinel is a cutover's. */
export function expectNoCutover(catalog: Catalog): void {
  const state = loadCutoverHold(catalog)?.state;
  if (state !== 'running' && state !== 'finalizing' && state !== 'undoing') return;
  throw new Failure('cutover-unfinished', 'a cutover is at work, and the end position is its own', {
    remedy: 'Wait until it has ended; one that was killed is undone with `walferry cutover --abort`.',
  });
}

/** The run that follows waits at this end position. */
export function recordDrained(catalog: Catalog, endpos: Lsn): void {
  catalog.database.prepare('update cutover set drained = ?').run(formatLsn(endpos));
}

/**
 * The stream goes on: in one transaction the cutover is `undoing`, its end position is taken back (one that somebody
 * else has set meanwhile stays), and what was recorded as done behind it is to be done again.
 */
export function takeCutoverBack(catalog: Catalog): void {
  catalog.database
    .transaction(() => {
      setCutoverState(catalog, 'undoing');
      const endpos = loadCutoverHold(catalog)?.endpos ?? null;
      if (endpos === null || loadSentinel(catalog)?.endpos !== endpos) return;
      setEndpos(catalog, zeroLsn);
      reopenEnd(catalog);
    })
    .immediate();
}

/**
 * Whether a cutover was taken back, and with it the end position that a run completes the target for. No target is
 * completed while a cutover is `running`: then it is the next one already, whatever end position it has set.
 */
export function isTakenBack(hold: CutoverHold | null, endpos: Lsn): boolean {
  if (hold?.state === 'running') return true;
  return endpos === zeroLsn && (hold?.state === 'undoing' || hold?.state === 'undone');
}
