/**
 * A set of xids that are nearly consecutive, kept as intervals: of a function with an exception block around each of
 * millions of rows, the subtransactions that were rolled back are one interval, and not millions of entries.
 */

type Interval = { first: bigint; last: bigint };

export class XidSet {
  /** In order, with a gap between any two. */
  readonly #intervals: Interval[] = [];

  /** How many intervals it takes. */
  get intervals(): number {
    return this.#intervals.length;
  }

  has(xid: bigint): boolean {
    const found = this.#intervals[this.#firstEndingAt(xid)];
    return found !== undefined && found.first <= xid;
  }

  add(xid: bigint): void {
    // The interval that ends right before it, or later.
    const place = this.#firstEndingAt(xid - 1n);
    const at = this.#intervals[place];
    if (at === undefined || at.first > xid + 1n) {
      this.#intervals.splice(place, 0, { first: xid, last: xid });
      return;
    }
    if (xid < at.first) at.first = xid;
    if (xid <= at.last) return;
    at.last = xid;
    const next = this.#intervals[place + 1];
    if (next === undefined || next.first > xid + 1n) return;
    at.last = next.last;
    this.#intervals.splice(place + 1, 1);
  }

  /** The place of the first interval that ends at or behind `xid`; behind all where none does. */
  #firstEndingAt(xid: bigint): number {
    let low = 0;
    let high = this.#intervals.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#intervals[middle]?.last ?? xid) < xid) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
