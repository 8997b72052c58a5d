/**
 * Whether two sessions are in one and the same database. Names and addresses do not tell (a proxy, another name of the
 * host), nor does the system identifier (a restored copy has the same). A lock does: it is one per database.
 */
import { randomInt } from 'node:crypto';
import { Failure } from '../failure.js';
import type { Session } from './connect.js';

const largestKey = 2 ** 47;

/** Asks both servers; nothing stays locked. */
export async function isSameDatabase(one: Session, other: Session): Promise<boolean> {
  const key = [String(randomInt(largestKey))];
  await one.query('select pg_catalog.pg_advisory_lock($1::bigint)', key);
  try {
    const [row] = await other.query('select pg_catalog.pg_try_advisory_lock($1::bigint) as taken', key);
    if (row?.['taken'] === 'f') return true;
    await other.query('select pg_catalog.pg_advisory_unlock($1::bigint)', key);
    return false;
  } finally {
    await one.query('select pg_catalog.pg_advisory_unlock($1::bigint)', key);
  }
}

const identityQuery = `
  select s.system_identifier || ' ' || pg_catalog.current_database() as identity from pg_catalog.pg_control_system() s`;

/** Whether the target is the primary of the source: what is dropped there, the source loses too. Locks do not tell. */
async function isOwnPrimary(source: Session, target: Session): Promise<boolean> {
  if (!source.inRecovery) return false;
  const [own, other] = [await source.query(identityQuery), await target.query(identityQuery)];
  return own[0]?.['identity'] === other[0]?.['identity'];
}

/** A clone into its own source would drop what it is to copy. Throws `target-setup`. */
export async function expectTwoDatabases(source: Session, target: Session): Promise<void> {
  if (await isOwnPrimary(source, target)) {
    throw new Failure('target-setup', 'the target is the database that the source, a standby, replicates', {
      remedy: 'Check --source and --target: host, port and database.',
    });
  }
  if (await isSameDatabase(source, target)) throw oneDatabase();
}

export function oneDatabase(): Failure {
  return new Failure('target-setup', 'source and target are one and the same database', {
    remedy: 'Check --source and --target: host, port and database.',
  });
}
