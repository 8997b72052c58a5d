/** Where both sides of a stream stand when it is opened. */
import type { StreamRecord } from '../catalog/stream.js';
import { Failure } from '../failure.js';
import type { JournalWriter } from '../journal/writer.js';
import type { Log } from '../log.js';
import { laterLsn, type Lsn } from '../model/lsn.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { fetchPosition } from '../postgres/position-row.js';
import {
  checkSlotFacts,
  checkSlotPosition,
  checkTimeline,
  fetchSlot,
  fetchTimeline,
} from '../postgres/slot.js';

/** Where the target stands. Throws `target-set-back` where it has no position of the stream. */
export async function fetchApplied(
  target: Conninfo,
  stream: StreamRecord,
  log: Log,
  signal: AbortSignal,
): Promise<Lsn> {
  await using session = await connect(target, {
    side: 'target',
    applicationName: 'walferry follow',
    log,
    signal,
  });
  const applied = await fetchPosition(session, stream.key);
  if (applied !== null) return applied;
  throw new Failure('target-set-back', `the target holds no position of the stream "${stream.key.stream}"`);
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
