/**
 * The schema `walferry` on the target: what this target holds, kept beside the data that it speaks of. It is never
 * compared, dumped or copied.
 *
 * walferry.version   one row: the version of these tables
 * walferry.position  per stream the end LSN up to which the target holds everything (position-row.ts)
 * walferry.task      per stream the pieces of the copy that the target holds (task-table.ts)
 * walferry.generation  per stream the later snapshots that tables were copied from (generation.ts)
 */
import { Failure } from '../failure.js';
import type { Session } from './connect.js';

/** Grows by one with every change of the tables below. */
export const targetSchemaVersion = 2;

/** Any number that no other program is likely to lock: the bytes of `walferry`. */
const lockKey = '8602275950298821241';

/** What makes the schema and its tables where they are missing. */
export const targetSchemaStatements = `
  create schema if not exists walferry;
  create table if not exists walferry.version (version int not null);
  create table if not exists walferry.position (
    stream text not null,
    system_identifier text not null,
    database text not null,
    lsn pg_catalog.pg_lsn not null,
    updated_at timestamptz not null default pg_catalog.now(),
    primary key (stream, system_identifier, database)
  );
  create table if not exists walferry.task (
    stream text not null,
    system_identifier text not null,
    database text not null,
    name text not null,
    done_at timestamptz not null default pg_catalog.now(),
    bytes bigint not null,
    rows bigint not null,
    generation int,
    primary key (stream, system_identifier, database, name)
  );
  create table if not exists walferry.generation (
    stream text not null,
    system_identifier text not null,
    database text not null,
    number int not null,
    seen text not null,
    lsn pg_catalog.pg_lsn not null,
    made_at timestamptz not null default pg_catalog.now(),
    primary key (stream, system_identifier, database, number)
  );
  insert into walferry.version
    select ${targetSchemaVersion} where not exists (select from walferry.version)`;

/**
 * One simple query, so one transaction. The lock makes two at once wait for each other: `if not exists` alone fails
 * with a unique violation in pg_namespace when both find nothing. The version is written only where there is none.
 */
const createStatements = `
  begin;
  select pg_catalog.pg_advisory_xact_lock(${lockKey});
  ${targetSchemaStatements};
  commit;`;

/** What version 1 lacks. A walferry that knows version 1 alone would not leave out what a later snapshot saw. */
const upgradeStatements = `
  begin;
  select pg_catalog.pg_advisory_xact_lock(${lockKey});
  ${targetSchemaStatements};
  alter table walferry.task add column if not exists generation int;
  update walferry.version set version = ${targetSchemaVersion} where version = 1;
  commit;`;

const existsQuery = `select pg_catalog.to_regclass('walferry.version')::pg_catalog.text as version`;

const versionQuery = 'select version from walferry.version';

/**
 * Makes the schema and its tables where they are missing; does nothing else, so it may run any number of times, and
 * two at once. Needs CREATE on the database the first time only. Tables of an earlier version are brought up to this
 * one; throws `target-setup` when a later one made them.
 */
export async function ensureTargetSchema(session: Session): Promise<void> {
  let version = await fetchVersion(session);
  if (version === null || version === '1') {
    const statements = version === null ? createStatements : upgradeStatements;
    try {
      await session.run(statements, [], 'could not create the schema walferry');
    } catch (error) {
      // A failed simple query leaves the transaction of its BEGIN open. The first error is the one to tell.
      await session.run('rollback').catch(() => {});
      throw error;
    }
    version = await fetchVersion(session);
  }
  expectVersion(version);
}

/** Whether the schema is there. Throws `target-setup` when another version made it, `target-rights` when we may not read it. */
export async function holdsTargetSchema(session: Session): Promise<boolean> {
  const version = await fetchVersion(session);
  if (version !== null && version !== '1') expectVersion(version);
  return version !== null;
}

function expectVersion(version: string | null): void {
  if (version === String(targetSchemaVersion)) return;
  throw new Failure(
    'target-setup',
    `target: the schema walferry has version ${version ?? 'unknown'}, this walferry works with version ${targetSchemaVersion}`,
    { remedy: 'Use the walferry that made it, or drop the schema walferry if no run needs it any more.' },
  );
}

/** The version that is there; null where nothing is, or an unfinished attempt left no row. */
async function fetchVersion(session: Session): Promise<string | null> {
  const [found] = await session.query(existsQuery);
  if ((found?.['version'] ?? null) === null) return null;
  const [row] = await session.query(versionQuery);
  return row?.['version'] ?? null;
}
