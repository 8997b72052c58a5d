/**
 * Transaction ids travel in 32 bits and are stored in 64, so that they never come round again. The server's next xid at
 * connect time is the seed: everything a slot can send lies within 2^31 of it, since the slot itself keeps the
 * server from going further.
 */
import { Failure } from '../failure.js';
import type { PluginMessage } from '../model/message.js';

/** Widens the xids of one connection. */
export class XidWidener {
  #lastWide: bigint;
  #lastNarrow: bigint;
  /** Of subtransactions, which take turns with their transactions: each has its own last one. */
  #subs: XidWidener | null = null;

  /** `seed` is a 64-bit xid near to what will come. */
  constructor(seed: bigint) {
    this.#lastWide = seed;
    this.#lastNarrow = BigInt.asUintN(32, seed);
  }

  /** The 64-bit xid for what the server sent in 32 bits. Throws `message-unreadable` when there can be none. */
  widen(narrow: bigint): bigint {
    if (narrow === this.#lastNarrow) return this.#lastWide;
    const wide = this.#lastWide + BigInt.asIntN(32, narrow - this.#lastWide);
    if (wide < 0n || narrow < 0n || narrow > 0xffff_ffffn) {
      throw new Failure(
        'message-unreadable',
        `the source sent transaction id ${narrow}, which does not fit to ${this.#lastWide}`,
      );
    }
    this.#lastNarrow = narrow;
    this.#lastWide = wide;
    return wide;
  }

  /**
   * Widens a message's xid where it stands. The message was made for us a moment ago and nobody else has seen it: a
   * copy would cost an object for every change.
   */
  widenMessage(message: PluginMessage): void {
    if (message.kind === 'relation' || message.xid === null) return;
    const wide = this.widen(message.xid);
    if (wide !== message.xid) (message as { xid: bigint }).xid = wide;
    if (message.kind === 'begin' || message.kind === 'commit' || message.sub === undefined) return;
    this.#subs ??= new XidWidener(wide);
    (message as { sub: bigint }).sub = this.#subs.widen(message.sub);
  }
}
