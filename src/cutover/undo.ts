/** The way back: the stream goes on, the source takes writes again. May be interrupted anywhere, and done again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { loadCutover, setCutoverState, takeCutoverBack } from '../catalog/cutover.js';
import type { Catalog } from '../catalog/database.js';
import type { StreamRecord } from '../catalog/stream.js';
import { asFailure } from '../failure.js';
import { failpoint } from '../failpoint.js';
import type { Log } from '../log.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { isFollowed, runKind } from './checks.js';
import { planUndo } from './decisions.js';
import { unfreeze } from './freeze.js';
import { openStreamSource } from './prepare.js';
import type { Steps } from './steps.js';

/** How long an undo tries to reach the source: it is what the application waits for. */
const retryForMs = 60_000;
const sessionTries = 3;

export type UndoWork = {
  readonly source: Conninfo;
  readonly catalog: Catalog;
  readonly stream: StreamRecord;
  /** The session of the cutover that failed; null where it is another process that undoes it. */
  readonly session: Session | null;
  readonly steps: Steps;
  readonly log: Log;
};

/**
 * First the end position, which costs nothing, then the source; the source also when the end position could not be taken
 * back, which is thrown then. Not under any signal of the run.
 */
export async function undoCutover(work: UndoWork): Promise<void> {
  const { catalog, steps, log } = work;
  await steps.do('undo', async () => {
    const record = loadCutover(catalog);
    if (record === null) return 'nothing to be undone';
    const plan = planUndo(record);
    try {
      if (plan.takeBack) takeCutoverBack(catalog);
      failpoint('cutover.taken-back');
    } finally {
      const frozen = plan.unfreeze;
      if (frozen !== null) await onSource(work, (session) => unfreeze(frozen, session, log));
    }
    failpoint('cutover.unfrozen');
    setCutoverState(catalog, 'undone');
    return '';
  });
}

/**
 * A connection that died without a word would be waited for a quarter of an hour, while the source is frozen. One that
 * is there answers at once, and ends the sessions of others within some seconds (freeze.ts).
 */
const answersWithinMs = 5000;
const undoesWithinMs = 20_000;

/** Whether it is done in time. */
async function within(forMs: number, work: Promise<unknown>): Promise<boolean> {
  const late = new AbortController();
  try {
    return await Promise.race([work.then(() => true), sleep(forMs, false, { signal: late.signal })]);
  } finally {
    late.abort();
  }
}

/**
 * With the session that is there: an application that comes back in a crowd may have taken every connection. Else with a
 * new one, as soon as there is room for it.
 */
async function onSource(
  { source, stream, session, log }: UndoWork,
  undo: (session: Session) => Promise<void>,
): Promise<void> {
  for (let tries = 1; session !== null && session.lost === null && tries <= sessionTries; tries += 1) {
    try {
      // Nothing is under way any more of what it did when the cutover failed.
      if (!(await within(answersWithinMs, session.query('rollback')))) break;
      if (await within(undoesWithinMs, undo(session))) return;
      break;
    } catch (error) {
      // That was cancelled, perhaps a moment too late.
      log.notice(`undoing again: ${asFailure(error).message.split('\n')[0]}`);
    }
  }
  // What it was told may still arrive, and is told once more.
  await using another = await openStreamSource(source, stream, { log, retryForMs, refusedForMs: retryForMs });
  await undo(another);
}

/** A run that ended meanwhile has to be started again by somebody. */
export function sayHowToFollow(catalog: Catalog, log: Log): void {
  if (isFollowed(catalog.directory)) return;
  const start =
    runKind(catalog) === 'clone' ? 'walferry clone --follow --resume' : 'walferry follow --resume';
  log.warn(`no run follows any more: start it again with \`${start}\`, with its options`);
}
