/**
 * A cutover that is taken back while the target is being completed (catalog/cutover.ts): the run notices, stops
 * completing, and follows again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { abandonedCutover, isAbandoned, isTakenBack, loadCutoverHold } from '../catalog/cutover.js';
import type { Catalog } from '../catalog/database.js';
import { loadSentinel } from '../catalog/sentinel.js';
import { endPhase, type PhaseName } from '../catalog/setup.js';
import { Failure, throwIfStopped } from '../failure.js';
import type { Log } from '../log.js';
import { zeroLsn } from '../model/lsn.js';

const lookEveryMs = 100;

/** Whether the end position that this run has reached was taken back. */
export function takenBack(catalog: Catalog): boolean {
  return isTakenBack(loadCutoverHold(catalog), loadSentinel(catalog)?.endpos ?? zeroLsn);
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
