/**
 * `<dir>/snapshot`: the identifier of the snapshot that `walferry snapshot` holds in another process, one line. The
 * lock `snapshot` tells whether that process still lives: a file that a killed one left names nothing.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isLocked } from '../catalog/lock.js';

const path = (directory: string) => join(directory, 'snapshot');

/** The identifier of a snapshot that is held now; null when nobody holds one for this directory. */
export function loadHeldSnapshot(directory: string): string | null {
  let text: string;
  try {
    text = readFileSync(path(directory), 'utf8').trim();
  } catch {
    return null;
  }
  return text !== '' && isLocked(directory, 'snapshot') ? text : null;
}

export function saveSnapshotFile(directory: string, snapshot: string): void {
  writeFileSync(path(directory), `${snapshot}\n`, { mode: 0o600 });
}

export function removeSnapshotFile(directory: string): void {
  rmSync(path(directory), { force: true });
}
