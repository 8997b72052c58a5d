/**
 * Stopping writes on the source, and letting them go on again. Whatever is changed is recorded first (catalog, and as
 * plain SQL in `unfreeze.sql` of the work directory), so that it can be put back exactly, also after kill -9.
 *
 * read-only  the database's default_transaction_read_only is switched on, and the sessions that were there are ended,
 *            since a default holds for new ones only. A session may still say `set transaction read write`: that nobody
 *            does is proved by position (late-writes.ts).
 * revoke     INSERT, UPDATE, DELETE and TRUNCATE on the copied tables, and USAGE and UPDATE on sequences, are taken from
 *            everybody they were granted to. Owners, superusers and members of pg_write_all_data keep their rights.
 * none       the operator has stopped the application.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { recordFreeze, type FreezeRecord } from '../catalog/cutover.js';
import type { Catalog } from '../catalog/database.js';
import { isOn } from '../clone/database-properties.js';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';
import { syncDirectory } from '../journal/disk.js';
import { quoteIdentifier, quoteLiteral } from '../model/sql.js';
import type { Keeps } from '../filter/scope.js';
import type { Session } from '../postgres/connect.js';
import type { FreezeKind } from './choices.js';
import { fetchGrants, grantStatements, putGrantsBack, revokeGrants } from './grants.js';
import { describeSessions, endSessions, fetchOtherSessions, type OtherSession } from './sessions.js';

/** What is known of the source before anything is frozen. */
export type FreezeFacts = {
  readonly database: string;
  readonly superuser: boolean;
  /** May change the database's settings. */
  readonly ownsDatabase: boolean;
  /** What the database's own default_transaction_read_only says. */
  readonly readOnly: string | null;
  /** Roles for which that default does not hold, since they have one of their own. */
  readonly ownDefaults: readonly string[];
};

const factsQuery = `
  select d.datname as database, me.rolsuper::text as superuser,
         (me.rolsuper or pg_catalog.pg_has_role(d.datdba, 'usage'))::text as owner,
         (select pg_catalog.split_part(s.line, '=', 2)
            from pg_catalog.pg_db_role_setting o, pg_catalog.unnest(o.setconfig) as s (line)
           where o.setdatabase = d.oid and o.setrole = 0 and s.line like 'default_transaction_read_only=%') as read_only,
         (select coalesce(pg_catalog.json_agg(distinct r.rolname), '[]')::text
            from pg_catalog.pg_db_role_setting o join pg_catalog.pg_roles r on r.oid = o.setrole,
                 pg_catalog.unnest(o.setconfig) as s (line)
           where o.setdatabase in (0, d.oid) and r.rolcanlogin
             and s.line like 'default_transaction_read_only=%'
             and not pg_catalog.split_part(s.line, '=', 2)::bool) as own_defaults
    from pg_catalog.pg_database d
    cross join (select rolsuper from pg_catalog.pg_roles where rolname = current_user) me
   where d.datname = pg_catalog.current_database()`;

export async function fetchFreezeFacts(session: Session): Promise<FreezeFacts> {
  const [row] = await session.query(factsQuery);
  return {
    database: row?.['database'] ?? '',
    superuser: row?.['superuser'] === 'true',
    ownsDatabase: row?.['owner'] === 'true',
    readOnly: row?.['read_only'] ?? null,
    ownDefaults: JSON.parse(row?.['own_defaults'] ?? '[]') as string[],
  };
}

export type FreezeWork = {
  readonly session: Session;
  readonly catalog: Catalog;
  readonly facts: FreezeFacts;
  /** The tables that are copied, and the sequences that are set. */
  readonly keeps: Keeps;
  readonly keepsSequence: Keeps;
  readonly log: Log;
};

/** Records, then freezes; gives a word about it. May be done again by a cutover that goes on. */
export async function freeze(
  kind: FreezeKind,
  work: FreezeWork,
  earlier: FreezeRecord | null,
): Promise<string> {
  const { session, catalog, facts, log } = work;
  const record = async (made: FreezeRecord) => {
    const stands = earlier ?? made;
    await writeUnfreezeFile(catalog.directory, stands);
    recordFreeze(catalog, stands, Date.now());
  };
  switch (kind) {
    case 'none':
      await record({ kind: 'none' });
      return 'left to the operator';
    case 'read-only': {
      await record({ kind: 'read-only', database: facts.database, before: facts.readOnly });
      await session.query(
        `alter database ${quoteIdentifier(facts.database)} set default_transaction_read_only = on`,
        [],
        'could not make the source read-only',
      );
      return await endEverybody(session, log);
    }
    case 'revoke': {
      await session.query('begin');
      try {
        await session.query(`set local lock_timeout = '5s'`);
        const grants = await fetchGrants(session, work);
        await record({ kind: 'revoke', database: facts.database, grants });
        await revokeGrants(session, grants);
        await session.query('commit');
        return `${grants.length} privileges revoked; owners of tables and superusers keep theirs`;
      } catch (error) {
        await session.query('rollback').catch(() => {});
        throw error;
      }
    }
  }
}

/** Puts back what is recorded. What is as it was stays so. */
export async function unfreeze(record: FreezeRecord, session: Session, log: Log): Promise<void> {
  switch (record.kind) {
    case 'none':
      return;
    case 'read-only':
      await session.query(readOnlyBack(record), [], 'could not let the source take writes again');
      // Whoever connected meanwhile goes on with the default of then.
      await endEverybody(session, log);
      return;
    case 'revoke':
      await putGrantsBack(session, record.grants, log);
      return;
  }
}

function readOnlyBack({ database, before }: FreezeRecord & { readonly kind: 'read-only' }): string {
  const name = quoteIdentifier(database);
  return before === null
    ? `alter database ${name} reset default_transaction_read_only`
    : `alter database ${name} set default_transaction_read_only = ${quoteLiteral(before)}`;
}

/** What would put the source back by hand. */
export function unfreezeSql(record: FreezeRecord): string {
  switch (record.kind) {
    case 'none':
      return '';
    case 'read-only':
      // What was read-only before is to take writes again now: an undo has put back the rest.
      if (isOn(record.before))
        return `begin read write;\n${readOnlyBack({ ...record, before: null })};\ncommit;\n`;
      // Whoever runs this is a session of the frozen database too.
      return `begin read write;\n${readOnlyBack(record)};\ncommit;\n-- Sessions that are connected already stay read-only until they connect again.\n`;
    case 'revoke':
      return grantStatements(record.grants)
        .map((statement) => `${statement};\n`)
        .join('');
  }
}

/** The way back, in a file that needs no walferry: it must not be lost with the machine's power either. */
async function writeUnfreezeFile(directory: string, record: FreezeRecord): Promise<void> {
  const path = join(directory, 'unfreeze.sql');
  try {
    const file = await open(path, 'w', 0o600);
    try {
      await file.writeFile(
        `-- Has the source take writes again, as before the cutover.\n${unfreezeSql(record)}`,
      );
      await file.sync();
    } finally {
      await file.close();
    }
    // Its name too: a new file is lost with a directory that never reached the disk.
    await syncDirectory(directory);
  } catch (error) {
    throw new Failure('work-directory-broken', `${path} cannot be written`, { cause: error });
  }
}

/** How long sessions may take to end. A server that is busy takes a moment; one that hangs is named. */
const endsWithinMs = 5000;
const lookEveryMs = 10;

/** By then whoever was logging in while the default was switched on is among the sessions. */
const loginMs = 200;

/**
 * A session that was logging in during the freeze may have read the old default before it could be seen, and would write
 * for as long as it lives. So those that began before the freeze was there are ended once more. `frozenAtMs`: when it was, as
 * performance.now() says; null where an earlier process has frozen: then everybody is.
 */
export async function endStragglers(session: Session, frozenAtMs: number | null, log: Log): Promise<void> {
  const since = () => (frozenAtMs === null ? 0 : performance.now() - frozenAtMs);
  if (frozenAtMs !== null && since() < loginMs) {
    await new Promise((resolve) => setTimeout(resolve, loginMs - since()));
  }
  // Taken before the sessions are asked for: rather one too many.
  const frozenForMs = since();
  const there = await fetchOtherSessions(session);
  const old = there.filter(({ ageMs }) => ageMs === null || ageMs >= frozenForMs);
  await endAll(session, old, log);
}

/** Ends everybody else's sessions in the database, and waits until they are gone. */
async function endEverybody(session: Session, log: Log): Promise<string> {
  const there = await fetchOtherSessions(session);
  const ended = await endAll(session, there, log);
  const spared = there.filter(({ mayEnd }) => !mayEnd);
  if (spared.length > 0) {
    log.warn(`sessions that this role may not end stay connected: ${describeSessions(spared)}`);
  }
  return `${ended} sessions ended${spared.length === 0 ? '' : `, ${spared.length} left`}`;
}

/** As far as the role may; gives how many were told to end. */
async function endAll(session: Session, there: readonly OtherSession[], log: Log): Promise<number> {
  const told = new Set(await endSessions(session, there));
  const until = Date.now() + endsWithinMs;
  for (;;) {
    const left = (await fetchOtherSessions(session)).filter(({ pid }) => told.has(pid));
    if (left.length === 0) break;
    if (Date.now() > until) {
      log.warn(`sessions that were told to end are still there: ${describeSessions(left)}`);
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  }
  return told.size;
}
