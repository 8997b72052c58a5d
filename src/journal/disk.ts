/**
 * What the journal asks of the disk, and what the disk's refusals mean.
 */
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { Failure } from '../failure.js';

/** The calls that decide what survives; a test puts its own in their place. */
export type JournalDisk = {
  /** Writes what it can at `position`; the number of bytes that went. */
  write(file: FileHandle, bytes: Buffer, position: number): Promise<number>;
  /** Everything written to the file is on disk when it resolves. */
  sync(file: FileHandle): Promise<void>;
  /** The same for the names in a directory. */
  syncDirectory(directory: string): Promise<void>;
};

/** Makes created and removed names in a directory survive a power loss. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The real one. fdatasync keeps the file's size too, which is all that reading back needs. */
export const realDisk: JournalDisk = {
  async write(file, bytes, position) {
    const { bytesWritten } = await file.write(bytes, 0, bytes.length, position);
    return bytesWritten;
  },
  async sync(file) {
    await file.datasync();
  },
  syncDirectory,
};

/** The system's code of an error (`ENOENT`), '' without one. */
export function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** Any error of the file system as a Failure; `what` says what was tried with which file. */
export function diskFailure(error: unknown, what: string): Failure {
  if (error instanceof Failure) return error;
  const code = systemCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const why = code === 'ENOSPC' ? 'the disk is full' : 'the disk quota is used up';
    return new Failure('disk-full', `${what}: ${why}`, { cause: error });
  }
  const why = error instanceof Error ? error.message : String(error);
  return new Failure('work-directory-broken', `${what}: ${why}`, { cause: error });
}
