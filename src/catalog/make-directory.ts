/** Directories of the work directory that survive a power loss as what is fsynced in them does. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Makes the directory (0700) and those above it where they are missing. Every new name is on disk when it returns. */
export function makeDirectory(directory: string): void {
  // One after the other: told to make them all, Node asks for ever where the system makes none (/proc).
  for (const missing of missingFromTop(resolve(directory))) {
    try {
      mkdirSync(missing, { mode: 0o700 });
    } catch (error) {
      // Another process was faster.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !existsSync(missing)) throw error;
    }
    syncNames(dirname(missing));
  }
}

function missingFromTop(directory: string): string[] {
  return existsSync(directory) ? [] : [...missingFromTop(dirname(directory)), directory];
}

function syncNames(directory: string): void {
  const descriptor = openSync(directory, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
