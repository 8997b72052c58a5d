/** The way back: the stream goes on, the source takes writes again. May be interrupted anywhere, and done again. */
import { loadCutover, setCutoverState, takeCutoverBack } from '../catalog/cutover.js';
import type { Catalog } from '../catalog/database.js';
import type { StreamRecord } from '../catalog/stream.js';
import { failpoint } from '../failpoint.js';
import type { Log } from '../log.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { isFollowed, runKind } from './checks.js';
import { planUndo } from './decisions.js';
import { unfreeze } from './freeze.js';
import { openStreamSource } from './prepare.js';
import type { Steps } from './steps.js';

/** How long an undo tries to reach the source: it is what the application waits for. */
const retryForMs = 60_000;

export type UndoWork = {
  readonly source: Conninfo;
  readonly catalog: Catalog;
  readonly stream: StreamRecord;
  readonly steps: Steps;
  readonly log: Log;
};

/**
 * First the end position, which costs nothing, then the source; the source also when the end position could not be taken
 * back, which is thrown then. Not under any signal of the run.
 */
export async function undoCutover({ source, catalog, stream, steps, log }: UndoWork): Promise<void> {
  await steps.do('undo', async () => {
    const record = loadCutover(catalog);
    if (record === null) return 'nothing to be undone';
    const plan = planUndo(record);
    try {
      if (plan.takeBack) takeCutoverBack(catalog);
      failpoint('cutover.taken-back');
    } finally {
      if (plan.unfreeze !== null) {
        await using session = await openStreamSource(source, stream, { log, retryForMs });
        await unfreeze(plan.unfreeze, session, log);
      }
    }
    failpoint('cutover.unfrozen');
    setCutoverState(catalog, 'undone');
    return '';
  });
}

/** A run that ended meanwhile has to be started again by somebody. */
export function sayHowToFollow(catalog: Catalog, log: Log): void {
  if (isFollowed(catalog.directory)) return;
  const start =
    runKind(catalog) === 'clone' ? 'walferry clone --follow --resume' : 'walferry follow --resume';
  log.warn(`no run follows any more: start it again with \`${start}\`, with its options`);
}
