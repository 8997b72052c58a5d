/**
 * COPY out of one session joined to COPY into another. The bytes are handed on as they come: neither side's rows
 * are looked at. The target's pace is the pace: while its socket is full, the source's is not read.
 *
 * After a failure neither session is fit for use (the source may be in the middle of its rows): discard both. The
 * target then sees the connection end inside COPY and rolls the transaction back.
 */
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { Failure } from '../failure.js';
import type { Session } from './connect.js';
import { serverFailure } from './sqlstate.js';

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
  /** Told of every chunk; does nothing slow. */
  readonly onBytes?: (bytes: number) => void;
};

/** Bytes as the source sent them, without the protocol's framing; rows as the target counted them. */
export type CopyResult = { readonly bytes: number; readonly rows: number };

/** Runs both COPY statements to their ends. Throws a Failure of the side that failed first, or `stopped`. */
export async function joinCopy(join: CopyJoin): Promise<CopyResult> {
  const { source, target, signal } = join;
  const out = copyTo(join.copyOut);
  const into = copyFrom(join.copyIn);
  let bytes = 0;
  const stop = () => into.emit('error', new Failure('stopped', 'stopped as asked'));
  try {
    await new Promise<void>((resolve, reject) => {
      out.on('error', (error: Error) =>
        reject(serverFailure(error, 'source', `could not read ${join.label}`)),
      );
      into.on('error', (error: Error) =>
        reject(
          error instanceof Failure ? error : serverFailure(error, 'target', `could not write ${join.label}`),
        ),
      );
      into.on('drain', () => out.resume());
      out.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        join.onBytes?.(chunk.length);
        if (!into.write(chunk)) out.pause();
      });
      out.on('end', () => into.end());
      into.on('finish', resolve);
      if (signal?.aborted === true) stop();
      signal?.addEventListener('abort', stop, { once: true });
      target.client.query(into);
      source.client.query(out);
    });
  } finally {
    signal?.removeEventListener('abort', stop);
  }
  return { bytes, rows: into.rowCount };
}
