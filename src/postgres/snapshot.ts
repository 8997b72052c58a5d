/**
 * Snapshots: one session exports one and stays in its transaction; others import it, and then see the database
 * exactly as it was. A session that has imported a snapshot keeps its view even when the exporter is gone; what is
 * lost with the exporter is the possibility to import it once more.
 * https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
 */
import { Failure } from '../failure.js';
import { quoteLiteral } from '../model/sql.js';
import type { Session } from './connect.js';
import { sqlState } from './sqlstate.js';

const beginSnapshotTransaction = 'begin isolation level repeatable read, read only';

/**
 * Opens a transaction on a source session and exports its snapshot. It can be imported until the session ends.
 */
export async function exportSnapshot(session: Session): Promise<string> {
  await session.query(beginSnapshotTransaction);
  const [row] = await session.query('select pg_catalog.pg_export_snapshot() as snapshot');
  const snapshot = row?.['snapshot'];
  if (snapshot === null || snapshot === undefined) {
    throw new Failure('source-statement', 'the source exported no snapshot');
  }
  return snapshot;
}

/**
 * Opens a read-only transaction on a source session that sees what the snapshot sees.
 * Throws `snapshot-lost` when the source does not know the snapshot any more.
 */
export async function importSnapshot(session: Session, snapshot: string): Promise<void> {
  await session.query(beginSnapshotTransaction);
  try {
    await session.query(`set transaction snapshot ${quoteLiteral(snapshot)}`);
  } catch (error) {
    if (!isUnknownSnapshot(error)) throw error;
    throw new Failure(
      'snapshot-lost',
      `the snapshot ${snapshot} on the source is gone: the session or process that held it has ended`,
      { cause: error },
    );
  }
}

// 22023 invalid identifier: its file is gone. 42704: the same, from version 17 on. 55000: its holder has just ended.
// 0A000: the name is another database's by now.
const unknownSnapshotStates = new Set(['22023', '42704', '55000', '0A000']);

function isUnknownSnapshot(error: unknown): boolean {
  const state = sqlState(error);
  return state !== null && unknownSnapshotStates.has(state);
}
