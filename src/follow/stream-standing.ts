/** Where both sides of a stream stand when it is opened. */
import type { StreamRecord } from '../catalog/stream.js';
import { Failure } from '../failure.js';
import type { JournalWriter } from '../journal/writer.js';
import type { Log } from '../log.js';
import { formatLsn, laterLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { fetchPosition } from '../postgres/position-row.js';
import { ensureTargetSchema } from '../postgres/target-schema.js';
import {
  checkSlotFacts,
  checkSlotPosition,
  checkTimeline,
  fetchSlot,
  fetchTimeline,
} from '../postgres/slot.js';

/** Where the target stands. Throws `target-set-back` where it has no position of the stream. */
export async function fetchApplied(session: Session, stream: StreamRecord): Promise<Lsn> {
  await ensureTargetSchema(session);
  const applied = await fetchPosition(session, stream.key);
  if (applied !== null) return applied;
  throw new Failure('target-set-back', `the target holds no position of the stream "${stream.key.stream}"`);
}

/** Before it has passed every snapshot of the copy the target holds rows of later transactions: no end can be there. */
export function expectBehind(endpos: Lsn, through: Lsn): Lsn {
  if (endpos === zeroLsn || endpos >= through) return endpos;
  throw new Failure(
    'usage',
    `the end position ${formatLsn(endpos)} cannot be reached: tables were copied as they were at ${formatLsn(through)}, since the snapshot of the beginning was lost`,
    { remedy: `Set one at or behind ${formatLsn(through)}, then run the same command with --resume.` },
  );
}

/** DESIGN 11.9: the slot must not be ahead of what is held here. */
export async function checkSlot(
  source: Conninfo,
  stream: StreamRecord,
  writer: JournalWriter,
  applied: Lsn,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry follow',
    log,
    signal,
  });
  checkTimeline(await fetchTimeline(session), stream.timeline);
  const { name, confirmedFlushLsn } = checkSlotFacts(await fetchSlot(session, stream.slot), {
    name: stream.slot,
    plugin: stream.plugin,
    database: stream.key.database,
  });
  if (confirmedFlushLsn === null)
    throw new Failure('slot-lost', `the replication slot "${name}" has no position`);
  checkSlotPosition({
    confirmedFlush: confirmedFlushLsn,
    journalDurable: laterLsn(writer.durable, stream.startLsn),
    applied,
  });
}
