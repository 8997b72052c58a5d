/** Counts what a clone has done and tells it, not more often than a screen can show. */
import type { CloneProgress } from './options.js';

const tellEveryMs = 200;

export class ProgressTeller {
  readonly #tell: ((progress: CloneProgress) => void) | undefined;
  #step: CloneProgress['step'] = 'catalog';
  #tables = { total: 0, done: 0 };
  #indexes = { total: 0, done: 0 };
  #bytes = { total: 0, done: 0 };
  #copyBegan = 0;
  #copiedNow = 0;
  #toldAt = 0;

  constructor(tell: ((progress: CloneProgress) => void) | undefined) {
    this.#tell = tell;
  }

  enter(step: CloneProgress['step']): void {
    this.#step = step;
    if (step === 'copy') this.#copyBegan = performance.now();
    this.#tellNow();
  }

  plan(totals: { tables: number; indexes: number; bytes: number }): void {
    this.#tables.total = totals.tables;
    this.#indexes.total = totals.indexes;
    this.#bytes.total = totals.bytes;
  }

  /** Bytes that have just been copied. */
  moved(bytes: number): void {
    this.#bytes.done += bytes;
    this.#copiedNow += bytes;
    if (performance.now() - this.#toldAt >= tellEveryMs) this.#tellNow();
  }

  /** Bytes of a table that an earlier run has copied. */
  found(bytes: number): void {
    this.#bytes.done += bytes;
  }

  /** A copy that failed and begins anew. */
  takeBack(bytes: number): void {
    this.#bytes.done -= bytes;
  }

  tableDone(): void {
    this.#tables.done += 1;
    this.#tellNow();
  }

  indexDone(): void {
    this.#indexes.done += 1;
    this.#tellNow();
  }

  #tellNow(): void {
    this.#toldAt = performance.now();
    const seconds = (this.#toldAt - this.#copyBegan) / 1000;
    this.#tell?.({
      step: this.#step,
      tables: { ...this.#tables },
      indexes: { ...this.#indexes },
      bytes: { ...this.#bytes },
      bytesPerSecond: this.#copyBegan === 0 || seconds <= 0 ? 0 : Math.round(this.#copiedNow / seconds),
    });
  }
}
