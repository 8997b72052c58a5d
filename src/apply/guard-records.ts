/** What is switched off on a target (target-guards.ts), as it is recorded there, and how it is worked on. */
import { setTimeout as sleep } from 'node:timers/promises';
import { throwIfStopped } from '../failure.js';
import type { Log } from '../log.js';
import type { StreamKey } from '../model/stream-key.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { cutOnAbort } from '../postgres/cut-session.js';
import { streamKeyParameters } from '../postgres/position-row.js';
import { sqlState } from '../postgres/sqlstate.js';
import { applierName } from './stream-lock.js';

export type GuardOptions = {
  readonly target: Conninfo;
  readonly key: StreamKey;
  /** A session on the target that is open already; without, one of its own is opened. */
  readonly session?: Session | undefined;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** What is off: one row of walferry.guard. `name` and `relation` are quoted. */
export type Guarded = {
  readonly kind: 'trigger' | 'rule' | 'identity' | 'foreign-key' | 'validation';
  readonly relation: string;
  readonly name: string;
  /** A trigger's or rule's `O`, `A` or `R`; a foreign key's definition. */
  readonly state: string;
  /** Of a foreign key. */
  readonly comment: string | null;
};

/** Makes the table of records. */
export const createTable = `
  create table if not exists walferry.guard (
    stream text not null,
    system_identifier text not null,
    database text not null,
    kind text not null,
    relation text not null,
    name text not null,
    state text not null,
    comment text,
    primary key (stream, system_identifier, database, kind, relation, name)
  )`;

/** Whether there is one: `guard` is null where there is none. */
export const tableExists = `select pg_catalog.to_regclass('walferry.guard')::text as guard`;

const switchedOffQuery = `
  select r.kind, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) || ': ' || r.name as identity
  from walferry.guard r
  join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(r.relation)
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where r.stream = $1 and r.system_identifier = $2 and r.database = $3`;

/** What is off for this stream, by kind and as `schema.table: name`, quoted. */
export async function fetchSwitchedOff(
  session: Session,
  key: StreamKey,
): Promise<{ readonly kind: Guarded['kind']; readonly identity: string }[]> {
  const [exists] = await session.query(tableExists);
  if ((exists?.['guard'] ?? null) === null) return [];
  return (await session.query(switchedOffQuery, streamKeyParameters(key))) as unknown as {
    kind: Guarded['kind'];
    identity: string;
  }[];
}

/** Begins the statement that records. */
export const recordInto = `
  insert into walferry.guard (stream, system_identifier, database, kind, relation, name, state, comment)`;

/** A session of the step's own. */
export function openSession({ target, log, signal }: GuardOptions): Promise<Session> {
  return connect(target, { side: 'target', applicationName: applierName, log, signal });
}

/**
 * Works in a session until the signal is set: then what the server is at is cancelled (it may wait for a lock, or read a
 * large table), the session is cut, and this throws `stopped`.
 */
export async function untilStopped<T>(
  session: Session,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  throwIfStopped(signal);
  using _cut = cutOnAbort(session, signal);
  try {
    return await work();
  } catch (error) {
    throwIfStopped(signal);
    throw error;
  }
}

/** While a lock waits for a long transaction everybody queues up behind it: better to let them by and try again. */
export const lockTimeoutMs = 2000;
const lockTries = 30;
const longestPauseMs = 5000;

/** Runs `work` in a transaction of its own; again when a lock was not to be had. */
export async function withLocks<T>(
  session: Session,
  log: Log,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    throwIfStopped(signal);
    await session.query('begin');
    try {
      await session.query(`set local lock_timeout to ${lockTimeoutMs}`);
      const result = await work();
      await session.query('commit');
      return result;
    } catch (error) {
      await session.query('rollback').catch(() => {});
      // 55P03 lock_timeout, 40P01 deadlock.
      if (!['55P03', '40P01'].includes(sqlState(error) ?? '') || tries === lockTries) throw error;
      log.notice('the target waits for a lock on a table; trying again', { tries });
      await sleep(Math.min(100 * 2 ** tries, longestPauseMs), undefined, { signal }).catch(() => {});
    }
  }
}
