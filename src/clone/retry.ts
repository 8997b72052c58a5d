/**
 * What is tried again within a clone: work whose connection was lost, and a connection that a server has none to give.
 * An error of SQL is an answer, and is not asked for twice.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asFailure, type Failure, type FailureCode, type Side } from '../failure.js';
import type { Log } from '../log.js';
import { hasNoConnection, refusedForMs } from '../postgres/too-many-connections.js';

const attempts = 5;
const pauseMs = 500;
const longestPauseMs = 8000;

const connectionCodes: ReadonlySet<FailureCode> = new Set([
  'source-disconnected',
  'source-unreachable',
  'target-disconnected',
  'target-unreachable',
]);

/** Whether the connection is what failed. */
export function isConnectionLost(failure: Failure): boolean {
  return connectionCodes.has(failure.code);
}

/** Half a second, and twice as long each time, up to 8 s. Ends early when the signal is set. */
export async function pauseBefore(attempt: number, signal: AbortSignal): Promise<void> {
  const ms = Math.min(pauseMs * 2 ** (attempt - 1), longestPauseMs);
  await sleep(ms, undefined, { signal }).catch(() => {});
}

/** How often one piece of work is tried: five times, and as long as there is no connection for it, a minute more. */
export class Patience {
  #failed = 0;
  #refusedSince: number | null = null;

  /** Whether what failed like this may be tried again. */
  allows(failure: Failure): boolean {
    if (hasNoConnection(failure)) {
      this.#refusedSince ??= Date.now();
      return Date.now() - this.#refusedSince < refusedForMs;
    }
    this.#refusedSince = null;
    this.#failed += 1;
    return isConnectionLost(failure) && this.#failed < attempts;
  }
}

/**
 * Does the work again, as long as connections are lost or not to be had and there is patience for it. `again` gives up
 * what the attempt used, before the next one.
 */
export async function retrying<Result>(
  work: (attempt: number) => Promise<Result>,
  options: {
    readonly what: string;
    readonly log: Log;
    readonly signal: AbortSignal;
    readonly again: () => Promise<void>;
    /** Whether a refused connection is waited for as well. */
    readonly waitForConnection: () => boolean;
  },
): Promise<Result> {
  const patience = new Patience();
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work(attempt);
    } catch (error) {
      await options.again();
      const failure = asFailure(error);
      const leaves = hasNoConnection(failure) && !options.waitForConnection();
      if (leaves || options.signal.aborted || !patience.allows(failure)) throw failure;
      options.log.warn(`${failure.message}; ${options.what} again`, { attempt });
      await pauseBefore(attempt, options.signal);
    }
  }
}

/** Says once for each side that a run goes on with fewer connections than it was given. */
export class FewerConnections {
  readonly #said = new Set<Side>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  say(failure: Failure): void {
    const side: Side = failure.code.startsWith('source') ? 'source' : 'target';
    if (this.#said.has(side)) return;
    this.#said.add(side);
    this.#log.warn(`the ${side} has no more connections to give: going on with fewer (${failure.message})`);
  }
}
