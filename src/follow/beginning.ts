/** Something that is about to begin, and is waited for, but not for ever. */
export class Beginning {
  #awaited: Promise<void> | null = null;
  #over: (() => void) | null = null;

  /** Resolves when it has begun, or was given up; null while there is nothing to wait for. */
  get awaited(): Promise<void> | null {
    return this.#awaited;
  }

  /** It is about to begin, and worth so much waiting. */
  expect(milliseconds: number): void {
    this.#over?.();
    this.#awaited = new Promise((resolve) => {
      const timer = setTimeout(() => this.over(), milliseconds);
      this.#over = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** It has begun, or will not. */
  over(): void {
    this.#over?.();
    this.#over = null;
    this.#awaited = null;
  }
}
