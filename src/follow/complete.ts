/**
 * What follows the last change on a target that was there before the stream: what had to be switched off is on again,
 * the application may write, and foreign keys that were added again have their old rows checked.
 *
 *   put back ──▶ writable ──▶ (a cutover: wait until it has opened the target) ──▶ validate
 *
 * While a cutover is at work it may be undone at any point up to the opening, and an end position that was set by hand
 * may be moved: then the stream goes on from where it is.
 */
import { restoreGuarded, validateGuarded } from '../apply/guard-restore.js';
import type { SpareTarget } from '../clone/spare-target.js';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';
import type { Lsn } from '../model/lsn.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { waitsForOpening } from './cutover-back.js';
import { decideWhenComplete, type SentinelWatch } from './sentinel-watch.js';

export type CompletionOptions = {
  readonly target: Conninfo;
  readonly key: StreamKey;
  readonly watch: SentinelWatch;
  /** The end position that was reached. */
  readonly reached: Lsn;
  /**
   * Whether all that is to be done on the target is done here. Not in a clone, which has more to add before the
   * application may write, and validates then.
   */
  readonly whole: boolean;
  readonly spare: SpareTarget;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** Does it; `go-on` when the end position is taken back or moved meanwhile. */
export async function completeFollowed(options: CompletionOptions): Promise<'go-on' | 'finish'> {
  const { target, key, watch, reached, whole, spare, log, signal } = options;
  const decide = () => decideWhenComplete(watch.endpos(), reached, watch.cutover);
  const back = new AbortController();
  const over = new AbortController();
  const watching = watch
    .until(() => decide() === 'go-on', AbortSignal.any([signal, over.signal]))
    .then(() => back.abort(new Failure('stopped', 'the end position was taken back')))
    .catch(() => {});
  const work = { target, key, log, signal: AbortSignal.any([signal, back.signal]) };
  try {
    {
      await using lent = await spare.lend(work);
      await restoreGuarded({ ...work, session: lent.session });
    }
    if (!whole) return decide() === 'go-on' ? 'go-on' : 'finish';
    if (!watch.recordWritable()) return 'go-on';
    if (decide() === 'hold') log.info(waitsForOpening);
    await watch.until(() => decide() !== 'hold', signal);
    if (decide() === 'go-on') return 'go-on';
    await using again = await spare.lend(work);
    await validateGuarded({ ...work, session: again.session });
    return 'finish';
  } catch (error) {
    if (back.signal.aborted && !signal.aborted) return 'go-on';
    throw error;
  } finally {
    over.abort();
    await watching;
  }
}
