/**
 * COPYs out of one session spliced to COPYs into another, on their sockets. CopyData frames are the same in both
 * directions: they go on as they came, only their headers are looked at (copy-frames.ts).
 *
 *     source ── CopyOutResponse, CopyData …, CopyDone, tag ──▶ here ── CopyData …, CopyDone ──▶ target ── tag ──▶ here
 *
 * Each side gets one simple query, whose statements are up to the caller; the n-th COPY of the one belongs to the n-th
 * of the other. Data is sent without waiting for CopyInResponse: a server that failed before it ignores the data up to
 * its next ReadyForQuery, and nothing is committed by the exchange itself. The target's pace is the pace: while its
 * socket is full, the source's is not read.
 *
 * After a failure neither session is fit for use, since the source may be in the middle of its rows: both sockets are
 * destroyed. The target then sees the connection end inside COPY and rolls the transaction back.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
import { Failure, type Side } from '../failure.js';
import type { Session } from './connect.js';
import { FrameScanner } from './copy-frames.js';
import { isIdle, queryMessage, RawSession } from './raw-session.js';
import { serverFailure } from './sqlstate.js';
import { readDataRow, readErrorFields } from './wire-protocol.js';
import { databaseError } from './wire-session.js';

export type CopyExchange = {
  readonly source: Session;
  /** One or more statements, among them the COPYs to stdout. */
  readonly sourceSql: string;
  readonly target: Session;
  /** As many COPYs from stdin. */
  readonly targetSql: string;
  /** What is copied, for messages. */
  readonly label: string;
  readonly signal?: AbortSignal | undefined;
  /** Told of every piece; does nothing slow. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Told of every row that another statement than a COPY gives; what it throws ends the exchange. */
  readonly onRow?: ((side: Side, values: readonly (string | null)[]) => void) | undefined;
};

/** Bytes as the source sent them, without the protocol's framing; rows as both sides counted them. */
export type CopyResult = { readonly bytes: number; readonly rows: number };

/** Runs both queries to their ends, and returns what each COPY moved. Throws a Failure of the side that failed first. */
export async function exchangeCopies(exchange: CopyExchange): Promise<CopyResult[]> {
  for (const session of [exchange.source, exchange.target]) {
    if (session.lost !== null) throw session.lost;
    if (!isIdle(session.client)) throw new Failure('internal', `the ${session.side} session is not idle`);
  }
  return await new Promise((resolve, reject) => new Splice(exchange, resolve, reject).begin());
}

const code = (letter: string): number => letter.charCodeAt(0);

const types = {
  commandComplete: code('C'),
  copyDone: code('c'),
  copyInResponse: code('G'),
  copyOutResponse: code('H'),
  dataRow: code('D'),
  emptyQuery: code('I'),
  errorResponse: code('E'),
  noticeResponse: code('N'),
  notification: code('A'),
  parameterStatus: code('S'),
  readyForQuery: code('Z'),
  rowDescription: code('T'),
} as const;

const copyDone = Buffer.from([types.copyDone, 0, 0, 0, 4]);

/** Why a socket closed is told by an error before it; without one, these are pg's words. */
const closedWords = 'Connection terminated unexpectedly';

/** Enough to keep a target busy over one turn of the event loop. */
const windowBytes = 256 * 1024;

class Splice {
  readonly #exchange: CopyExchange;
  readonly #resolve: (results: CopyResult[]) => void;
  readonly #reject: (failure: Failure) => void;
  readonly #source: RawSession;
  readonly #target: RawSession;
  readonly #listeners: (() => void)[] = [];
  /** Per COPY: bytes and rows that the source sent. */
  readonly #sent: CopyResult[] = [];
  /** Per COPY: rows that the target has taken. */
  readonly #taken: number[] = [];
  readonly #sourceFrames = new FrameScanner({
    data: (frames) => this.#forward(frames),
    message: (type, body) => this.#fromSource(type, body),
  });
  readonly #targetFrames = new FrameScanner({
    data: () => this.#protocolError('target', 'sent CopyData'),
    message: (type, body) => this.#fromTarget(type, body),
  });
  #copying = false;
  #bytesBefore = 0;
  #ready = { source: false, target: false };
  /** The target's socket has more than it can take; the source is not read. */
  #waiting = false;
  #gathering = false;
  #ended = false;

  constructor(
    exchange: CopyExchange,
    resolve: (results: CopyResult[]) => void,
    reject: (failure: Failure) => void,
  ) {
    this.#exchange = exchange;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#source = new RawSession(exchange.source, (read) => this.#push('source', this.#sourceFrames, read));
    this.#target = new RawSession(exchange.target, (read) => this.#push('target', this.#targetFrames, read));
  }

  begin(): void {
    const { signal, sourceSql, targetSql } = this.#exchange;
    for (const side of ['source', 'target'] as const) {
      const { socket } = side === 'source' ? this.#source : this.#target;
      const onError = (error: Error) => this.#fail(this.#failure(side, error));
      const onClose = () => this.#fail(this.#failure(side, new Error(closedWords)));
      socket.on('error', onError).on('close', onClose);
      this.#listeners.push(() => socket.off('error', onError).off('close', onClose));
      if (socket.destroyed) onClose();
    }
    const stop = () => this.#fail(new Failure('stopped', 'stopped as asked'));
    signal?.addEventListener('abort', stop, { once: true });
    this.#listeners.push(() => signal?.removeEventListener('abort', stop));
    if (signal?.aborted === true) stop();
    if (this.#ended) return;
    this.#target.socket.write(queryMessage(targetSql));
    this.#source.socket.write(queryMessage(sourceSql));
  }

  /** One read; true when a part of it still waits to be sent. */
  #push(side: Side, frames: FrameScanner, read: Buffer): boolean {
    if (this.#ended) return false;
    try {
      frames.push(read);
    } catch (error) {
      if (error instanceof RangeError) this.#protocolError(side, `sent ${error.message}`);
      else this.#fail(error instanceof Failure ? error : this.#failure(side, error));
    }
    return side === 'source' && this.#waiting;
  }

  #forward(frames: Buffer): void {
    if (this.#ended) return;
    if (!this.#copying) {
      this.#protocolError('source', 'sent CopyData outside of COPY');
      return;
    }
    const { socket } = this.#target;
    if (!this.#source.bulk) this.#gather();
    socket.write(frames, this.#written);
    this.#exchange.onBytes?.(frames.length);
    // A buffer that is used again must have left before the next read.
    const room = this.#source.bulk ? 0 : windowBytes;
    if (socket.writableLength <= room || this.#waiting) return;
    this.#waiting = true;
    this.#source.socket.pause();
  }

  /** TLS gives a piece for each of the server's records, of 8 kB: those of one turn of the event loop go together. */
  #gather(): void {
    if (this.#gathering) return;
    this.#gathering = true;
    const { socket } = this.#target;
    socket.cork();
    setImmediate(() => {
      this.#gathering = false;
      socket.uncork();
    });
  }

  /** A write has left for the kernel. What was read stays untouched until all of it has. */
  readonly #written = (): void => {
    if (!this.#waiting || this.#target.socket.writableLength > 0) return;
    this.#waiting = false;
    this.#source.recycle();
    if (!this.#ended) this.#source.socket.resume();
  };

  #fromSource(type: number, body: Buffer): void {
    if (this.#ended) return;
    switch (type) {
      case types.copyOutResponse:
        this.#copying = true;
        this.#bytesBefore = this.#sourceFrames.payloadBytes;
        break;
      case types.copyDone:
        this.#copying = false;
        this.#target.socket.write(copyDone);
        break;
      case types.commandComplete: {
        const rows = readCopyTag(body);
        if (rows === null) break;
        this.#sent.push({ bytes: this.#sourceFrames.payloadBytes - this.#bytesBefore, rows });
        break;
      }
      default:
        this.#fromEither('source', type, body);
    }
  }

  #fromTarget(type: number, body: Buffer): void {
    if (this.#ended) return;
    switch (type) {
      case types.copyInResponse:
        break;
      case types.commandComplete: {
        const rows = readCopyTag(body);
        if (rows !== null) this.#taken.push(rows);
        break;
      }
      default:
        this.#fromEither('target', type, body);
    }
  }

  #fromEither(side: Side, type: number, body: Buffer): void {
    const session = this.#exchange[side];
    switch (type) {
      case types.dataRow:
        this.#exchange.onRow?.(side, readDataRow(body, 0));
        break;
      case types.errorResponse:
        this.#fail(this.#failure(side, databaseError(readErrorFields(body, 0, body.length))));
        break;
      case types.noticeResponse: {
        const fields = readErrorFields(body, 0, body.length);
        // As pg tells it, to the session's own listener.
        session.client.emit('notice', { message: fields.get('M'), where: fields.get('W') });
        break;
      }
      case types.readyForQuery:
        this.#ready[side] = true;
        if (this.#ready.source && this.#ready.target) this.#end();
        break;
      case types.rowDescription:
      case types.parameterStatus:
      case types.notification:
      case types.emptyQuery:
        break;
      default:
        this.#protocolError(side, `sent an unexpected message of type ${type}`);
    }
  }

  #end(): void {
    const { label } = this.#exchange;
    const [sent, taken] = [this.#sent, this.#taken];
    const differs = sent.length !== taken.length || sent.some(({ rows }, at) => rows !== taken[at]);
    if (differs) {
      const words = `the source sent ${sent.map(({ rows }) => rows).join(', ')} rows of ${label}, the target took ${taken.join(', ')}`;
      this.#fail(new Failure('target-statement', words));
      return;
    }
    this.#finish();
    this.#source.release();
    this.#target.release();
    this.#resolve(sent);
  }

  #fail(failure: Failure): void {
    if (this.#ended) return;
    this.#finish();
    // Errors of sockets that are given up have been told already, or follow from it.
    for (const { socket } of [this.#source, this.#target]) socket.on('error', () => {}).destroy();
    this.#reject(failure);
  }

  #finish(): void {
    this.#ended = true;
    for (const remove of this.#listeners) remove();
  }

  #failure(side: Side, error: unknown): Failure {
    const doing = side === 'source' ? 'read' : 'write';
    return serverFailure(error, side, `could not ${doing} ${this.#exchange.label}`);
  }

  #protocolError(side: Side, words: string): void {
    this.#fail(
      new Failure('internal', `${side}: while ${this.#exchange.label} was copied, the server ${words}`),
    );
  }
}

/** The rows of a tag `COPY n`; null for any other tag. */
function readCopyTag(body: Buffer): number | null {
  const match = /^COPY (\d+)$/.exec(body.toString('latin1', 0, body.length - 1));
  return match === null ? null : Number(match[1]);
}
