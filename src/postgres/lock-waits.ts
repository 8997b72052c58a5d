/**
 * Which sessions of ours wait for a lock that somebody else has, and who that is. Postgres says nothing of it to whoever
 * waits, so a run would stand still without a word.
 */
import type { Session, TextRow } from './connect.js';

/** A session of ours that waits, and one that keeps it waiting. */
export type LockWait = {
  /** Its application name, such as `walferry apply`. */
  readonly waiting: string;
  readonly pid: string;
  /** The table (or index, or sequence) with its schema; null where the lock is none of a relation. */
  readonly relation: string | null;
  readonly seconds: number;
  /** Who is in the way; null for a prepared transaction, which has no process. */
  readonly blocker: {
    readonly pid: string;
    /** Null where our role may not see it. */
    readonly user: string | null;
    readonly application: string;
    /** Since when its transaction is open; null where our role may not see it. */
    readonly since: string | null;
  } | null;
};

// Before 14 nothing tells since when: the statement that waits began before that.
const waitsSince = `coalesce((pg_catalog.to_jsonb(l) ->> 'waitstart')::timestamptz, a.query_start)`;

/** Other sessions of ours are no news: they are waited for, and end. */
const lockWaits = `
  select a.application_name as waiting, a.pid::text, pg_catalog.date_part('epoch',
           pg_catalog.clock_timestamp() - ${waitsSince})::text as seconds,
         pg_catalog.format('%I.%I', n.nspname, c.relname) as named, (c.oid is not null)::text as is_relation,
         x.pid::text as blocker, b.usename::text as usename, b.application_name, b.backend_type,
         pg_catalog.date_trunc('second', b.xact_start)::text as since
    from pg_catalog.pg_locks l
    join pg_catalog.pg_stat_activity a on a.pid = l.pid
    left join pg_catalog.pg_class c on c.oid = l.relation and l.database = a.datid
    left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   cross join lateral (
      select distinct pid from pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) as p(pid)) as x
    left join pg_catalog.pg_stat_activity b on b.pid = x.pid
   where not l.granted and a.application_name like 'walferry %'
     and a.datname = pg_catalog.current_database() and a.usename = session_user
     and coalesce(b.application_name, '') not like 'walferry %'
   order by ${waitsSince}, a.pid, x.pid`;

/** What sessions of this role wait for in this database; shorter waits than `atLeastSeconds` are none. */
export async function fetchLockWaits(session: Session, atLeastSeconds: number): Promise<LockWait[]> {
  return (await session.query(lockWaits))
    .map(readLockWait)
    .filter(({ seconds }) => seconds >= atLeastSeconds);
}

function readLockWait(row: TextRow): LockWait {
  const { blocker = null, backend_type: type = null } = row;
  // What is in the way of nobody's process any more is a prepared transaction: its process is 0.
  const process = blocker === null || blocker === '0' ? null : blocker;
  return {
    waiting: row['waiting'] ?? '',
    pid: row['pid'] ?? '',
    relation: row['is_relation'] === 'true' ? (row['named'] ?? null) : null,
    seconds: Number(row['seconds'] ?? 0),
    blocker:
      process === null
        ? null
        : {
            pid: process,
            user: row['usename'] ?? null,
            application: row['application_name'] || (type === 'client backend' ? '' : (type ?? '')),
            since: row['since'] ?? null,
          },
  };
}

/** In words that an operator can act on, without what changes from one look to the next. */
export function describeLockWait({ waiting, relation, blocker }: LockWait): string {
  const what = relation === null ? 'a lock' : `a lock on ${relation}`;
  if (blocker === null) return `"${waiting}" waits for ${what} that a prepared transaction holds`;
  const { pid, user, application, since } = blocker;
  const who = [application === '' ? null : `"${application}"`, user === null ? null : `of ${user}`];
  const words = [`process ${pid}`, ...who.filter((word) => word !== null)].join(' ');
  const open = since === null ? '' : `, in a transaction since ${since}`;
  return `"${waiting}" waits for ${what} behind ${words}${open}`;
}
