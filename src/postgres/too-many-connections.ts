/**
 * A server that has no connection left to give, to anybody or to our role: what is needed once, such as the session of a
 * step or a client program, waits for one. Somebody will close one, and starting again would cost more. Who is one of
 * several at the same work waits no longer than a look of somebody's lasts: the others go on.
 */
import { sqlState } from './sqlstate.js';

/** How long it is waited for. */
export const refusedForMs = 60_000;

/**
 * How long by one of several: whoever gives up does so for the whole run, and what is in the way may be a status command,
 * or the run's own look for locks.
 */
export const oneOfSeveralForMs = 2000;

/** Whether a login failed because there was no connection left (SQLSTATE 53300). */
export function hasNoConnection(error: unknown): boolean {
  return sqlState(error) === '53300';
}

// libpq does not tell its programs the SQLSTATE. In another language of the server it is an error like any other.
const words =
  /^pg_\w+: error: .*FATAL: {2}(?:sorry, too many clients already|too many connections for (?:role|database)|remaining connection slots are reserved)/m;

/** Whether a line of a client program's errors says that there was no connection for it. */
export function saysNoConnection(errors: string): boolean {
  return words.test(errors);
}
