/**
 * What travels inside CopyData while a slot is streamed. The server sends XLogData (`w`: position, server's end,
 * time, payload) and keepalives (`k`: position, time, whether it wants a reply); we send status updates (`r`).
 * https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-START-REPLICATION
 */
import { Failure } from '../failure.js';
import type { Lsn } from '../model/lsn.js';

/** What is reported to the source. Every position is exact: the end of what is held, never one byte more. */
export type FeedbackPositions = {
  /** Received and handed to the operating system. */
  readonly written: Lsn;
  /** The slot moves up to here: nothing before it will be sent again. 0/0 says nothing. */
  readonly flushed: Lsn;
  /** Committed on the target. */
  readonly applied: Lsn;
};

/**
 * One change's bytes, and the position in front of them. They lie in the socket's buffer, from `start` to `end`: a view
 * of its own for each would cost more than finding it.
 */
export type XLogData = {
  readonly kind: 'data';
  readonly walStart: Lsn;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
};

/** The source says that every commit ending at or before `lsn` was sent before this. */
export type KeepaliveFrame = {
  readonly kind: 'keepalive';
  readonly lsn: Lsn;
  /** The server's clock, microseconds since 2000-01-01 UTC. */
  readonly time: bigint;
  readonly replyRequested: boolean;
};

/** Something the server says beside the stream, in its place among the frames. Only where it was asked for. */
export type NoticeFrame = { readonly kind: 'notice'; readonly text: string };

export type StreamFrame = XLogData | KeepaliveFrame | NoticeFrame;

const tagXLogData = 0x77;
const tagKeepalive = 0x6b;
const tagStatusUpdate = 0x72;

const xLogDataHeaderBytes = 25;
const keepaliveBytes = 18;
const statusUpdateBytes = 34;

/** 2000-01-01 UTC in microseconds since 1970-01-01. */
const postgresEpoch = 946_684_800_000_000n;

// Two 32-bit halves seen as one 64-bit number: one allocation where shifting bigints would make four.
const wide = new BigUint64Array(1);
const halves = new Uint32Array(wide.buffer);
const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
const [lowHalf, highHalf] = littleEndian ? [0, 1] : [1, 0];

function readUint64(bytes: Buffer, at: number): bigint {
  halves[highHalf] = readUint32(bytes, at);
  halves[lowHalf] = readUint32(bytes, at + 4);
  return wide[0]!;
}

function readUint32(bytes: Buffer, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/**
 * Reads the content of one CopyData message, which lies in the buffer from `start` to `end`. Throws
 * `message-unreadable` on anything but the two known kinds.
 */
export function decodeStreamFrame(buffer: Buffer, start = 0, end = buffer.length): StreamFrame {
  const length = end - start;
  const tag = length === 0 ? null : buffer[start]!;
  if (tag === tagXLogData && length >= xLogDataHeaderBytes) {
    return {
      kind: 'data',
      walStart: readUint64(buffer, start + 1) as Lsn,
      bytes: buffer,
      start: start + xLogDataHeaderBytes,
      end,
    };
  }
  if (tag === tagKeepalive && length === keepaliveBytes && buffer[start + 17]! <= 1) {
    return {
      kind: 'keepalive',
      lsn: readUint64(buffer, start + 1) as Lsn,
      time: BigInt.asIntN(64, readUint64(buffer, start + 9)),
      replyRequested: buffer[start + 17] === 1,
    };
  }
  throw new Failure(
    'message-unreadable',
    `the source sent a replication message that cannot be read: first byte ` +
      `${tag === null ? 'missing' : `0x${tag.toString(16).padStart(2, '0')}`}, ${length} bytes`,
  );
}

/**
 * The content of a standby status update. `now` is our clock in milliseconds since 1970. `ask` wants a keepalive for an
 * answer: a server that hears of us has no reason to speak by itself.
 */
export function encodeStatusUpdate(positions: FeedbackPositions, now: number, ask = false): Buffer {
  const content = Buffer.alloc(statusUpdateBytes);
  content[0] = tagStatusUpdate;
  content.writeBigUInt64BE(positions.written, 1);
  content.writeBigUInt64BE(positions.flushed, 9);
  content.writeBigUInt64BE(positions.applied, 17);
  content.writeBigInt64BE(BigInt(Math.trunc(now)) * 1000n - postgresEpoch, 25);
  content[33] = ask ? 1 : 0;
  return content;
}
