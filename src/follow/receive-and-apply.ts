import type { StreamRun } from './stream-run.js';
import { together } from './together.js';

/**
 * Receives and applies side by side until everything up to the end position is applied. `before` runs while the
 * receiver is at work already: the copy, which must be on the target before the first change.
 */
export async function receiveAndApply(
  run: StreamRun,
  signal: AbortSignal,
  before?: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const applied = new AbortController();
  await together(signal, [
    async (stop) => {
      try {
        await run.receive(AbortSignal.any([applied.signal, stop]));
      } catch (error) {
        // All is applied, so nothing more is to be received: that the receiver was told so is no failure.
        if (!applied.signal.aborted || stop.aborted) throw error;
      }
    },
    async (stop) => {
      await before?.(stop);
      await run.apply(stop);
      applied.abort();
    },
  ]);
}
