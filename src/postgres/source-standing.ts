/**
 * Where the source stands and how its slot does, in one query that any role may run on a primary or a standby.
 * https://www.postgresql.org/docs/current/view-pg-replication-slots.html
 */
import { readLsn, type Lsn } from '../model/lsn.js';
import type { Session } from './connect.js';

export type SourceStanding = {
  /** The end of what is flushed, on a standby of what is replayed: what a stream can carry by now. */
  readonly lsn: Lsn;
  /** The server's clock, milliseconds since 1970. */
  readonly nowMs: number;
  readonly standby: boolean;
  /** Null when there is no slot of this name. */
  readonly slot: {
    readonly walStatus: string | null;
    /** WAL between what the slot needs and where the source is; 0 where it reserves nothing. */
    readonly retainedBytes: number;
    readonly safeBytes: number | null;
  } | null;
};

const standing = `
  select n.lsn::text, n.standby::text, (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint::text as now_ms,
         s.slot_name::text as slot, s.wal_status,
         greatest(pg_catalog.pg_wal_lsn_diff(n.lsn, s.restart_lsn), 0)::text as retained, s.safe_wal_size::text as safe
    from (select r as standby, case when r then pg_catalog.pg_last_wal_replay_lsn()
                                    else pg_catalog.pg_current_wal_flush_lsn() end as lsn
            from pg_catalog.pg_is_in_recovery() r) n
    left join pg_catalog.pg_replication_slots s on s.slot_name = $1::name`;

/** Asks it. */
export async function fetchSourceStanding(session: Session, slot: string): Promise<SourceStanding> {
  const [row] = await session.query(standing, [slot], 'asking the source where it stands failed');
  const safe = row?.['safe'] ?? null;
  return {
    lsn: readLsn(row?.['lsn'] ?? '0/0'),
    nowMs: Number(row?.['now_ms'] ?? 0),
    standby: row?.['standby'] === 'true',
    slot:
      (row?.['slot'] ?? null) === null
        ? null
        : {
            walStatus: row?.['wal_status'] ?? null,
            retainedBytes: Number(row?.['retained'] ?? 0),
            safeBytes: safe === null ? null : Math.max(0, Number(safe)),
          },
  };
}
