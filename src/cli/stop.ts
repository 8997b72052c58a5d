/**
 * Being asked to stop. The first SIGINT, SIGTERM or SIGHUP aborts the one signal of the command, which then ends at
 * its next clean edge with exit 22. The second one ends the process at once with 128 + the signal's number (130 for
 * Ctrl-C): as after a kill, everything is resumable. SIGQUIT ends it at once the first time.
 */
import { constants } from 'node:os';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';

export type StopHandling = Disposable & {
  readonly signal: AbortSignal;
  /** Stops the command for another reason than a signal of the system. */
  readonly stop: (reason: Failure) => void;
};

const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Listens until it is disposed. `left`: what is to be done after a command that was stopped at once. */
export function handleStops(log: Log, exitNow: (status: number) => void, left?: string): StopHandling {
  const controller = new AbortController();
  const stop = (name: (typeof stopSignals)[number]) => {
    if (controller.signal.aborted) {
      log.warn(`stopped at once${left === undefined ? '' : `; ${left}`}`);
      exitNow(128 + constants.signals[name]);
      return;
    }
    const again = name === 'SIGINT' ? 'press Ctrl-C again' : `send ${name} again`;
    log.info(`stopping; ${again} to stop at once`);
    controller.abort(new Failure('stopped', 'stopped as asked'));
  };
  const quit = () => {
    if (left !== undefined) log.warn(`stopped at once; ${left}`);
    exitNow(128 + constants.signals.SIGQUIT);
  };
  for (const name of stopSignals) process.on(name, stop);
  process.on('SIGQUIT', quit);
  return {
    signal: controller.signal,
    stop: (reason) => controller.abort(reason),
    [Symbol.dispose]: () => {
      for (const name of stopSignals) process.off(name, stop);
      process.off('SIGQUIT', quit);
    },
  };
}
