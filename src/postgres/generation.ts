/**
 * Generations (DESIGN 7). The tables of a copy with a stream are copied from the slot's own snapshot. When that is gone
 * before all of them are, those that are left are copied from a later one, of which the target keeps what it sees:
 * `walferry.generation`, and its number in the table's row of the task table. Whoever applies the stream leaves out, for
 * such a table, the transactions that its snapshot saw. That is exact: nothing is missing and nothing comes twice.
 */
import { Failure } from '../failure.js';
import { readLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import { readSeenTransactions, type SeenTransactions } from '../model/seen-transactions.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Session } from './connect.js';
import { streamKeyParameters } from './position-row.js';
import { exportSnapshot } from './snapshot.js';
import { relationOfTask } from './task-table.js';

export type Generation = {
  /** 1 for the first that is not the slot's own. */
  readonly number: number;
  readonly seen: SeenTransactions;
  /** Behind the commit of everything that the snapshot sees. */
  readonly lsn: Lsn;
};

/** A snapshot of now, as text of the server; it can be imported until the session ends. */
export type ExportedGeneration = { readonly snapshot: string; readonly seen: string; readonly lsn: string };

/**
 * Opens a transaction on a session of the source's primary and exports its snapshot. Throws `snapshot-lost` on a
 * standby, whose snapshots do not name the transactions in progress (DESIGN 11.4).
 */
export async function exportGeneration(session: Session): Promise<ExportedGeneration> {
  if (session.inRecovery) {
    throw new Failure(
      'snapshot-lost',
      'the source is a standby, where the copy cannot go on with another snapshot',
    );
  }
  const snapshot = await exportSnapshot(session);
  const seen = await fetchSeen(session);
  // A transaction is written before anybody sees it: whatever the snapshot sees ends before what is written now.
  const [place] = await session.query(
    'select pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text as lsn',
  );
  return { snapshot, seen, lsn: place?.['lsn'] ?? '' };
}

/** What the session's snapshot sees, as the server prints it. */
export async function fetchSeen(session: Session): Promise<string> {
  const [row] = await session.query('select pg_catalog.pg_current_snapshot()::pg_catalog.text as seen');
  return row?.['seen'] ?? '';
}

const recordQuery = `
  insert into walferry.generation (stream, system_identifier, database, number, seen, lsn)
  select $1, $2, $3, coalesce(pg_catalog.max(number), 0) + 1, $4, $5::pg_catalog.pg_lsn
  from walferry.generation where stream = $1 and system_identifier = $2 and database = $3
  returning number`;

/** Writes down a generation on the target, before anything is copied from it. Returns its number. */
export async function recordGeneration(
  target: Session,
  key: StreamKey,
  { seen, lsn }: ExportedGeneration,
): Promise<number> {
  const [row] = await target.query(recordQuery, [...streamKeyParameters(key), seen, lsn]);
  return Number(row?.['number']);
}

/** $1 to $3: the stream. The copy tasks that were not done from the slot's own snapshot, and what theirs saw. */
export const generationsQuery = `
  select t.name, g.seen, g.lsn
  from walferry.task t
  left join walferry.generation g on g.stream = t.stream and g.system_identifier = t.system_identifier
    and g.database = t.database and g.number = t.generation
  where t.stream = $1 and t.system_identifier = $2 and t.database = $3 and t.generation is not null`;

/**
 * By the quoted name of the relation: what the snapshot that it was copied from saw, from rows of the query. A table in
 * parts has all of them from one (clone/later-snapshot.ts). Throws `internal` when the target does not tell.
 */
export function readGenerations(
  rows: readonly (readonly (string | null)[])[],
): Map<string, Omit<Generation, 'number'>> {
  // Thousands of tables share a few generations.
  const read = new Map<string, Omit<Generation, 'number'>>();
  const byRelation = new Map<string, Omit<Generation, 'number'>>();
  for (const [name, seen, lsn] of rows) {
    const relation = relationOfTask(name ?? '');
    if (relation === null) continue;
    if (typeof seen !== 'string' || typeof lsn !== 'string') {
      throw new Failure('internal', `the target does not tell which snapshot ${relation} was copied from`);
    }
    const text = `${seen} ${lsn}`;
    const known = read.get(text) ?? { seen: readSeenTransactions(seen), lsn: readLsn(lsn) };
    read.set(text, known);
    byRelation.set(relation, known);
  }
  return byRelation;
}

const throughQuery = `
  select pg_catalog.max(lsn)::pg_catalog.text as lsn from walferry.generation
  where stream = $1 and system_identifier = $2 and database = $3`;

/** Behind the last generation that was begun; `zeroLsn` where everything is of the slot's own snapshot. */
export async function fetchCopiedThrough(target: Session, key: StreamKey): Promise<Lsn> {
  const [row] = await target.query(throughQuery, streamKeyParameters(key));
  const lsn = row?.['lsn'] ?? null;
  return lsn === null ? zeroLsn : readLsn(lsn);
}

const tableExists = `select pg_catalog.to_regclass('walferry.generation')::pg_catalog.text as found`;

const forgetStatement = `
  delete from walferry.generation where stream = $1 and system_identifier = $2 and database = $3`;

/** Forgets the generations of this stream: for a run that starts from nothing. */
export async function forgetGenerations(target: Session, key: StreamKey): Promise<void> {
  const [table] = await target.query(tableExists);
  if ((table?.['found'] ?? null) !== null) await target.query(forgetStatement, streamKeyParameters(key));
}
