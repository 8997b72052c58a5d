/**
 * One applier a stream: a lock of the session, which goes with its backend. The guard makes a second applier harmless;
 * this one makes it wait. It matters after a kill: the backend of the process before may still work through what it was
 * sent, and until it is gone nobody knows where the position row will stand.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, throwIfStopped } from '../failure.js';
import type { Log } from '../log.js';
import type { StreamKey } from '../model/stream-key.js';
import { streamKeyParameters } from '../postgres/position-row.js';
import type { WireSession } from '../postgres/wire-session.js';

/** What the sessions of an applier are called on the target. */
export const applierName = 'walferry apply';

/** A bigint for the stream; locks are the database's own. */
const lockKey = `pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', 'walferry', $1, $2, $3), 0)`;

/** No text when the lock is ours; otherwise the process ids that hold it, as far as they are known. */
const tryQuery = `
  with k (key) as (select ${lockKey})
  select case when not pg_catalog.pg_try_advisory_lock(key) then coalesce((
    select pg_catalog.string_agg(l.pid::pg_catalog.text, ', ') from pg_catalog.pg_locks l
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
      and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
      and l.classid = ((key >> 32) & 4294967295)::pg_catalog.oid and l.objid = (key & 4294967295)::pg_catalog.oid
  ), '') end from k`;

export type StreamLockOptions = {
  /** How long somebody else's session is waited for, in milliseconds. */
  readonly forMs: number;
  readonly signal: AbortSignal;
  readonly log: Log;
};

const pauseMs = 100;
const saidAfterMs = 1000;

/**
 * Takes the lock; returns whether it was free, so that what was asked right behind the first try is of a time when it was
 * ours. Throws `position-moved` when another session keeps it, `stopped`.
 */
export async function takeStreamLock(
  session: WireSession,
  key: StreamKey,
  { forMs, signal, log }: StreamLockOptions,
): Promise<boolean> {
  const began = performance.now();
  let isSaid = false;
  for (let isFirst = true; ; isFirst = false) {
    const [row] = await session.query(tryQuery, streamKeyParameters(key));
    const holders = row?.[0] ?? null;
    if (holders === null) return isFirst;
    const waitedMs = performance.now() - began;
    const who = holders === '' ? 'another session' : `another session (process ${holders} of the server)`;
    if (waitedMs >= forMs) {
      throw new Failure('position-moved', `target: ${who} applies the stream "${key.stream}"`, {
        remedy:
          `Stop the other applier, then run the same command with --resume. If it is gone, and its session is not: ` +
          `select pg_terminate_backend(${holders === '' ? 'pid' : holders.split(',')[0]});`,
      });
    }
    if (!isSaid && waitedMs >= saidAfterMs) {
      log.warn(`target: ${who} still applies the stream "${key.stream}": waiting until it has ended`);
      isSaid = true;
    }
    throwIfStopped(signal);
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
    throwIfStopped(signal);
  }
}
