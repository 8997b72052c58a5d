/**
 * How much room the transform files may take (--max-journal-size). Unless told, four fifths of what they have and of
 * what was free when the run began: a full disk would stop the run as well, but it would also stop everything else
 * that writes there.
 */
import { statfs } from 'node:fs/promises';
import type { Log } from '../log.js';

/** Bytes; Infinity for no limit. `asked` is what the operator gave: null nothing, 0 no limit. */
export async function journalCap(
  asked: number | null,
  directory: string,
  usedBytes: number,
  log: Log,
): Promise<number> {
  if (asked === 0) return Infinity;
  if (asked !== null) return asked;
  try {
    const { bavail, bsize } = await statfs(directory);
    return Math.floor(((usedBytes + bavail * bsize) * 4) / 5);
  } catch (error) {
    log.warn(
      `the free space of ${directory} is not known, so the transform files have no limit: ${String(error)}`,
    );
    return Infinity;
  }
}
