/** The end of the newest transaction in the transform files, found from their end: without reading what lies before it. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { readLsn, type Lsn } from '../model/lsn.js';
import { listSegments } from './segment.js';

/** A line break never stands inside of a line, so nothing that a row holds looks like this. */
const commitLine = Buffer.from('\n{"action":"C","xid":"');

const pieceBytes = 256 * 1024;
/** More than such a line has. */
const lineBytes = 512;

/**
 * The end of the last commit in the newest transform file; null where that file has none, or there is no file, or it
 * cannot be read whole: then nothing is known. A last line that is torn does not count.
 */
export async function readLastCommit(directory: string): Promise<Lsn | null> {
  const newest = (await listSegments(directory)).at(-1);
  if (newest === undefined) return null;
  await using file = await open(join(directory, newest.name), 'r');
  let behind: Buffer = Buffer.alloc(0);
  for (let at = (await file.stat()).size; at > 0;) {
    const length = Math.min(pieceBytes, at);
    at -= length;
    const piece = Buffer.alloc(length);
    const { bytesRead } = await file.read(piece, 0, length, at);
    if (bytesRead !== length) return null;
    // What was read before may begin in the middle of such a line.
    const text = Buffer.concat([piece, behind]);
    for (let found = text.length; (found = text.lastIndexOf(commitLine, found - 1)) !== -1;) {
      const end = text.indexOf('\n', found + 1);
      const lsn =
        end === -1 ? null : /"end":"([0-9A-F]+\/[0-9A-F]+)"/.exec(text.toString('latin1', found, end));
      if (lsn?.[1] !== undefined) return readLsn(lsn[1]);
      if (found === 0) break;
    }
    behind = text.subarray(0, lineBytes);
  }
  return null;
}
