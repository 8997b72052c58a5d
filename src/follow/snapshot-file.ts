/**
 * `<dir>/snapshot`: the identifier of the snapshot that `walferry snapshot` holds in another process, one line. The
 * lock `snapshot` tells whether that process still lives: a file that a killed one left names nothing.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isLocked } from '../catalog/lock.js';
import { Failure } from '../failure.js';

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

/**
 * The snapshot that somebody else holds for a run: the one that --snapshot names, else that of the directory. Where both
 * are there and differ, steps of one copy would be of two times: throws `work-directory-used`, unless that is wanted.
 */
export function chooseHeldSnapshot(
  directory: string,
  named: string | null,
  notConsistent: boolean,
): string | null {
  const held = loadHeldSnapshot(directory);
  if (named === null || held === null || held === named || notConsistent) return named ?? held;
  throw new Failure(
    'work-directory-used',
    `\`walferry snapshot\` holds the snapshot ${held} for ${directory}, and --snapshot names ${named}`,
    {
      remedy:
        'Leave --snapshot out, use another --dir, or say with --not-consistent that tables may be of different times.',
    },
  );
}

export function saveSnapshotFile(directory: string, snapshot: string): void {
  writeFileSync(path(directory), `${snapshot}\n`, { mode: 0o600 });
}

export function removeSnapshotFile(directory: string): void {
  rmSync(path(directory), { force: true });
}
