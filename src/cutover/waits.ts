/** What a cutover waits for: the source to be quiet, the run that follows to be at the end, the target to be complete. */
import { setTimeout as sleep } from 'node:timers/promises';
import { loadCutover } from '../catalog/cutover.js';
import type { Catalog } from '../catalog/database.js';
import { isLocked } from '../catalog/lock.js';
import { loadSentinel } from '../catalog/sentinel.js';
import { phaseDone } from '../catalog/setup.js';
import { Failure, throwIfStopped } from '../failure.js';
import { formatLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import type { Session } from '../postgres/connect.js';
import type { FreezeKind } from './choices.js';
import { isFollowed, loadToldLag } from './checks.js';
import { drainFailure, judgeDrain, judgeFinalize, type FinalizeView } from './decisions.js';
import type { Pause } from './pause.js';
import type { IsFollowed } from './late-writes.js';
import {
  describePrepared,
  describeSessions,
  describeWriters,
  endSessions,
  fetchOtherSessions,
  fetchPrepared,
  fetchWriters,
} from './sessions.js';

/** Each look is a query of a millisecond, or a read of the catalog. */
const lookEveryMs = 10;

/**
 * Until no other session has a transaction that has written or may, and none is prepared, in this order: one that is
 * prepared meanwhile is seen. Under `read-only` the sessions that may be ended are; who prepared a transaction has to end
 * it.
 */
export async function untilQuiet(session: Session, kind: FreezeKind, pause: Pause): Promise<string> {
  for (let looks = 1; ; looks += 1) {
    const writing = (await fetchOtherSessions(session)).filter((one) => one.writing);
    const prepared = await fetchPrepared(session);
    if (writing.length === 0 && prepared.length === 0) return looks === 1 ? '' : `after ${looks} looks`;
    pause.waitingFor =
      writing.length > 0
        ? `these sessions still write: ${describeSessions(writing)}`
        : `these prepared transactions are open: ${describePrepared(prepared)}`;
    if (kind === 'read-only') await endSessions(session, writing);
    await pause.wait(lookEveryMs);
  }
}

/**
 * Until nobody has written to a followed table in a transaction that has not ended: what it commits after the slot was
 * asked would be on the source alone. Under `read-only` the sessions that may be ended are.
 */
export async function untilReleased(
  session: Session,
  kind: FreezeKind,
  isFollowed: IsFollowed,
  pause: Pause,
): Promise<void> {
  for (;;) {
    const writers = await fetchWriters(session, isFollowed);
    if (writers.length === 0) return;
    pause.waitingFor = `this is not committed yet: ${describeWriters(writers)}`;
    if (kind === 'read-only') {
      const pids = new Set(writers.map(({ pid }) => pid));
      await endSessions(
        session,
        (await fetchOtherSessions(session)).filter(({ pid }) => pids.has(pid)),
      );
    }
    await pause.wait(lookEveryMs);
  }
}

/**
 * A stream that is level has said so by then: it moves its position behind what is not its own every ten seconds at
 * least (apply/reading.ts). One that is behind is not waited for.
 */
const appliedWithinMs = 12_000;

/** Until the target holds everything up to here, or it is plain that it does not soon. Throws `stopped`. */
export async function untilApplied(catalog: Catalog, lsn: Lsn, signal: AbortSignal): Promise<void> {
  const until = Date.now() + appliedWithinMs;
  while ((loadSentinel(catalog)?.replayLsn ?? zeroLsn) < lsn && Date.now() < until) {
    await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
    throwIfStopped(signal);
  }
}

/** A run asks the source every five seconds, and tells once a second. */
const toldWithinMs = 8000;
const toldLookMs = 100;

/** Until the run that follows has asked the source behind this position, and told so, or does not. Throws `stopped`. */
export async function untilTold(catalog: Catalog, lsn: Lsn, signal: AbortSignal): Promise<void> {
  const until = Date.now() + toldWithinMs;
  while ((loadToldLag(catalog)?.source ?? zeroLsn) < lsn && Date.now() < until) {
    await sleep(toldLookMs, undefined, { signal }).catch(() => {});
    throwIfStopped(signal);
  }
}

/** A lock is looked at by trying it, which a run that is about to start could meet: not as often as the rest. */
const aliveEvery = 20;

/** Until the run that follows waits at the end position, with everything on the target. */
export async function untilDrained(catalog: Catalog, endpos: Lsn, pause: Pause): Promise<void> {
  let alive = true;
  for (let looks = 0; ; looks += 1) {
    if (looks % aliveEvery === 0) alive = isFollowed(catalog.directory);
    const sentinel = loadSentinel(catalog);
    const view = {
      alive,
      drained: loadCutover(catalog)?.drained ?? null,
      sentinelEndpos: sentinel?.endpos ?? zeroLsn,
      endpos,
    };
    const judged = judgeDrain(view);
    if (judged === 'drained') return;
    if (judged !== 'wait') throw drainFailure(judged, view);
    pause.waitingFor = `the target is at ${formatLsn(sentinel?.replayLsn ?? zeroLsn)}, and the end position is ${formatLsn(endpos)}`;
    await pause.wait(lookEveryMs);
  }
}

/**
 * Until the application may write to the target, as far as that depends on the run that follows. `ours`: it has ended
 * before it had put back what it had switched off, which is left to us.
 */
export async function untilWritable(
  catalog: Catalog,
  run: FinalizeView['run'],
  pause: Pause,
): Promise<'writable' | 'ours'> {
  pause.waitingFor = 'the run that follows completes the target';
  let alive = true;
  for (let looks = 0; ; looks += 1) {
    // In this order: what it wrote before it ended is seen.
    if (looks % aliveEvery === 0) alive = isLocked(catalog.directory, run === 'clone' ? 'clone' : 'apply');
    const judged = judgeFinalize({ run, alive, writable: phaseDone(catalog, 'writable') });
    if (judged === 'gone') {
      throw new Failure('cutover-failed', 'the run that follows has ended before the target was complete', {
        remedy: 'Its own log says why. Start it again with --resume, then cut over again.',
      });
    }
    if (judged !== 'wait') return judged;
    await pause.wait(lookEveryMs);
  }
}
