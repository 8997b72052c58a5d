/**
 * A cutover that is taken back while the target is being completed (catalog/cutover.ts), or an end position that is
 * taken back or moved on by hand: the run notices, stops completing, and follows again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { abandonedCutover, isAbandoned, isTakenBack, loadCutoverHold } from '../catalog/cutover.js';
import type { Catalog } from '../catalog/database.js';
import { loadSentinel } from '../catalog/sentinel.js';
import { endPhase, loadReached, phaseDone, type PhaseName } from '../catalog/setup.js';
import { Failure, throwIfStopped } from '../failure.js';
import type { Log } from '../log.js';
import { formatLsn, zeroLsn } from '../model/lsn.js';

const lookEveryMs = 100;

/**
 * Whether the end position that this run has reached was taken back, with a cutover or by hand, or moved on. By hand only
 * before the application may write to the target: nothing is applied to it any more then.
 */
export function takenBack(catalog: Catalog): boolean {
  const endpos = loadSentinel(catalog)?.endpos ?? zeroLsn;
  if (isTakenBack(loadCutoverHold(catalog), endpos)) return true;
  const reached = loadReached(catalog);
  if (reached === null || phaseDone(catalog, 'writable')) return false;
  return endpos === zeroLsn || endpos > reached;
}

/** What is said of it. */
export function sayTakenBack(catalog: Catalog): string {
  const isCutover = isTakenBack(loadCutoverHold(catalog), loadSentinel(catalog)?.endpos ?? zeroLsn);
  return isCutover
    ? 'the cutover was taken back: the stream goes on'
    : 'the end position was taken back or moved: the stream goes on';
}

/** Tells of an end position that was moved on when the target was complete, or open: nobody applies what lies before it. */
export function warnWhenMovedLate(catalog: Catalog, log: Log): void {
  const [reached, sentinel] = [loadReached(catalog), loadSentinel(catalog)];
  if (reached === null || sentinel === null) return;
  const { endpos, replayLsn } = sentinel;
  // The stream may have been gone on with since.
  if (endpos <= reached || endpos <= replayLsn) return;
  log.warn(
    `the end position was moved to ${formatLsn(endpos)} when the target was complete: it holds what ends by ${formatLsn(reached)}. ` +
      'As long as nobody writes to it, `walferry follow --resume` applies the rest',
  );
}

/** Records the phase as done, unless it was done for an end position that was taken back; says whether it did. */
export function endUnlessTakenBack(catalog: Catalog, phase: PhaseName): boolean {
  return catalog.database
    .transaction(() => {
      if (takenBack(catalog)) return false;
      endPhase(catalog, phase);
      return true;
    })
    .immediate();
}

/** Said once, for whoever finds a run that waits while nobody cuts over any more. */
export const waitsForOpening =
  'the target is complete but for what keeps nobody from writing: waiting for `walferry cutover` to open it (--resume goes on with one that has ended, --abort undoes it)';

const remindEveryMs = 30_000;

/** While a run waits for a cutover: says now and then that there is nobody any more to wait for. */
export function sayWhenAbandoned(catalog: Catalog, log: Log): Disposable {
  const timer = setInterval(() => {
    try {
      const state = loadCutoverHold(catalog)?.state ?? null;
      if (isAbandoned(catalog.directory, state)) log.warn(abandonedCutover);
    } catch {
      // Looked at again the next time.
    }
  }, remindEveryMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/**
 * Until a cutover that is at work has opened the target. What is left to be done then would share the servers with the
 * rest of its pause; and a run that is still there when the cutover is undone simply goes on. Throws `stopped`.
 */
export async function untilOpened(catalog: Catalog, log: Log, signal: AbortSignal): Promise<void> {
  if (loadCutoverHold(catalog)?.state === 'finalizing') log.info(waitsForOpening);
  using _reminder = sayWhenAbandoned(catalog, log);
  while (loadCutoverHold(catalog)?.state === 'finalizing') {
    throwIfStopped(signal);
    await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
  }
  throwIfStopped(signal);
}

/** A signal that is set as soon as the end position is taken back. */
export function watchForTakingBack(catalog: Catalog): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const look = () => {
    try {
      if (takenBack(catalog)) controller.abort(new Failure('stopped', 'the cutover was taken back'));
    } catch {
      // Somebody holds the catalog for long, or the disk fails: whoever writes to it next says so.
    }
  };
  const timer = setInterval(look, lookEveryMs);
  return { signal: controller.signal, [Symbol.dispose]: () => clearInterval(timer) };
}
