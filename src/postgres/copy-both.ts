/**
 * Cuts what a walsender's socket gives into protocol messages, in place: a tag, a length, a body. A message that
 * lies inside one read stays there; only one that was torn between reads is put together in a buffer of its own,
 * whose size its header told, so that a value of many megabytes is copied once.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
import { Failure } from '../failure.js';

const headerBytes = 5;

/** A server cannot build a longer message (MaxAllocSize): such a length is garbage, and must not be allocated. */
const maxMessageBytes = 0x4000_0000;

/** Takes one message: its tag, and the buffer that holds its body from `start` to `end`. */
export type TakeMessage = (tag: number, buffer: Buffer, start: number, end: number) => void;

/** Cuts reads into messages. */
export class MessageCutter {
  readonly #take: TakeMessage;
  readonly #header = Buffer.alloc(headerBytes);
  #headerFill = 0;
  #body: Buffer | null = null;
  #bodyFill = 0;

  constructor(take: TakeMessage) {
    this.#take = take;
  }

  /** Hands every message that this read completes to the taker, in order. */
  push(read: Buffer): void {
    let at = 0;
    if (this.#headerFill > 0) at = this.#continue(read);
    while (read.length - at >= headerBytes) {
      const end = at + 1 + messageLength(read, at);
      if (end > read.length) break;
      this.#take(read[at]!, read, at + headerBytes, end);
      at = end;
    }
    if (at < read.length) this.#begin(read, at);
  }

  /** Bytes of a message that has not arrived whole. */
  get pendingBytes(): number {
    return this.#headerFill + this.#bodyFill;
  }

  /** Goes on with the torn message; returns where the next one begins. */
  #continue(read: Buffer): number {
    let at = 0;
    if (this.#headerFill < headerBytes) {
      at = read.copy(this.#header, this.#headerFill, 0, headerBytes - this.#headerFill);
      this.#headerFill += at;
      if (this.#headerFill < headerBytes) return at;
      this.#body = Buffer.allocUnsafeSlow(messageLength(this.#header, 0) - 4);
    }
    const body = this.#body!;
    const taken = read.copy(body, this.#bodyFill, at);
    this.#bodyFill += taken;
    if (this.#bodyFill < body.length) return at + taken;
    this.#headerFill = 0;
    this.#bodyFill = 0;
    this.#body = null;
    this.#take(this.#header[0]!, body, 0, body.length);
    return at + taken;
  }

  #begin(read: Buffer, at: number): void {
    this.#headerFill = read.copy(this.#header, 0, at, at + headerBytes);
    if (this.#headerFill < headerBytes) return;
    this.#body = Buffer.allocUnsafeSlow(messageLength(this.#header, 0) - 4);
    this.#bodyFill = read.copy(this.#body, 0, at + headerBytes);
  }
}

/** The length in a header at `at`: it counts itself, not the tag. */
function messageLength(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at + 1);
  if (length < 4 || length > maxMessageBytes) {
    throw new Failure('message-unreadable', `the source sent a message that claims to have ${length} bytes`);
  }
  return length;
}
