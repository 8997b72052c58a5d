/**
 * Who the source is, asked over a replication connection: what tells its streams from another server's.
 * https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-IDENTIFY-SYSTEM
 */
import { Failure } from '../failure.js';
import { readLsn, type Lsn } from '../model/lsn.js';
import type { Session, TextRow } from './connect.js';

export type SourceIdentity = {
  /** Decimal; unique to a cluster from initdb on, kept by its physical standbys. */
  readonly systemIdentifier: string;
  readonly timeline: number;
  /** Up to where the server has flushed its WAL now. */
  readonly walLsn: Lsn;
  readonly database: string;
  readonly walSegmentBytes: bigint;
  /** The next transaction id to be given out, 64 bits: what 32-bit xids of a stream are widened from. */
  readonly nextXid: bigint;
  /** How long the server waits for a sign of its reader, in milliseconds; 0 for ever. */
  readonly walSenderTimeoutMs: number;
};

const settingsOfServer = `
  select pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))::text as wal_segment_bytes,
         (select setting from pg_catalog.pg_settings where name = 'wal_sender_timeout') as wal_sender_timeout,
         pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())::text as next_xid`;

/** Runs one statement of a replication connection. */
export type RunReplicationCommand = (sql: string) => Promise<readonly TextRow[]>;

/** Identifies the source over a replication session. */
export async function identifySource(session: Session): Promise<SourceIdentity> {
  return identifyThrough((sql) => session.query(sql));
}

/** Identifies the source over any way to run replication commands. */
export async function identifyThrough(run: RunReplicationCommand): Promise<SourceIdentity> {
  const [system] = await run('IDENTIFY_SYSTEM');
  const [settings] = await run(settingsOfServer);
  const field = (row: TextRow | undefined, name: string): string => {
    const value = row?.[name];
    if (value === undefined || value === null) {
      throw new Failure(
        'source-setup',
        `the source does not tell its ${name}: is it a Postgres server of its own?`,
      );
    }
    return value;
  };
  return {
    systemIdentifier: field(system, 'systemid'),
    timeline: Number(field(system, 'timeline')),
    walLsn: readLsn(field(system, 'xlogpos')),
    database: field(system, 'dbname'),
    walSegmentBytes: BigInt(field(settings, 'wal_segment_bytes')),
    nextXid: BigInt(field(settings, 'next_xid')),
    walSenderTimeoutMs: Number(field(settings, 'wal_sender_timeout')),
  };
}
