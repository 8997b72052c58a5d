/**
 * Objects of pre-data, many in one round trip. pg_restore sends CREATE and ALTER … OWNER TO one by one, each a transaction
 * that it waits for: a thousand tables on a server 40 ms away are more than a minute. So its script is sent in pieces,
 * each a transaction of some dozens of entries. A piece that the server refuses is pg_restore's, which says of which
 * entry it was, and makes the others.
 *
 *     script ─▶ piece, piece, piece ✗ ─▶ pg_restore for that one ─▶ script of what is left ─▶ piece, piece, …
 */
import { throwIfStopped } from '../failure.js';
import type { Session } from '../postgres/connect.js';
import { restoreEntries, scriptEntries } from '../postgres/dump.js';
import type { DumpEntry, RestoreError, RestoreOptions } from '../postgres/dump.js';
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

/** Where so many pieces were refused, the next ones would be too: of a role that may not set owners, say. */
const mostRefused = 3;

/**
 * Restores the entries and returns what was refused, as `restoreEntries` does. `sides` says how many do so at once.
 * Throws when the session breaks: what it was about may have been done.
 */
export async function restoreInBatches(options: RestoreOptions, sides: number): Promise<RestoreError[]> {
  const { target, noComments, log, signal = new AbortController().signal } = options;
  const errors: RestoreError[] = [];
  await using held = new HeldSession(
    () => openBulkTarget(target, 'restore', { log, signal, dispensable: true }),
    signal,
  );
  const byProgram = async (entries: readonly DumpEntry[]) => {
    if (entries.length === 0) return;
    // It has the one connection then that there is for this.
    await held.discard();
    errors.push(...(await restoreEntries({ ...options, entries })));
  };
  let left = options.entries.filter(({ kind }) => !noComments || kind !== 'COMMENT');
  for (let refused = 0; refused < mostRefused && left.length > 0; refused += 1) {
    const pieces = await piecesOf({ ...options, entries: left });
    const session = pieces === null ? null : await sessionOf(held);
    if (pieces === null || session === null) break;
    const together = await entriesAtOnce(session, sides);
    const done = await sendPieces(session, pieces, together, signal);
    await byProgram(left.slice(done, done + together));
    left = left.slice(done + together);
  }
  await byProgram(left);
  return errors;
}

async function piecesOf(options: RestoreOptions): Promise<string[] | null> {
  const script = await scriptEntries(options);
  return script === null
    ? null
    : splitRestoreScript(
        script,
        options.entries.map(({ kind }) => kind),
      );
}

/** Null where there is no connection for it: pg_restore waits for one. */
async function sessionOf(held: HeldSession): Promise<Session | null> {
  try {
    return await held.get();
  } catch (error) {
    if (hasNoConnection(error)) return null;
    throw error;
  }
}

/** Sends so many at a time, until one such transaction is refused; returns how many are done. */
async function sendPieces(
  session: Session,
  pieces: readonly string[],
  together: number,
  signal: AbortSignal,
): Promise<number> {
  for (let from = 0; from < pieces.length; from += together) {
    if (!(await attempt(session, pieces.slice(from, from + together).join('')))) return from;
    throwIfStopped(signal);
  }
  return pieces.length;
}

async function entriesAtOnce(session: Session, sides: number): Promise<number> {
  const [row] = await session.query(locksQuery);
  const places = Number(row?.['places']);
  return Math.max(1, Math.min(mostTogether, Math.floor((places * shareOfLocks) / (sides * locksOfEntry))));
}

// What pg_restore's own session would have; all others of our settings are what pg_dump wrote by.
const asPgRestore = 'set local lc_monetary to default;';

/** Sends a script as one transaction. False when the server refuses it, and nothing of it is done. */
export async function attempt(session: Session, script: string): Promise<boolean> {
  try {
    await session.run(`${asPgRestore}\n${script}`);
    return true;
  } catch (error) {
    if (sqlState(error) === null || session.lost !== null) throw error;
    return false;
  }
}
