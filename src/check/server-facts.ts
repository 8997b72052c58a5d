/**
 * What both servers are asked alike: who we are there, what the server is set to, how far away it is. One query for
 * all of it, and a few empty ones for the distance.
 */
import type { Side } from '../failure.js';
import type { LoginFacts } from '../postgres/connect-session.js';
import type { Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';

export type RoleFacts = {
  readonly name: string;
  readonly superuser: boolean;
  readonly replication: boolean;
  readonly bypassesRowSecurity: boolean;
  /** -1: no limit. */
  readonly connectionLimit: number;
  /** Whether it is a member of Neon's own role for customers; null where there is none: not Neon. */
  readonly neonMember: boolean | null;
};

export type DatabaseFacts = {
  readonly name: string;
  readonly encoding: string;
  readonly collate: string;
  readonly ctype: string;
  /** -1: no limit. */
  readonly connectionLimit: number;
};

/** Connections that are open now. */
export type ConnectionCounts = { readonly all: number; readonly role: number; readonly database: number };

export type ServerFacts = {
  readonly side: Side;
  readonly host: string;
  readonly version: number;
  readonly inRecovery: boolean;
  readonly login: LoginFacts;
  readonly role: RoleFacts;
  readonly database: DatabaseFacts;
  readonly connections: ConnectionCounts;
  /** Settings as pg_settings has them, in its units; `start` is what a new session of this role in this database gets. */
  readonly settings: ReadonlyMap<string, { readonly now: string; readonly start: string }>;
  /** The shortest of a few, in milliseconds. */
  readonly roundTripMs: number;
  /** How far the server's clock is ahead of ours, in milliseconds; as uncertain as half a round trip. */
  readonly clockAheadMs: number;
};

const settingNames = [
  'default_transaction_read_only',
  'hot_standby_feedback',
  'idle_in_transaction_session_timeout',
  'idle_replication_slot_timeout',
  'idle_session_timeout',
  'lock_timeout',
  'max_connections',
  'max_locks_per_transaction',
  'max_prepared_transactions',
  'max_replication_slots',
  'max_slot_wal_keep_size',
  'max_standby_streaming_delay',
  'max_wal_senders',
  'reserved_connections',
  'statement_timeout',
  'superuser_reserved_connections',
  'transaction_timeout',
  'wal_level',
  'wal_sender_timeout',
];

const factsQuery = `
  select r.rolname as role, r.rolsuper as superuser, r.rolreplication as replication, r.rolbypassrls as bypass,
    r.rolconnlimit as role_limit, d.datname as database, d.datconnlimit as database_limit,
    pg_catalog.pg_encoding_to_char(d.encoding) as encoding, d.datcollate as collate, d.datctype as ctype,
    (select pg_catalog.pg_has_role(n.oid, 'member') from pg_catalog.pg_roles n where n.rolname = 'neon_superuser')
      as neon_member,
    (select pg_catalog.json_build_object(
        'all', count(*) filter (where a.backend_type is distinct from 'walsender'),
        'role', count(*) filter (where a.usesysid = r.oid), 'database', count(*) filter (where a.datid = d.oid))
      from pg_catalog.pg_stat_activity a
      where a.usesysid is not null and coalesce(a.backend_type, 'client backend') in ('client backend', 'walsender'))::text
      as connections,
    (select pg_catalog.json_agg(pg_catalog.json_build_array(s.name, s.setting, coalesce(s.reset_val, s.setting)))
      from pg_catalog.pg_settings s where s.name = any ($1::text[]))::text as settings
  from pg_catalog.pg_roles r, pg_catalog.pg_database d
  where r.rolname = current_user and d.datname = pg_catalog.current_database()`;

/** Asks the server. */
export async function fetchServerFacts(session: Session, conninfo: Conninfo): Promise<ServerFacts> {
  const [row] = await session.query(factsQuery, [`{${settingNames.join(',')}}`]);
  const text = (column: string) => row?.[column] ?? '';
  const settings = JSON.parse(row?.['settings'] ?? '[]') as [string, string, string][];
  return {
    side: session.side,
    host: conninfo.host,
    version: session.serverVersion,
    inRecovery: session.inRecovery,
    login: session.login,
    role: {
      name: text('role'),
      superuser: text('superuser') === 't',
      replication: text('replication') === 't',
      bypassesRowSecurity: text('bypass') === 't',
      connectionLimit: Number(text('role_limit')),
      neonMember: row?.['neon_member'] === null ? null : text('neon_member') === 't',
    },
    database: {
      name: text('database'),
      encoding: text('encoding'),
      collate: text('collate'),
      ctype: text('ctype'),
      connectionLimit: Number(text('database_limit')),
    },
    connections: JSON.parse(text('connections')) as ConnectionCounts,
    settings: new Map(settings.map(([name, now, start]) => [name, { now, start }])),
    ...(await measureDistance(session)),
  };
}

const roundTrips = 4;

/** How far away the server is, and how far its clock is ahead of ours. */
export async function measureDistance(
  session: Session,
): Promise<Pick<ServerFacts, 'roundTripMs' | 'clockAheadMs'>> {
  let roundTripMs = Infinity;
  let clockAheadMs = 0;
  for (let trip = 0; trip < roundTrips; trip += 1) {
    const before = Date.now();
    const began = performance.now();
    const [row] = await session.query(
      'select pg_catalog.date_part($1, pg_catalog.clock_timestamp()) as now',
      ['epoch'],
    );
    const took = performance.now() - began;
    if (took >= roundTripMs) continue;
    roundTripMs = took;
    clockAheadMs = Number(row?.['now']) * 1000 - (before + took / 2);
  }
  return { roundTripMs, clockAheadMs };
}

/** A setting as a number in the units of pg_settings; null where the server does not know it. */
export function numberSetting(facts: ServerFacts, name: string): number | null {
  const value = facts.settings.get(name)?.now;
  return value === undefined ? null : Number(value);
}
