/** Where both sides of a stream stand when it is opened. */
import type { StreamRecord } from '../catalog/stream.js';
import { Failure } from '../failure.js';
import type { JournalWriter } from '../journal/writer.js';
import type { Log } from '../log.js';
import { formatLsn, laterLsn, readLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import { connect, type Session } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { streamKeyParameters } from '../postgres/position-row.js';
import { sqlState } from '../postgres/sqlstate.js';
import { ensureTargetSchema, targetSchemaVersion } from '../postgres/target-schema.js';
import {
  checkSlotFacts,
  checkSlotPosition,
  checkTimeline,
  fetchSlot,
  fetchTimeline,
} from '../postgres/slot.js';

export type TargetStanding = {
  readonly applied: Lsn;
  /** Behind the last snapshot that tables were copied from; it moves while more are copied. */
  readonly through: Lsn;
};

/** $1 to $3: the stream. All in one round trip, where the tables are there and of this version. */
const standingQuery = `
  select v.version, p.lsn,
    (select pg_catalog.max(g.lsn) from walferry.generation g
     where g.stream = $1 and g.system_identifier = $2 and g.database = $3) as through
  from walferry.version v
  left join walferry.position p on p.stream = $1 and p.system_identifier = $2 and p.database = $3`;

/** Where the target stands. Throws `target-set-back` where it has no position of the stream, and as `ensureTargetSchema`. */
export async function fetchStanding(
  session: Session,
  { key }: Pick<StreamRecord, 'key'>,
): Promise<TargetStanding> {
  const ask = async () => (await session.query(standingQuery, streamKeyParameters(key)))[0];
  let row = await ask().catch((error: unknown) => {
    // undefined_table, undefined_column: nothing is there, or another version.
    if (!['42P01', '42703'].includes(sqlState(error) ?? '')) throw error;
    return undefined;
  });
  if (row?.['version'] !== String(targetSchemaVersion)) {
    await ensureTargetSchema(session);
    row = await ask();
  }
  const lsn = row?.['lsn'] ?? null;
  if (lsn === null) {
    throw new Failure(
      'target-set-back',
      `the target holds no position of the stream "${key.stream}": it is not the target that this run was set up for, or it was restored`,
    );
  }
  const through = row?.['through'] ?? null;
  return { applied: readLsn(lsn), through: through === null ? zeroLsn : readLsn(through) };
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
