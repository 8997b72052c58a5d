/**
 * Tables of pre-data, many in one round trip. pg_restore sends CREATE TABLE and ALTER … OWNER TO one by one, each a
 * transaction that it waits for: a thousand tables on a server 40 ms away are more than a minute. So its script is sent
 * in pieces, each a transaction of some dozens of entries. From the first piece on that a server refuses, pg_restore
 * takes over, and says of which entry it was.
 */
import { throwIfStopped } from '../failure.js';
import type { Session } from '../postgres/connect.js';
import { scriptEntries } from '../postgres/dump.js';
import type { DumpEntry, RestoreOptions } from '../postgres/dump.js';
import { splitRestoreScript } from '../postgres/restore-script.js';
import { sqlState } from '../postgres/sqlstate.js';
import { hasNoConnection } from '../postgres/too-many-connections.js';
import { HeldSession, openBulkTarget } from './sessions.js';

const mostTogether = 100;

/** A table with its TOAST table and that one's index, and a sequence of its own. */
const locksOfEntry = 4;

/** What several such restores at once leave to all others of the server's places for locks. */
const shareOfLocks = 1 / 2;

const locksQuery = `
  select pg_catalog.current_setting('max_locks_per_transaction')::bigint
    * (pg_catalog.current_setting('max_connections')::bigint
      + pg_catalog.current_setting('max_prepared_transactions')::bigint) as places`;

/**
 * Restores the entries in a session of its own, and returns what is left for pg_restore: nothing, or the entries from
 * the first transaction on that was refused. `side` says how many do so at once.
 * Throws when the session breaks: what it was about may have been done.
 */
export async function restoreInBatches(
  options: RestoreOptions,
  sides: number,
): Promise<readonly DumpEntry[]> {
  const { target, noComments, log, signal = new AbortController().signal } = options;
  const entries = options.entries.filter(({ kind }) => !noComments || kind !== 'COMMENT');
  const script = entries.length === 0 ? null : await scriptEntries({ ...options, entries });
  const kinds = entries.map(({ kind }) => kind);
  const pieces = script === null ? null : splitRestoreScript(script, kinds);
  if (pieces === null) return entries;
  await using held = new HeldSession(
    () => openBulkTarget(target, 'restore', { log, signal, dispensable: true }),
    signal,
  );
  try {
    const session = await held.get();
    const together = await entriesAtOnce(session, sides);
    for (let from = 0; from < pieces.length; from += together) {
      if (!(await attempt(session, pieces.slice(from, from + together).join('')))) return entries.slice(from);
      throwIfStopped(signal);
    }
    return [];
  } catch (error) {
    throwIfStopped(signal);
    // pg_restore waits for one.
    if (hasNoConnection(error)) return entries;
    throw error;
  }
}

async function entriesAtOnce(session: Session, sides: number): Promise<number> {
  const [row] = await session.query(locksQuery);
  const places = Number(row?.['places']);
  return Math.max(1, Math.min(mostTogether, Math.floor((places * shareOfLocks) / (sides * locksOfEntry))));
}

/** False when the server refuses it, and nothing of it is done. */
export async function attempt(session: Session, script: string): Promise<boolean> {
  try {
    await session.run(script);
    return true;
  } catch (error) {
    if (sqlState(error) === null || session.lost !== null) throw error;
    return false;
  }
}
