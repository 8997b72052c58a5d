/**
 * COPY out of one session joined to COPY into another. The bytes are handed on as they come: neither side's rows
 * are looked at, and a CopyData message need not end where a row does. The target's pace is the pace: while its
 * socket is full, the source's is not read.
 *
 *     source ── CopyOutResponse, CopyData …, CopyDone ──▶ here ── CopyData …, CopyDone ──▶ target
 *
 * After a failure neither session is fit for use (the source may be in the middle of its rows): discard both. The
 * target then sees the connection end inside COPY and rolls the transaction back.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
import type pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
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
  let bytes = 0;
  let stop = () => {};
  try {
    const rows = await new Promise<number>((resolve, reject) => {
      const failOn = (side: 'source' | 'target', doing: string) => (error: Error) => {
        out.pause();
        reject(serverFailure(error, side, `could not ${doing} ${join.label}`));
      };
      stop = () => {
        out.pause();
        reject(new Failure('stopped', 'stopped as asked'));
      };
      const into = new CopyIn(join.copyIn, {
        ready: () => {
          out.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            join.onBytes?.(chunk.length);
            if (!into.write(chunk)) out.pause();
          });
          out.on('end', () => into.end());
        },
        drained: () => out.resume(),
        done: resolve,
        failed: failOn('target', 'write'),
      });
      out.on('error', failOn('source', 'read'));
      if (signal?.aborted === true) stop();
      signal?.addEventListener('abort', stop, { once: true });
      target.client.query(into);
      source.client.query(out);
    });
    return { bytes, rows };
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

type CopyInEvents = {
  /** The server waits for data. */
  readonly ready: () => void;
  /** After a write that returned false: more may come. */
  readonly drained: () => void;
  /** The statement is complete: the number of rows. */
  readonly done: (rows: number) => void;
  readonly failed: (error: Error) => void;
};

/**
 * The target's half, as pg runs it. Not pg-copy-streams' own: after an error its writer throws out of the socket's
 * next drain event, where nobody can catch it.
 */
class CopyIn {
  readonly text: string;
  readonly #events: CopyInEvents;
  #connection: pg.Connection | null = null;
  #rows = 0;

  constructor(text: string, events: CopyInEvents) {
    this.text = text;
    this.#events = events;
  }

  /** Sends a piece; false when the socket is full. After the end or a failure it does nothing. */
  write(chunk: Buffer): boolean {
    const socket = this.#connection?.stream;
    if (socket === undefined) return true;
    const header = Buffer.alloc(5);
    header.writeUInt8(copyDataCode);
    header.writeUInt32BE(chunk.length + 4, 1);
    socket.cork();
    socket.write(header);
    const roomLeft = socket.write(chunk);
    socket.uncork();
    if (!roomLeft) socket.once('drain', this.#events.drained);
    return roomLeft;
  }

  end(): void {
    this.#connection?.stream.write(copyDone);
  }

  submit(connection: pg.Connection): void {
    this.#connection = connection;
    connection.query(this.text);
  }

  handleCopyInResponse(): void {
    this.#events.ready();
  }

  handleCommandComplete(message: { readonly text?: string }): void {
    this.#rows = Number(/^COPY (\d+)$/.exec(message.text ?? '')?.[1] ?? 0);
  }

  handleReadyForQuery(): void {
    this.#connection = null;
    this.#events.done(this.#rows);
  }

  handleError(error: Error): void {
    this.#connection = null;
    this.#events.failed(error);
  }
}

const copyDataCode = 0x64;
const copyDone = Buffer.from([0x63, 0, 0, 0, 4]);
