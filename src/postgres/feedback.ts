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

/** One change's bytes, and the position in front of them. The payload is a view into the socket's buffer. */
export type XLogData = { readonly kind: 'data'; readonly walStart: Lsn; readonly payload: Buffer };

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

// Two halves read as one number: one allocation, where shifting bigints would make four.
const halves = new DataView(new ArrayBuffer(8));

function readUint64(bytes: Buffer, at: number): bigint {
  halves.setUint32(0, bytes.readUInt32BE(at));
  halves.setUint32(4, bytes.readUInt32BE(at + 4));
  return halves.getBigUint64(0);
}

/** Reads the content of one CopyData message. Throws `message-unreadable` on anything but the two known kinds. */
export function decodeStreamFrame(content: Buffer): StreamFrame {
  if (content[0] === tagXLogData && content.length >= xLogDataHeaderBytes) {
    return {
      kind: 'data',
      walStart: readUint64(content, 1) as Lsn,
      payload: content.subarray(xLogDataHeaderBytes),
    };
  }
  if (content[0] === tagKeepalive && content.length === keepaliveBytes && content[17]! <= 1) {
    return {
      kind: 'keepalive',
      lsn: readUint64(content, 1) as Lsn,
      time: BigInt.asIntN(64, readUint64(content, 9)),
      replyRequested: content[17] === 1,
    };
  }
  throw new Failure(
    'message-unreadable',
    `the source sent a replication message that cannot be read: first byte ` +
      `${content.length === 0 ? 'missing' : `0x${content[0]!.toString(16).padStart(2, '0')}`}, ` +
      `${content.length} bytes`,
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
