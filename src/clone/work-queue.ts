/**
 * Work for a fixed number of asynchronous workers: whoever is free takes the next piece, and waits when there is
 * none until the queue is closed. The next piece is the one of the greatest weight, and of equals the first.
 */
export class WorkQueue<Piece> {
  readonly #weightOf: (piece: Piece) => number;
  readonly #pieces: { readonly piece: Piece; readonly weight: number }[] = [];
  readonly #waiting: ((piece: Piece | null) => void)[] = [];
  #closed = false;

  /** All pieces weigh the same unless told. */
  constructor(weightOf: (piece: Piece) => number = () => 0) {
    this.#weightOf = weightOf;
  }

  push(piece: Piece): void {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return waiting(piece);
    const weight = this.#weightOf(piece);
    const lighter = this.#pieces.findLastIndex((other) => other.weight >= weight) + 1;
    this.#pieces.splice(lighter, 0, { piece, weight });
  }

  /** The next piece of those that are wanted; null when none is there now. */
  take(isWanted: (piece: Piece) => boolean): Piece | null {
    const at = this.#pieces.findIndex(({ piece }) => isWanted(piece));
    return at === -1 ? null : (this.#pieces.splice(at, 1)[0]?.piece ?? null);
  }

  /** The next piece; null when the queue is closed and empty. */
  next(): Promise<Piece | null> {
    const first = this.#pieces.shift();
    if (first !== undefined) return Promise.resolve(first.piece);
    if (this.#closed) return Promise.resolve(null);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** No more pieces will come. */
  close(): void {
    this.#closed = true;
    for (const waiting of this.#waiting.splice(0)) waiting(null);
  }
}

/** Runs `count` workers until each of them ends. */
export async function runWorkers(count: number, worker: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => worker()));
}
