/** Directories of the work directory that survive a power loss as what is fsynced in them does. */
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Makes the directory (0700) and those above it where they are missing. Every new name is on disk when it returns. */
export function makeDirectory(directory: string): void {
  const first = mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = resolve(directory); ; made = dirname(made)) {
    syncNames(dirname(made));
    if (made === resolve(first)) return;
  }
}

function syncNames(directory: string): void {
  const descriptor = openSync(directory, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
