/**
 * COPY out of one session joined to COPY into another: copy-exchange.ts with one statement on each side.
 */
import type { Session } from './connect.js';
import { exchangeCopies, type CopyResult } from './copy-exchange.js';

export type { CopyResult } from './copy-exchange.js';

export type CopyJoin = {
  readonly source: Session;
  /** `copy … to stdout` */
  readonly copyOut: string;
  readonly target: Session;
  /** `copy … from stdin` */
  readonly copyIn: string;
  /** The table, for messages. */
  readonly label: string;
  readonly signal?: AbortSignal | undefined;
  /** Told of every piece; does nothing slow. */
  readonly onBytes?: (bytes: number) => void;
};

/** Runs both COPY statements to their ends. Throws a Failure of the side that failed first, or `stopped`. */
export async function joinCopy(join: CopyJoin): Promise<CopyResult> {
  const { copyOut, copyIn, ...rest } = join;
  const [result] = await exchangeCopies({ ...rest, sourceSql: copyOut, targetSql: copyIn });
  return result ?? { bytes: 0, rows: 0 };
}
