/**
 * Keeps a second process out of a work directory, and survives kill -9: the lock is one that the operating system
 * holds for an open SQLite file, so it goes with the process, however that ends. The pid beside it is for the message.
 *
 * One directory has several locks, because some commands are meant to run side by side: `snapshot` holds its snapshot
 * while `clone` copies, `stream receive` and `stream apply` work on the same files.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Failure } from '../failure.js';
import { makeDirectory } from './make-directory.js';

/** What a process may be the only one to do in a work directory. */
export type LockName = 'clone' | 'receive' | 'apply' | 'snapshot' | 'cutover';

/** A held lock. */
export type Lock = { release(): void };

/**
 * Takes the locks, all or none. Never open the lock files by other means in this process: closing any descriptor of
 * them would give the lock up (fcntl locks belong to the process).
 * Throws `work-directory-locked` naming the holder's pid.
 */
export function takeLocks(directory: string, names: readonly LockName[]): Lock {
  const held: Lock[] = [];
  const release = () => {
    for (const lock of held.splice(0)) lock.release();
  };
  try {
    for (const name of names) held.push(takeLock(directory, name));
  } catch (error) {
    release();
    throw error;
  }
  return { release };
}

/** Whether a process, this one included, holds the lock. */
export function isLocked(directory: string, name: LockName): boolean {
  try {
    takeLock(directory, name, { note: false }).release();
    return false;
  } catch (error) {
    if (error instanceof Failure && error.code === 'work-directory-locked') return true;
    throw error;
  }
}

/** The file that is locked; made by the first process that takes the lock. */
export function lockPath(directory: string, name: LockName): string {
  return join(directory, 'locks', `${name}.lock`);
}

function takeLock(directory: string, name: LockName, { note = true } = {}): Lock {
  const locks = join(directory, 'locks');
  const pidFile = join(locks, `${name}.pid`);
  let database: Database.Database | undefined;
  try {
    makeDirectory(locks);
    database = new Database(lockPath(directory, name), { timeout: 0 });
    database.exec('begin exclusive');
  } catch (error) {
    database?.close();
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) {
      throw new Failure(
        'work-directory-locked',
        `another walferry process${readPid(pidFile)} works in ${directory} (lock "${name}")`,
      );
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new Failure(
      'work-directory-broken',
      `the work directory ${directory} cannot be used (lock "${name}"): ${reason}`,
      { remedy: 'Name a directory that can be made and written with --dir.', cause: error },
    );
  }
  if (note) writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
  const open = database;
  return { release: () => open.close() };
}

function readPid(pidFile: string): string {
  try {
    return ` (pid ${readFileSync(pidFile, 'utf8').trim()})`;
  } catch {
    return '';
  }
}
