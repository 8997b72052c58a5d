/**
 * Transform files as a set: their names, their order, their headers, and what the headers alone tell about which
 * files are still needed.
 */
import { open, readdir, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.js';
import { walSegmentName } from '../model/lsn.js';
import type { Lsn } from '../model/lsn.js';
import { decodeHeader } from './decode.js';
import { diskFailure, systemCode } from './disk.js';
import { crc32 } from './checksum.js';
import { damaged, sumSuffixBytes } from './format.js';
import type { Header } from './format.js';
import { endsWithSum, readSum } from './line-scanner.js';

const namePattern = /^[0-9A-F]{24}\.json$/;

/** The file that a position belongs to. */
export function segmentFileName(timeline: number, lsn: Lsn, segmentBytes: bigint): string {
  return `${walSegmentName(timeline, lsn, segmentBytes)}.json`;
}

/** The first position after the file's WAL segment: a message at or beyond it belongs to a later file. */
export function segmentEnd(file: string, segmentBytes: bigint): bigint {
  const log = BigInt(`0x${file.slice(8, 16)}`);
  const segment = BigInt(`0x${file.slice(16, 24)}`);
  return (log << 32n) + (segment + 1n) * segmentBytes;
}

/** A transform file in the directory. */
export type SegmentFile = { readonly name: string; readonly bytes: number };

/**
 * The transform files of a directory, oldest first; other files are none of ours. No directory is no files. Throws
 * `work-directory-broken` when something that is no file has such a name.
 */
export async function listSegments(directory: string): Promise<readonly SegmentFile[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw diskFailure(error, `cannot read the directory ${directory}`);
  });
  const files: SegmentFile[] = [];
  // Timeline, log and segment have fixed widths: the order of the names is the order of the files.
  for (const name of names.filter((name) => namePattern.test(name)).sort()) {
    const path = join(directory, name);
    const found = await stat(path).catch((error: unknown) => {
      // Pruned between the two calls.
      if (systemCode(error) === 'ENOENT') return null;
      throw diskFailure(error, `cannot look at ${path}`);
    });
    if (found === null) continue;
    if (!found.isFile()) throw new Failure('work-directory-broken', `${path} is not a file`);
    files.push({ name, bytes: found.size });
  }
  return files;
}

/** A header as it was found: where the line after it begins, and the checksum to go on from. */
export type LoadedHeader = { readonly header: Header; readonly end: number; readonly sum: number };

/**
 * Reads the header of an open file; null when the file ends before its header does (its writer was about to write
 * it). Throws `journal-damaged`.
 */
export async function readHeader(handle: FileHandle, name: string): Promise<LoadedHeader | null> {
  let buffer = Buffer.allocUnsafe(4096);
  let filled = 0;
  let end = -1;
  while (end === -1) {
    if (filled === buffer.length) buffer = Buffer.concat([buffer, Buffer.allocUnsafe(buffer.length)]);
    const { bytesRead } = await handle.read(buffer, filled, buffer.length - filled, filled);
    if (bytesRead === 0) return null;
    end = buffer.subarray(0, filled + bytesRead).indexOf(0x0a, filled);
    filled += bytesRead;
  }
  const sum = endsWithSum(buffer, 0, end) ? crc32(buffer.subarray(0, end - sumSuffixBytes), 0) : null;
  if (sum === null || sum !== readSum(buffer, end)) {
    throw damaged(name, 0, 'its header does not match its checksum');
  }
  return { header: decodeHeader(name, buffer.toString('utf8', 0, end)), end: end + 1, sum };
}

/** A file with its header. */
export type Segment = SegmentFile & { readonly header: Header };

/** The header of a file: null where it is not complete, `gone` where there is no such file any more. */
async function loadHeader(directory: string, name: string): Promise<Header | 'gone' | null> {
  try {
    const handle = await open(join(directory, name), 'r');
    try {
      return (await readHeader(handle, name))?.header ?? null;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 'gone';
    throw diskFailure(error, `cannot read transform file ${name}`);
  }
}

/**
 * The headers of files, oldest first. Throws `journal-damaged` when one is missing between two others. A newest file
 * without a complete header is left out, and so are the oldest that were pruned since they were listed.
 */
export async function loadSegments(
  directory: string,
  files: readonly SegmentFile[],
): Promise<readonly Segment[]> {
  const segments: Segment[] = [];
  for (const [index, file] of files.entries()) {
    const header = await loadHeader(directory, file.name);
    if (header === 'gone') {
      // Pruned are always the oldest.
      if (segments.length === 0) continue;
      throw damaged(file.name, 0, 'it is missing, and older files are there');
    }
    if (header === null) {
      if (index === files.length - 1) break;
      throw damaged(file.name, file.bytes, 'it ends within its header, and is not the newest file');
    }
    const before = segments.at(-1);
    if (before !== undefined && header.previous !== before.name) {
      throw damaged(file.name, 0, `it follows ${header.previous ?? 'nothing'}, which is missing`);
    }
    segments.push({ ...file, header });
  }
  return segments;
}

/**
 * How many files, from the oldest on, hold nothing that an applier at `applied` still needs: every transaction with a
 * line in them ended at or before `applied`. Told from the headers alone, so it may be fewer than there are. The newest
 * file is never among them.
 */
export function countApplied(segments: readonly Segment[], applied: Lsn): number {
  let count = 0;
  for (const { header } of segments) {
    // A later header lists what was unfinished before it: a file is done with when one lists nothing that began in it
    // or earlier, and all that had ended by then is applied.
    if (header.position === null) continue;
    if (header.position > applied) break;
    const began = [...header.open.values()].sort()[0];
    const done = segments.findIndex(
      (segment) => segment.name >= header.segment || (began !== undefined && segment.name >= began),
    );
    count = Math.max(count, done);
  }
  return count;
}
