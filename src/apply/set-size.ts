/**
 * How many changes a set gathers. A larger set may be fewer rows for the target, where rows are changed again and again;
 * but what it keeps alive costs the collector's time and memory. So a set grows only as long as that makes it clearly
 * fewer rows, which is tried now and then.
 */

/** Above this share of rows in changes a set saves nothing by its size. */
const fullShare = 0.9;

/** What twice the size must bring: the share of rows falls to this part of what it was. */
const worthIt = 0.9;

/** Sets until a larger one is tried again that was not worth it. */
const triedEvery = 16;

export class SetSize {
  readonly #min: number;
  readonly #max: number;
  #current: number;
  /** The size before this one, and what share of its changes were rows. */
  #smaller: { readonly size: number; readonly share: number } | null = null;
  #patience = 0;

  constructor({ minChanges, maxChanges }: { readonly minChanges: number; readonly maxChanges: number }) {
    this.#max = maxChanges;
    this.#min = Math.min(minChanges, maxChanges);
    this.#current = this.#min;
  }

  /** Changes that the set at hand may hold. */
  get current(): number {
    return this.#current;
  }

  /**
   * A set was full; so many rows were its changes. The next one
   * 1. is smaller, where nothing happened to rows twice;
   * 2. is as the one before, where twice its size brought little;
   * 3. stays, for a while after 2, and at the largest;
   * 4. is larger.
   */
  wasFull(changes: number, rows: number): void {
    const share = rows / changes;
    const smaller = this.#smaller;
    if (share > fullShare) {
      this.#current = Math.max(this.#min, Math.floor(this.#current / 2)); // 1
      this.#smaller = null;
    } else if (smaller !== null && share > smaller.share * worthIt) {
      this.#current = smaller.size; // 2
      this.#smaller = null;
      this.#patience = triedEvery;
    } else if (this.#patience > 0) {
      this.#patience -= 1; // 3
    } else {
      const size = Math.min(this.#max, this.#current * 2); // 4
      this.#smaller = size === this.#current ? null : { size: this.#current, share };
      this.#current = size;
    }
  }
}
