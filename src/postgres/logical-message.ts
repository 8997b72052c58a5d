/**
 * Logical messages of ours. The mark behind which an end position is set: a transactional logical message, so that
 * something arrives on an idle source, and then the position after it. And the heartbeat of an idle source.
 * https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION
 */
import { Failure } from '../failure.js';
import { readLsn, type Lsn } from '../model/lsn.js';
import { ownPrefix } from '../model/message.js';
import type { Session } from './connect.js';
import { serverFailure } from './sqlstate.js';

const emit = `select pg_catalog.pg_logical_emit_message(true, '${ownPrefix}', 'mark')`;

const heartbeat = `select pg_catalog.pg_logical_emit_message(true, '${ownPrefix}', 'heartbeat')`;

const position = `
  select pg_catalog.pg_current_wal_insert_lsn()::text as lsn,
         (select setting from pg_catalog.pg_settings where name = 'wal_block_size') as block_bytes,
         pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))::text as segment_bytes`;

// MAXALIGN(sizeof(XLogPageHeaderData)) and of the long one that opens a segment.
const pageHeaderBytes = 24n;
const segmentHeaderBytes = 40n;

/**
 * Emits the mark and returns the position after it: every transaction that committed before the call ends at or before
 * it. Works in a read-only session. Throws `source-setup` on a standby, which cannot write WAL.
 */
export async function emitMark(session: Session): Promise<Lsn> {
  const [recovery] = await session.query('select pg_catalog.pg_is_in_recovery()::text as standby');
  if (recovery?.['standby'] === 'true') {
    throw new Failure('source-setup', 'the source is a standby: it cannot mark its own position', {
      remedy:
        'Ask the primary: give it as --source, or give the end position as an LSN instead of --current.',
    });
  }
  try {
    await session.query(emit);
    const [row] = await session.query(position);
    return endOfRecords(
      readLsn(row?.['lsn'] ?? ''),
      BigInt(row?.['block_bytes'] ?? ''),
      BigInt(row?.['segment_bytes'] ?? ''),
    );
  } catch (error) {
    throw serverFailure(error, 'source', 'marking the current position failed');
  }
}

/**
 * The end of the last record before an insert position. At the start of a page the insert position stands behind the
 * page's header, where no record can end: the stream would reach it only with the next record, which an idle source
 * does not write. (A record that goes on from the page before ends behind the header, never right at its end.)
 */
export function endOfRecords(insertLsn: Lsn, blockBytes: bigint, segmentBytes: bigint): Lsn {
  const headerBytes = insertLsn % segmentBytes < blockBytes ? segmentHeaderBytes : pageHeaderBytes;
  return insertLsn % blockBytes === headerBytes ? ((insertLsn - headerBytes) as Lsn) : insertLsn;
}

/**
 * A commit of ours on an idle source, so that the way of a change can be timed. Transactional: a message outside of a
 * transaction is flushed seconds later, when the WAL writer of an idle server happens to look. Not for a standby.
 */
export async function emitHeartbeat(session: Session): Promise<void> {
  await session.query(heartbeat, [], 'the heartbeat failed');
}
