/**
 * A socket that can be read in two ways: like any other, by `data` events, which is how pg reads the login and the
 * replies to statements; and *bulk*, into large buffers that are used again, for the time of a COPY. Node makes a new
 * buffer for every read otherwise, which costs more than all else that is done with the bytes (docs/measurements/copy.md).
 *
 * Bulk reads are views of the buffer: whoever takes one says when it is free again.
 */
import { Socket, type ConnectOpts, type SocketConstructorOpts } from 'node:net';

/** One read takes at most this much. */
const bufferBytes = 256 * 1024;

/** Takes one bulk read. It must not keep the view, unless it returns true: then `recycle` says when it is done. */
export type TakeBulk = (read: Buffer) => boolean;

export class BulkSocket extends Socket {
  #take: TakeBulk | null = null;
  #current: Buffer;
  /** Buffers that nobody uses. */
  readonly #free: Buffer[] = [];
  /** Buffers that a taker has kept. */
  readonly #kept: Buffer[] = [];

  constructor() {
    let next = (): Buffer => Buffer.allocUnsafeSlow(bufferBytes);
    let read: (length: number) => void = () => {};
    // Node takes `onread` here as well; its types know it for `connect` only.
    const options: SocketConstructorOpts & ConnectOpts = {
      onread: {
        buffer: () => next(),
        callback: (length) => {
          read(length);
          return true;
        },
      },
    };
    super(options);
    this.#current = next();
    next = () => this.#current;
    read = (length) => this.#read(length);
  }

  /** Reads go to the taker from now on; to `data` again with null. */
  set bulk(take: TakeBulk | null) {
    this.#take = take;
  }

  /** So many of the reads that were kept are free again, the oldest; all of them unless told. */
  recycle(count = this.#kept.length): void {
    this.#free.push(...this.#kept.splice(0, count));
  }

  #read(length: number): void {
    const view = this.#current.subarray(0, length);
    if (this.#take === null) {
      // pg keeps what it is given.
      this.emit('data', Buffer.from(view));
    } else if (this.#take(view)) {
      this.#kept.push(this.#current);
      this.#current = this.#free.pop() ?? Buffer.allocUnsafeSlow(bufferBytes);
    }
  }
}
