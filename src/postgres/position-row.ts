/**
 * The position row on the target, `walferry.position`: up to which end LSN this target holds everything of one
 * stream. It is written in the same transaction as the rows, and read back after every interruption; nobody assumes it
 * (DESIGN 3.3).
 */
import type { StreamKey } from '../model/stream-key.js';
import { formatLsn, readLsn, type Lsn } from '../model/lsn.js';
import type { Session } from './connect.js';

/** The first three parameters of every statement here. */
export function streamKeyParameters(key: StreamKey): string[] {
  return [key.stream, key.systemIdentifier, key.database];
}

const ofStream = 'stream = $1 and system_identifier = $2 and database = $3';

/** $1 to $3: the stream. One row with the position, or none. */
export const positionQuery = `select lsn from walferry.position where ${ofStream}`;

/** What the error of a failed guard begins with; the server quotes it, whatever its language. */
export const guardWords = 'walferry position';

/**
 * The guard (DESIGN 3.4) is two statements around a group's rows. The first locks the position row and fails unless it
 * stands where the group begins ($4). A second applier that waits for the lock looks at the row again when it gets it,
 * finds it moved, and fails as well; the same holds for a repeated group and for one whose predecessor failed.
 *
 * It fails by a cast that cannot succeed: an error that nobody else's statement raises, and that needs no function on
 * the target. The count in it keeps the planner from evaluating the cast beforehand.
 */
export const guardStatement = `
  with held as (
    select 1 from walferry.position where ${ofStream} and lsn = $4::pg_catalog.pg_lsn for update
  )
  select case when pg_catalog.count(*) = 1 then 1
    else pg_catalog.concat('${guardWords} ', pg_catalog.count(*))::pg_catalog.int4 end
  from held`;

/**
 * The second moves the row to where the group ends ($5), right before its COMMIT: while a large transaction streams
 * through, its end is not known yet. It asserts the same as the first.
 */
export const moveStatement = `
  with moved as (
    update walferry.position set lsn = $5::pg_catalog.pg_lsn, updated_at = pg_catalog.now()
    where ${ofStream} and lsn = $4::pg_catalog.pg_lsn
    returning 1
  )
  select case when pg_catalog.count(*) = 1 then 1
    else pg_catalog.concat('${guardWords} ', pg_catalog.count(*))::pg_catalog.int4 end
  from moved`;

/** The position of a stream; null when the target has none. */
export async function fetchPosition(session: Session, key: StreamKey): Promise<Lsn | null> {
  const [row] = await session.query(positionQuery, streamKeyParameters(key));
  const lsn = row?.['lsn'];
  return lsn === undefined || lsn === null ? null : readLsn(lsn);
}

const madeQuery = `select pg_catalog.to_regclass('walferry.position') is not null as made`;

/** Whether the target is one of this stream; it may be a database that walferry was never at. */
export async function holdsPosition(session: Session, key: StreamKey): Promise<boolean> {
  const [row] = await session.query(madeQuery);
  return row?.['made'] === 't' && (await fetchPosition(session, key)) !== null;
}

const createStatement = `
  insert into walferry.position (stream, system_identifier, database, lsn)
  values ($1, $2, $3, $4::pg_catalog.pg_lsn)
  on conflict do nothing`;

/**
 * Makes the position row of a stream that starts at `start`; leaves one that is there as it is. Returns the position
 * that the target has now.
 */
export async function createPosition(session: Session, key: StreamKey, start: Lsn): Promise<Lsn> {
  await session.query(createStatement, [...streamKeyParameters(key), formatLsn(start)]);
  return (await fetchPosition(session, key)) ?? start;
}

const deleteStatement = `delete from walferry.position where ${ofStream}`;

/**
 * Forgets a stream's position: for a run that starts from nothing, and for cleanup. Only where it stands at `at`, when
 * that is given.
 */
export async function deletePosition(session: Session, key: StreamKey, at?: Lsn): Promise<void> {
  if (at === undefined) await session.query(deleteStatement, streamKeyParameters(key));
  else await session.query(`${deleteStatement} and lsn = $4`, [...streamKeyParameters(key), formatLsn(at)]);
}
