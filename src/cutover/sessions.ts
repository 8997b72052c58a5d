/**
 * Other people's sessions in the source database. Whom they belong to, whether they hold a transaction id (that is, have
 * written) and which locks they hold, every role may see; what they do, only their owner and pg_read_all_stats.
 */
import { applierName } from '../apply/stream-lock.js';
import { relationLabel } from '../model/relation.js';
import type { Session } from '../postgres/connect.js';

export type OtherSession = {
  readonly pid: string;
  readonly user: string;
  readonly application: string;
  /** Has written in the transaction that it is in, or runs a statement that may. */
  readonly writing: boolean;
  /** Whether our role may end it. */
  readonly mayEnd: boolean;
  /** Keeps every right whatever is revoked. */
  readonly superuser: boolean;
  /** How long ago it connected; null where our role may not know. */
  readonly ageMs: number | null;
};

/** Whether a lock `l` is one that is held to write to a table `c` of users. */
const isHeldToWrite = `l.locktype = 'relation' and l.granted
  and c.relkind in ('r', 'p') and c.relpersistence <> 't' and c.oid >= 16384
  and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`;

/**
 * Not ours: the sessions of walferry itself have an application name that begins with it, and neither they nor a
 * walsender write rows. Only an applier does, and an applier here is one of another run, which follows into this source. A
 * session that borrows a name is spared here, and found out by what it writes.
 *
 * A statement takes the lock to write before it is asked for its privileges, and keeps it until its transaction ends. So
 * one that was let through before a freeze holds it now, also while it has found no row yet (and has no transaction id).
 */
const sessionsQuery = `
  select a.pid::text as pid, coalesce(a.usename, '') as "user", coalesce(a.application_name, '') as application,
         (a.backend_xid is not null or exists (
            select from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation
             where l.pid = a.pid and l.database = a.datid and ${isHeldToWrite}
         ))::text as writing, (extract(epoch from pg_catalog.clock_timestamp() - a.backend_start) * 1000)::text as age_ms, coalesce(r.rolsuper, false)::text as superuser,
         (me.rolsuper or (not coalesce(r.rolsuper, true) and (
            pg_catalog.pg_has_role(a.usesysid, 'usage')
            or pg_catalog.pg_has_role('pg_signal_backend', 'usage'))))::text as may_end
    from pg_catalog.pg_stat_activity a
    left join pg_catalog.pg_roles r on r.oid = a.usesysid
    cross join (select rolsuper from pg_catalog.pg_roles where rolname = current_user) me
   where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
     and a.usesysid is not null
     and (coalesce(a.application_name, '') not like 'walferry%' or a.application_name = '${applierName}')
     and not exists (select from pg_catalog.pg_stat_replication w where w.pid = a.pid)
   order by a.pid`;

/** Everybody else in this database. */
export async function fetchOtherSessions(session: Session): Promise<OtherSession[]> {
  const rows = await session.query(sessionsQuery, [], 'could not list the sessions');
  return rows.map((row) => ({
    pid: row['pid'] ?? '',
    user: row['user'] ?? '',
    application: row['application'] ?? '',
    writing: row['writing'] === 'true',
    mayEnd: row['may_end'] === 'true',
    superuser: row['superuser'] === 'true',
    ageMs: (row['age_ms'] ?? null) === null ? null : Number(row['age_ms']),
  }));
}

/** Ends these sessions, as far as they are there and the role may; gives those that were told to end. */
export async function endSessions(session: Session, sessions: readonly OtherSession[]): Promise<string[]> {
  const pids = sessions.filter(({ mayEnd }) => mayEnd).map(({ pid }) => pid);
  if (pids.length === 0) return [];
  const rows = await session.query(
    `select pid::text as pid from pg_catalog.unnest($1::int[]) as u (pid)
      where exists (select from pg_catalog.pg_stat_activity a where a.pid = u.pid)
        and pg_catalog.pg_terminate_backend(u.pid)`,
    [`{${pids.join(',')}}`],
    'could not end the sessions of the application',
  );
  return rows.map((row) => row['pid'] ?? '');
}

/** Somebody who may still commit rows of a followed table: a session, or a transaction that is prepared. */
export type Writer = {
  readonly schema: string;
  readonly name: string;
  /** Null: prepared. */
  readonly pid: string | null;
  /** For people. */
  readonly who: string;
};

/**
 * By the locks that a change takes and keeps until its transaction ends, which everybody may see. One that is refused,
 * since its transaction is read-only, has them for a moment. A prepared transaction keeps them without a process.
 */
const writersOfTablesQuery = `
  select distinct n.nspname as schema, c.relname as name, l.pid::text as pid, coalesce(
           (select pg_catalog.concat('the prepared transaction ', p.gid, ' (of ', p.owner, ')')
              from pg_catalog.pg_locks x join pg_catalog.pg_prepared_xacts p on p.transaction = x.transactionid
             where l.pid is null and x.pid is null and x.virtualtransaction = l.virtualtransaction limit 1),
           pg_catalog.concat('session ', l.pid, ' (', coalesce(nullif(a.application_name, ''), 'without a name'),
             ' as ', a.usename, ')')) as who
    from pg_catalog.pg_locks l
    join pg_catalog.pg_class c on c.oid = l.relation
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_stat_activity a on a.pid = l.pid
   where l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
     and ${isHeldToWrite}
   order by 1, 2, 3`;

/** Everybody who has written to these tables, or is about to, in a transaction that has not ended. */
export async function fetchWriters(
  session: Session,
  isFollowed: (table: { schema: string; name: string }) => boolean,
): Promise<Writer[]> {
  const rows = await session.query(writersOfTablesQuery, [], 'could not look for open transactions');
  return rows
    .map((row) => ({
      schema: row['schema'] ?? '',
      name: row['name'] ?? '',
      pid: row['pid'] ?? null,
      who: row['who'] ?? '',
    }))
    .filter(isFollowed);
}

const appliersQuery = `
  select pid::text as pid from pg_catalog.pg_stat_activity
   where datname = pg_catalog.current_database() and application_name = '${applierName}' order by 1`;

/** Sessions by which another run of walferry follows into this database. */
export async function fetchAppliers(session: Session): Promise<string[]> {
  return (await session.query(appliersQuery)).map((row) => row['pid'] ?? '');
}

const preparedQuery = `
  select gid, owner from pg_catalog.pg_prepared_xacts where database = pg_catalog.current_database() order by gid`;

/** Prepared transactions of this database: they can be committed later, whatever is frozen. */
export async function fetchPrepared(session: Session): Promise<{ gid: string; owner: string }[]> {
  const rows = await session.query(preparedQuery);
  return rows.map((row) => ({ gid: row['gid'] ?? '', owner: row['owner'] ?? '' }));
}

const subscriptionsQuery = `
  select s.subname as name from pg_catalog.pg_subscription s
    join pg_catalog.pg_database d on d.oid = s.subdbid
   where d.datname = pg_catalog.current_database() and s.subenabled order by 1`;

/**
 * Subscriptions that are enabled: their workers are started again whenever they end, and the read-only default does not
 * bind them.
 */
export async function fetchSubscriptions(session: Session): Promise<string[]> {
  const rows = await session.query(subscriptionsQuery);
  return rows.map((row) => row['name'] ?? '');
}

const writersQuery = `
  select r.rolname as name from pg_catalog.pg_roles r
   where r.rolcanlogin and not r.rolsuper and pg_catalog.pg_has_role(r.oid, 'pg_write_all_data', 'usage')
   order by 1`;

/** Roles that may write to every table, whatever is granted or revoked on it. */
export async function fetchWritersOfAll(session: Session): Promise<string[]> {
  const rows = await session.query(writersQuery);
  return rows.map((row) => row['name'] ?? '');
}

/** `late (of shop), other (of postgres)`. */
export function describePrepared(prepared: readonly { gid: string; owner: string }[]): string {
  return prepared.map(({ gid, owner }) => `${gid} (of ${owner})`).join(', ');
}

/** So many are named; the rest is counted. */
const named = 5;

/** `session 12 (app as shop) in public.sale and 4 more`. */
export function describeWriters(writers: readonly Writer[]): string {
  const shown = writers.slice(0, named).map(({ who, ...table }) => `${who} in ${relationLabel(table)}`);
  const rest = writers.length - shown.length;
  return shown.join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

/** `12 (app as shop), 13 (cron as postgres) and 4 more`. */
export function describeSessions(sessions: readonly OtherSession[]): string {
  const shown = sessions
    .slice(0, named)
    .map(
      ({ pid, user, application }) => `${pid} (${application === '' ? 'a session' : application} as ${user})`,
    );
  const rest = sessions.length - shown.length;
  return shown.join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
