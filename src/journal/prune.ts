/**
 * Removes transform files of which everything is applied.
 */
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lsn } from '../model/lsn.js';
import { diskFailure, syncDirectory, systemCode } from './disk.js';
import { countApplied, listSegments, loadSegments } from './segment.js';
import type { JournalWriter } from './writer.js';

/**
 * Applied bytes that pruning leaves unless told otherwise: a target that fails over to a standby may come back with an
 * older position, and goes on from there as long as the journal still reaches back to it.
 */
export const defaultKeepBytes = 64 * 1024 * 1024;

export type PruneOptions = {
  /** Say what would go, and leave it. */
  readonly dryRun: boolean;
  /** At least so many bytes of applied files stay, the newest of them. */
  readonly keepBytes: number;
  /** The writer in this process: pruned files count no more in its `bytes`. */
  readonly writer?: JournalWriter;
};

/**
 * Removes, from the oldest on, the files that an applier at `applied` does not need, but for the reserve; never the
 * newest. Safe beside a writer and readers, and at any crash: what is left always reaches without a gap from its
 * oldest file to the newest. Throws `journal-damaged`, `work-directory-broken`.
 */
export async function pruneJournal(
  directory: string,
  applied: Lsn,
  options: PruneOptions,
): Promise<{ files: string[]; bytes: number }> {
  const segments = await loadSegments(directory, await listSegments(directory));
  const candidates = segments.slice(0, countApplied(segments, applied));
  let kept = candidates.reduce((sum, candidate) => sum + candidate.bytes, 0);
  const files: string[] = [];
  let bytes = 0;
  for (const candidate of candidates) {
    kept -= candidate.bytes;
    if (kept < options.keepBytes) break;
    if (!options.dryRun) await remove(directory, candidate.name);
    files.push(candidate.name);
    bytes += candidate.bytes;
  }
  if (!options.dryRun) options.writer?.forget(files);
  return { files, bytes };
}

/** One by one, each on disk before the next: a later file that is gone while an earlier one is not would be a gap. */
async function remove(directory: string, name: string): Promise<void> {
  try {
    await unlink(join(directory, name));
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw diskFailure(error, `cannot remove transform file ${name}`);
  }
  await syncDirectory(directory);
}
