/**
 * Where a journal ends: read from its newest file when a writer opens it, after whatever end the last one had.
 *
 * What a crash can leave there, and what is done:
 *  1. The last write went only in part (killed, full disk): the file ends in lines that no checksum covers. They were
 *     never said to be written; they are cut.
 *  2. Power was lost before an fsync: bytes that were written since the last one may be missing or zero anywhere.
 *     Checksum lines say up to where the file was on disk when they were written (`synced`). Damage that lies beyond
 *     every such mark is cut from there on: nothing beyond a missing fsync was acknowledged, so the source sends
 *     it again. (Should it have been acknowledged after all, the slot stands ahead of the journal, and that is refused
 *     when the stream starts.)
 *  3. Damage below such a mark was on disk and is not any more: `journal-damaged`, nothing is touched.
 *  4. The file was created, its header not written: it is removed.
 *  5. The file is closed by a switch line, the next one was not created: the caller creates it.
 *  6. The file ends well, at a checksum, and before what was once said to be durable: whatever followed was on disk and
 *     is not any more. The file alone does not tell; the caller knows it from the catalog. `journal-damaged`.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, throwIfStopped } from '../failure.js';
import { formatLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import { decodeSynced, LineDecoder, RelationIntern } from './decode.js';
import { damaged } from './format.js';
import type { SwitchLine } from './format.js';
import { endsWithSum, LineScanner } from './line-scanner.js';
import type { ReadAt } from './line-scanner.js';
import type { StreamMessage } from '../model/message.js';
import { listSegments, loadSegments, readHeader } from './segment.js';

/** What a writer must know to go on in a file. */
export type FileEnd = {
  /** Where the next line goes; what is beyond is to be cut. */
  readonly offset: number;
  /** How large the file is. */
  readonly size: number;
  /** The checksum to go on from. */
  readonly sum: number;
  readonly position: Lsn | null;
  readonly open: ReadonlyMap<bigint, string>;
  readonly nextRelationId: number;
  /** The switch line, when the file is closed. */
  readonly closed: SwitchLine | null;
};

/** Positions and unfinished transactions, as the messages move them. */
export class Progress {
  readonly #open: Map<bigint, string>;
  #position: Lsn | null;

  constructor(position: Lsn | null, open: ReadonlyMap<bigint, string>) {
    this.#position = position;
    this.#open = new Map(open);
  }

  /** The last commit's end, or a keepalive after it. */
  get position(): Lsn | null {
    return this.#position;
  }

  /** Unfinished transactions: xid, and the file that holds their beginning. */
  get open(): ReadonlyMap<bigint, string> {
    return this.#open;
  }

  /** Takes note of a message that goes to `file`. */
  take(message: StreamMessage, file: string): void {
    switch (message.kind) {
      case 'change':
      case 'relation':
      case 'message':
      case 'endpos':
        return;
      case 'begin':
        if (!this.#open.has(message.xid)) this.#open.set(message.xid, file);
        return;
      case 'commit':
        this.#open.delete(message.xid);
        this.#advance(message.endLsn);
        return;
      case 'rollback':
        if (message.sub === undefined) this.#open.delete(message.xid);
        return;
      case 'keepalive':
        this.#advance(message.lsn);
        return;
      case 'connected':
        this.#open.clear();
        return;
    }
  }

  #advance(lsn: Lsn): void {
    if (this.#position === null || lsn > this.#position) this.#position = lsn;
  }
}

const rowActions: ReadonlySet<number> = new Set(Buffer.from('IUDT'));
const actionOffset = '{"action":"'.length;

/** Reads a file to its end. Null: it has no header yet. Throws `journal-damaged`, `stopped`. */
export async function findEnd(
  directory: string,
  name: string,
  signal?: AbortSignal,
): Promise<FileEnd | null> {
  const handle = await open(join(directory, name), 'r');
  try {
    const loaded = await readHeader(handle, name);
    if (loaded === null) return null;
    const readAt: ReadAt = async (buffer, offset, length, position) => {
      throwIfStopped(signal);
      return (await handle.read(buffer, offset, length, position)).bytesRead;
    };
    const progress = new Progress(loaded.header.position, loaded.header.open);
    const decoder = new LineDecoder(name, new RelationIntern());
    let closed: SwitchLine | null = null;
    let unverified: StreamMessage[] = [];
    let unverifiedSwitch: SwitchLine | null = null;
    const scanner = new LineScanner(
      name,
      readAt,
      {
        line(buffer, start, end, offset) {
          if (closed !== null) throw damaged(name, offset, 'something follows its last line');
          // Rows are most of a file and say nothing about its end; the checksum answers for them.
          if (rowActions.has(buffer[start + actionOffset] ?? 0)) return;
          const message = decoder.decode(buffer.toString('utf8', start, end), offset);
          if (message?.kind === 'switch') unverifiedSwitch = message;
          else if (message !== null) unverified.push(message);
        },
        verified() {
          for (const message of unverified) progress.take(message, name);
          unverified = [];
          closed = unverifiedSwitch;
        },
      },
      loaded.end,
      loaded.sum,
    );
    const { size } = await handle.stat();
    try {
      while (await scanner.scan(size));
    } catch (error) {
      if (!(error instanceof Failure && error.code === 'journal-damaged')) throw error;
      if (await wasOnDisk(name, readAt, scanner.verifiedOffset, size)) throw error;
    }
    return {
      offset: scanner.verifiedOffset,
      size,
      sum: scanner.verifiedSum,
      position: progress.position,
      open: progress.open,
      nextRelationId: decoder.maxRelationId + 1,
      closed,
    };
  } finally {
    await handle.close();
  }
}

/** Throws `journal-damaged` when a journal's newest file ends before what was said to be durable (6). */
export function expectEnd(name: string, { offset, position }: FileEnd, durable: Lsn): void {
  if ((position ?? zeroLsn) >= durable) return;
  throw damaged(name, offset, `it ends here, and everything up to ${formatLsn(durable)} was on disk`);
}

/** The same for a journal that is only read, and may be written meanwhile. No file is no end, and nothing is said of it. */
export async function expectJournalEnd(directory: string, durable: Lsn, signal: AbortSignal): Promise<void> {
  const newest = (await loadSegments(directory, await listSegments(directory))).at(-1);
  if (newest === undefined) return;
  const end = await findEnd(directory, newest.name, signal);
  if (end !== null) expectEnd(newest.name, end, durable);
}

/** Whether a checksum line after `offset` says that more than `offset` bytes of the file were on disk. */
async function wasOnDisk(name: string, readAt: ReadAt, offset: number, size: number): Promise<boolean> {
  let largest = 0;
  // Lines are looked at one by one here: their checksums cannot be tested across the damage.
  const visitor = {
    line(buffer: Buffer, start: number, end: number) {
      if (!endsWithSum(buffer, start, end)) return;
      largest = Math.max(largest, decodeSynced(buffer.toString('utf8', start, end)) ?? 0);
    },
    verified() {},
  };
  const scanner = new LineScanner(name, readAt, visitor, offset, null);
  while (await scanner.scan(size));
  return largest > offset;
}
