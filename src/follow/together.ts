/**
 * Several jobs under one signal: the first that fails stops the others, and its failure is the one that is told.
 */

/** A job that ends when its signal is set. */
export type Job = (signal: AbortSignal) => Promise<void>;

/**
 * Runs the jobs side by side and waits for all of them, also after a failure: nothing is left running behind.
 * Throws the first failure; what the others threw because they were stopped is not told.
 */
export async function together(signal: AbortSignal, jobs: readonly Job[]): Promise<void> {
  const stop = new AbortController();
  const forward = () => stop.abort(signal.reason);
  if (signal.aborted) forward();
  signal.addEventListener('abort', forward, { once: true });
  const failures: unknown[] = [];
  const run = async (job: Job) => {
    try {
      await job(stop.signal);
    } catch (error) {
      failures.push(error);
      stop.abort(error);
    }
  };
  try {
    await Promise.all(jobs.map(run));
  } finally {
    signal.removeEventListener('abort', forward);
  }
  if (failures.length > 0) throw failures[0];
}

/** Waits, or until the signal is set: then it rejects with the signal's reason. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason instanceof Error ? signal.reason : new Error('stopped'));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
