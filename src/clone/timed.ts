/** Steps of a clone with how long they took, for the summary. */
import { addTiming } from '../catalog/timings.js';
import { throwIfStopped } from '../failure.js';
import type { CloneOptions } from './options.js';

/** Does a step, and adds its duration to what the catalog holds of it, whether it fails or not. */
export async function timed<Result>(
  options: Pick<CloneOptions, 'catalog' | 'signal'>,
  step: string,
  connection: 'source' | 'target' | 'both',
  concurrency: number,
  work: () => Promise<Result>,
): Promise<Result> {
  throwIfStopped(options.signal);
  const began = performance.now();
  try {
    return await work();
  } finally {
    const durationMs = performance.now() - began;
    addTiming(options.catalog, { step, connection, durationMs, bytes: 0, concurrency });
  }
}
