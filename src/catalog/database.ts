/**
 * The work directory's catalog: one SQLite database, `<dir>/catalog.db`. It holds what a second terminal may look at
 * and what a resumed run must know; it never holds the only proof of anything (that is on the target).
 *
 * WAL mode, so that readers never wait for the run and the run never waits for them; synchronous = FULL, because
 * NORMAL may lose the last commits at a power loss.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Failure, systemReason } from '../failure.js';
import { makeDirectory } from './make-directory.js';

/** Grows by one with every change of `schema`. */
const catalogVersion = 7;

/** Versions from which it is enough to make the tables that are missing: the others are as they were. */
const upgradedVersions: readonly number[] = [0, 2, 3, 4, 5, 6];

const schema = `
  create table if not exists setup (
    id integer primary key check (id = 1),
    version text not null,
    source text not null,
    target text,
    settings text not null
  );
  create table if not exists stream (
    id integer primary key check (id = 1),
    slot_name text not null,
    plugin text not null,
    publications text not null,
    own_publications text not null,
    origin text not null,
    system_identifier text not null,
    timeline integer not null,
    wal_segment_bytes text not null,
    database text not null,
    start_lsn text not null,
    snapshot text,
    tables text
  );
  create table if not exists published (
    id integer primary key check (id = 1),
    parts text not null,
    carried text not null
  );
  create table if not exists made_publication (
    id integer primary key check (id = 1),
    state text not null
  );
  create table if not exists carried (
    id integer primary key check (id = 1),
    endpos text not null
  );
  create table if not exists slot_intent (
    id integer primary key check (id = 1),
    slot_name text not null,
    publication text,
    system_identifier text not null,
    database text not null
  );
  create table if not exists filter (
    id integer primary key check (id = 1),
    file text not null,
    rules text not null,
    scope text
  );
  create table if not exists sentinel (
    id integer primary key check (id = 1),
    startpos text not null,
    endpos text not null,
    apply integer not null,
    write_lsn text not null,
    flush_lsn text not null,
    transform_lsn text not null,
    replay_lsn text not null
  );
  create table if not exists phase (
    name text primary key,
    started_at text not null,
    done_at text
  );
  create table if not exists relation (
    oid integer primary key,
    schema text not null,
    name text not null,
    bytes integer not null,
    estimated_rows real not null
  );
  create table if not exists task (
    name text primary key,
    kind text not null,
    relation_oid integer,
    object text not null,
    started_at text,
    done_at text,
    duration_ms integer,
    bytes integer not null default 0,
    rows integer not null default 0
  );
  create index if not exists task_standing on task (kind, relation_oid, done_at, started_at, bytes);
  create index if not exists relation_size on relation (bytes);
  create table if not exists timing (
    step text primary key,
    connection text not null,
    duration_ms integer not null,
    bytes integer not null default 0,
    concurrency integer not null
  );
  create table if not exists cutover (
    id integer primary key check (id = 1),
    state text not null,
    started_at text not null,
    settings text not null,
    freeze text,
    frozen_at_ms integer,
    open_at_ms integer,
    endpos text,
    drained text,
    steps text not null
  );
  create table if not exists run_status (
    role text primary key,
    at_ms integer not null,
    status text not null
  );
  create table if not exists sample (
    at_ms integer primary key,
    source text,
    written text,
    applied text,
    lag_ms integer,
    behind integer,
    copied integer
  );
  create table if not exists log_line (
    id integer primary key autoincrement,
    at_ms integer not null,
    severity text not null,
    message text not null
  );
`;

/** An open catalog. */
export type Catalog = { readonly directory: string; readonly database: Database.Database };

/** Where the catalog of a work directory lies. */
export function catalogPath(directory: string): string {
  return join(directory, 'catalog.db');
}

/**
 * Whether a work directory has a catalog at all. Throws `work-directory-broken` where that is not told, as of another
 * user's directory: it must not pass for one in which nothing was begun.
 */
export function catalogExists(directory: string): boolean {
  try {
    statSync(catalogPath(directory));
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (['ENOENT', 'ENOTDIR'].includes(code)) return false;
    throw new Failure(
      'work-directory-broken',
      `the work directory ${directory} cannot be read${systemReason(error)}`,
      {
        cause: error,
        remedy: 'Run this as the user who ran walferry there, or name another directory with --dir.',
      },
    );
  }
}

/**
 * `full`: what is written survives a power loss. `status`: positions for whoever looks, written several times a
 * second, which may be lost and must not wait for the disk.
 */
export type Durability = 'full' | 'status';

/**
 * Opens the catalog, making directory (0700) and tables when they are missing.
 * Throws `work-directory-broken` when it cannot, or when another version wrote it.
 */
export function openCatalog(directory: string, durability: Durability = 'full'): Catalog {
  let database: Database.Database;
  try {
    makeDirectory(directory);
    database = new Database(catalogPath(directory));
    // A second process may hold the write lock for the moment of one commit.
    database.pragma('busy_timeout = 10000');
    database.pragma('journal_mode = WAL');
    database.pragma(durability === 'full' ? 'synchronous = FULL' : 'synchronous = NORMAL');
  } catch (error) {
    throw new Failure('work-directory-broken', `the work directory ${directory} cannot be opened`, {
      cause: error,
    });
  }
  const version = versionOf(database);
  if (version === catalogVersion) return { directory, database };
  if (!upgradedVersions.includes(version)) {
    database.close();
    throw otherVersion(directory, version);
  }
  database.exec(`begin immediate; ${schema} pragma user_version = ${catalogVersion}; commit;`);
  return { directory, database };
}

/** A reader may meet the moment in which the last other connection closes; it is over at once. */
const readerWaitsMs = 2000;

/**
 * Opens the catalog to look at it, and nothing else: it makes nothing, holds nothing up and changes nothing, whatever
 * a run does meanwhile. Close it soon, or the run's write-ahead file grows. Throws `work-directory-broken`.
 */
export function openCatalogToRead(directory: string): Catalog {
  let database: Database.Database | undefined;
  try {
    database = new Database(catalogPath(directory), { readonly: true, fileMustExist: true });
    database.pragma(`busy_timeout = ${readerWaitsMs}`);
    const version = versionOf(database);
    if (version === catalogVersion) return { directory, database };
    throw otherVersion(directory, version);
  } catch (error) {
    database?.close();
    if (error instanceof Failure) throw error;
    throw new Failure('work-directory-broken', `the work directory ${directory} cannot be read`, {
      cause: error,
    });
  }
}

function versionOf(database: Database.Database): number {
  return Number(database.pragma('user_version', { simple: true }));
}

function otherVersion(directory: string, version: number): Failure {
  return new Failure(
    'work-directory-broken',
    `the catalog in ${directory} has version ${version}, this walferry reads version ${catalogVersion}`,
    { remedy: 'Use the walferry that made it, or another --dir.' },
  );
}

export function closeCatalog(catalog: Catalog): void {
  catalog.database.close();
}
