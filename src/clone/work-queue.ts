/**
 * Work for a fixed number of asynchronous workers: whoever is free takes the next piece, and waits when there is
 * none until the queue is closed.
 */
export class WorkQueue<Piece> {
  readonly #pieces: Piece[] = [];
  readonly #waiting: ((piece: Piece | null) => void)[] = [];
  #closed = false;

  push(piece: Piece): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#pieces.push(piece);
    else waiting(piece);
  }

  /** The next piece; null when the queue is closed and empty. */
  next(): Promise<Piece | null> {
    const piece = this.#pieces.shift();
    if (piece !== undefined) return Promise.resolve(piece);
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
