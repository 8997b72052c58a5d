/**
 * A session's socket for the time of one exchange of raw messages: pg neither reads nor writes it meanwhile. Possible
 * only while nothing runs on the session. What pg has attached to the socket besides stays: a connection that breaks
 * is a lost session as ever.
 */
import type { Socket } from 'node:net';
import type pg from 'pg';
import { BulkSocket, type TakeBulk } from './bulk-socket.js';
import { connectionOf } from './connect-session.js';
import type { Session } from './connect.js';

type DataListener = (chunk: Buffer) => void;

export class RawSession {
  readonly socket: Socket;
  readonly #listeners: readonly DataListener[];
  readonly #onData: DataListener;

  /** Takes the socket. What is read goes to `take`, which must not keep it unless it returns true (see BulkSocket). */
  constructor(session: Session, take: TakeBulk) {
    this.socket = connectionOf(session.client).stream as Socket;
    this.#listeners = this.socket.listeners('data') as DataListener[];
    this.#onData = (chunk) => void take(chunk);
    for (const listener of this.#listeners) this.socket.removeListener('data', listener);
    if (this.socket instanceof BulkSocket) this.socket.bulk = take;
    else this.socket.on('data', this.#onData);
  }

  /** Whether reads are large, and their buffers used again. */
  get bulk(): boolean {
    return this.socket instanceof BulkSocket;
  }

  /** Gives the socket back to pg: when the server waits for the next statement. */
  release(): void {
    if (this.socket instanceof BulkSocket) this.socket.bulk = null;
    else this.socket.removeListener('data', this.#onData);
    for (const listener of this.#listeners) this.socket.on('data', listener);
    this.socket.resume();
  }

  /** What was kept of the reads is not needed any more. */
  recycle(): void {
    if (this.socket instanceof BulkSocket) this.socket.recycle();
  }
}

/** Whether pg runs nothing on the session and waits for nothing. */
export function isIdle(client: pg.Client): boolean {
  const inner = client as unknown as { readyForQuery: boolean; activeQuery: unknown; _activeQuery: unknown };
  return inner.readyForQuery && (inner._activeQuery ?? null) === null;
}

/** A simple query, which may hold several statements. */
export function queryMessage(sql: string): Buffer {
  const text = Buffer.from(sql, 'utf8');
  const message = Buffer.allocUnsafe(text.length + 6);
  message.writeUInt8(0x51, 0);
  message.writeUInt32BE(text.length + 5, 1);
  text.copy(message, 5);
  message.writeUInt8(0, message.length - 1);
  return message;
}
