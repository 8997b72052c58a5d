/**
 * Cuts what a server sends during COPY: CopyData is handed on as it came, frames and all, whole or in pieces; every
 * other message is handed over whole. Only headers are looked at.
 *
 *     d len row d len row d le│n row d len row c len C len … Z len …
 *     └──── data ────────────┘│└─ data ───────┘└ messages ─────────┘
 *
 * CopyData and CopyDone look the same in both directions, so that data may be written to the other server untouched.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

export type FrameTaker = {
  /** Bytes of CopyData frames, headers included. A frame's rest may come with the next call. */
  readonly data: (frames: Buffer) => void;
  /** Any other message: its type and its body. Valid only during the call. */
  readonly message: (type: number, body: Buffer) => void;
};

const headerBytes = 5;
const copyDataType = 0x64;

/** A server cannot send more in one message (MaxAllocSize); a greater length is garbage. */
const longestFrame = 0x4000_0000;
/** Errors, notices, tags and a few rows: nothing of this size. It would be held in memory. */
const longestMessage = 64 * 1024 * 1024;

export class FrameScanner {
  readonly #taker: FrameTaker;
  readonly #header = Buffer.alloc(headerBytes);
  #headerFill = 0;
  /** Bytes that are missing of the CopyData frame at hand. */
  #dataLeft = 0;
  #body: Buffer | null = null;
  #bodyFill = 0;
  #payloadBytes = 0;

  constructor(taker: FrameTaker) {
    this.#taker = taker;
  }

  /** What the CopyData frames so far have carried, without their headers. */
  get payloadBytes(): number {
    return this.#payloadBytes;
  }

  /** Throws a RangeError when this is not the protocol. */
  push(chunk: Buffer): void {
    const end = chunk.length;
    let at = this.#continueMessage(chunk);
    // Data frames between `from` and `at` are not handed on yet.
    let from = at;
    if (this.#dataLeft > 0) at = this.#skipData(at, end);
    while (end - at >= headerBytes) {
      const type = chunk[at];
      const length = readLength(chunk, at);
      if (type === copyDataType) {
        this.#payloadBytes += length - 4;
        this.#dataLeft = length - 4;
        at = this.#skipData(at + headerBytes, end);
        continue;
      }
      this.#handOn(chunk, from, at);
      const next = at + 1 + length;
      if (next > end) {
        from = end;
        this.#beginMessage(chunk, at);
        at = end;
        break;
      }
      this.#taker.message(type as number, chunk.subarray(at + headerBytes, next));
      at = next;
      from = at;
    }
    this.#handOn(chunk, from, at);
    if (at < end) this.#headerFill = chunk.copy(this.#header, 0, at, end);
  }

  #skipData(at: number, end: number): number {
    const next = Math.min(at + this.#dataLeft, end);
    this.#dataLeft -= next - at;
    return next;
  }

  #handOn(chunk: Buffer, from: number, to: number): void {
    if (to > from) this.#taker.data(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to));
  }

  /** Goes on with a torn header or message; returns where the chunk's own frames begin. */
  #continueMessage(chunk: Buffer): number {
    let at = 0;
    if (this.#headerFill > 0) {
      at = chunk.copy(this.#header, this.#headerFill, 0, headerBytes - this.#headerFill);
      this.#headerFill += at;
      if (this.#headerFill < headerBytes) return at;
      this.#headerFill = 0;
      const length = readLength(this.#header, 0);
      if (this.#header[0] === copyDataType) {
        this.#payloadBytes += length - 4;
        this.#dataLeft = length - 4;
        // The header is used again for the next torn one, while this may still wait to be sent.
        this.#taker.data(Buffer.from(this.#header));
        return at;
      }
      this.#openBody(length);
    }
    if (this.#body === null) return at;
    const taken = chunk.copy(this.#body, this.#bodyFill, at);
    this.#bodyFill += taken;
    if (this.#bodyFill === this.#body.length) {
      const body = this.#body;
      this.#body = null;
      this.#taker.message(this.#header[0] as number, body);
    }
    return at + taken;
  }

  /** A message whose end has not come: from its header at `at` to the chunk's end. */
  #beginMessage(chunk: Buffer, at: number): void {
    chunk.copy(this.#header, 0, at, at + headerBytes);
    const body = this.#openBody(readLength(this.#header, 0));
    this.#bodyFill = chunk.copy(body, 0, at + headerBytes);
  }

  #openBody(length: number): Buffer {
    if (length > longestMessage) throw new RangeError(`a message that claims to have ${length} bytes`);
    this.#body = Buffer.allocUnsafe(length - 4);
    this.#bodyFill = 0;
    return this.#body;
  }
}

function readLength(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at + 1);
  if (length < 4 || length > longestFrame) {
    throw new RangeError(`a message that claims to have ${length} bytes`);
  }
  return length;
}
