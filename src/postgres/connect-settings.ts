/**
 * The settings that every session of ours starts with, whatever role, database or server say.
 *
 * They are set in SQL after the login, not as start-up parameters: a pooler refuses unknown ones, and a version that
 * lacks one would refuse the login. All in one statement, so one round trip; a walsender before 15 takes no more than
 * one statement at a time.
 *
 * Not set: synchronous_commit and session_replication_role, which belong to single steps.
 */

type Setting = readonly [name: string, value: string, sinceVersion: number];

const settings: readonly Setting[] = [
  // The text of a value must read back as the same value, and be the same on both sides.
  ['client_encoding', 'UTF8', 0],
  ['datestyle', 'ISO', 0],
  ['intervalstyle', 'postgres', 0],
  ['extra_float_digits', '3', 0],
  ['bytea_output', 'hex', 0],
  ['xmloption', 'content', 0],
  // The locale's currency sign and decimals are no part of a money value; C is on every server.
  ['lc_monetary', 'C', 0],
  ['array_nulls', 'on', 0],
  ['standard_conforming_strings', 'on', 0],
  // As pg_dump and native logical replication: nobody's schema decides what our statements mean
  // (CVE-2018-1058, CVE-2020-14349), and regclass, regtype, regproc values print with their schema. The price is
  // theirs as well: a function in a CHECK constraint that names its tables without a schema does not find them.
  ['search_path', '', 0],
  // A row that a policy hides would be missing from the copy without a word: an error instead.
  ['row_security', 'off', 0],
  // A copy takes as long as it takes, and a snapshot is held idle.
  ['statement_timeout', '0', 0],
  ['lock_timeout', '0', 0],
  ['idle_in_transaction_session_timeout', '0', 0],
  ['idle_session_timeout', '0', 140_000],
  ['transaction_timeout', '0', 170_000],
  ['default_transaction_read_only', 'off', 0],
  ['default_transaction_isolation', 'read committed', 0],
  ['default_transaction_deferrable', 'off', 0],
  ['client_min_messages', 'notice', 0],
];

/**
 * When the backend of a process id started, as text that does not depend on a session's settings: another backend with
 * the same id has another one. Null where the session's role may not see it.
 */
export const backendStart = 'extract(epoch from backend_start)::pg_catalog.text';

/** Some milliseconds of a new backend, so only who asks for it gets it. */
const startColumn = `(select ${backendStart} from pg_catalog.pg_stat_activity
  where pid = pg_catalog.pg_backend_pid()) as backend_start`;

export type SessionWishes = {
  readonly timeZone: 'UTC' | 'server';
  /** Whether `backend_start` is returned as well: see `backendStart`. */
  readonly backendStart: boolean;
};

/**
 * One statement that sets everything and returns `pid`, the backend's own process id (a proxy makes up the one of the
 * login), and `in_recovery`, `t` on a standby.
 */
export function sessionStatement(serverVersion: number, wishes: SessionWishes): string {
  const { timeZone } = wishes;
  const calls = [...settings, ...(timeZone === 'UTC' ? [['timezone', 'UTC', 0] as const] : [])]
    .filter(([, , since]) => serverVersion >= since)
    .map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', false)`);
  return (
    'select pg_catalog.pg_backend_pid() as pid, pg_catalog.pg_is_in_recovery() as in_recovery, ' +
    [...calls, ...(wishes.backendStart ? [startColumn] : [])].join(', ')
  );
}
