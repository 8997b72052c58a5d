/** How data is compared, and what is told meanwhile. */
import type { Log } from '../log.js';
import type { PublishedPart } from '../model/published-part.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { TableComparison, TableName } from './comparison.js';
import type { SessionsAhead } from './sides.js';

/**
 * How deep a comparison goes:
 *   counts     numbers of rows alone
 *   checksums  of all rows
 *   rows       checksums, and where they differ, which rows differ
 */
export type CompareDepth = 'counts' | 'checksums' | 'rows';

export type CompareDataOptions = {
  readonly source: Conninfo;
  readonly target: Conninfo;
  /** Tables or pieces compared at the same time, hence sessions on each side. */
  readonly jobs: number;
  /** `checksums` unless told. */
  readonly depth?: CompareDepth;
  readonly log?: Log;
  readonly signal?: AbortSignal;
  /** Called once with `done` 0, then after each table and each piece of a large one, and while rows are settled behind these. */
  readonly onProgress?: (progress: CompareProgress) => void;
  /** Only these tables; all of the source's unless told. */
  readonly tables?: readonly TableName[];
  /** Tables that are not kept are looked at on neither side: they were left out of the copy. */
  readonly keeps?: ((table: TableName) => boolean) | null;
  /** Of which tables only a part is on the target, since the stream carries no more of them. */
  readonly parts?: readonly PublishedPart[] | null;
  /** Leaves out unlogged tables of the source, whose changes no stream tells of. */
  readonly loggedOnly?: boolean;
  /** About how many bytes of a table are read by one statement. */
  readonly pieceBytes?: number;
  /**
   * The stream by which the target follows the source right now: its run must be under way, and apply. Null or absent
   * while nobody writes: then both sides are read as they are.
   */
  readonly following?: StreamKey | null;
  /**
   * The work directory of the stream: what is proven while the target follows is kept there, so that `compareTouched` at
   * the end need not read again what was not written since; what differs is taken back. Absent: nothing is kept.
   */
  readonly directory?: string | null;
  /** Sessions that are open already; taken before others are opened. */
  readonly ahead?: SessionsAhead | undefined;
};

export type CompareProgress = {
  /** Tables. */
  readonly done: number;
  readonly total: number;
  /** The table that was done last. */
  readonly last: TableComparison | null;
  /** Bytes of the source's tables, as far as they are read. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /**
   * A table that is read whole, while the target follows, and is searched for rows that were written since: so many of
   * them were looked at again. Null where none is.
   */
  readonly settling: { readonly table: TableName; readonly rows: number } | null;
};
