/**
 * Keeps the files in which lines of a pipe are put within --max-journal-size: above it no more is read, so that whoever
 * prints waits, until files are applied and removed. What the applier waits for is read all the same, since it could not
 * go on: a transaction that alone is larger than the limit comes through, and then both go in step.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../log.js';
import { prettySize } from '../model/size.js';
import type { LineSpool } from './line-pipe.js';
import { pause } from './together.js';

/** Who applies the lines. */
export type LineApplier = {
  /** Whether it has taken all that is there, and waits for more. */
  readonly starves: boolean;
  /** Removes what is applied. */
  readonly prune: () => Promise<void>;
};

const lookAgainMs = 50;

export class LineBrake {
  readonly #spool: LineSpool;
  readonly #capBytes: number;
  readonly #log: Log;
  /** What the files took when they were counted last, and how much had been written by then. */
  #counted = 0;
  #writtenThen = 0;
  #said = false;
  /** Null before it begins. */
  applier: LineApplier | null = null;

  constructor(spool: LineSpool, log: Log) {
    this.#spool = spool;
    this.#capBytes = spool.capBytes;
    this.#log = log;
  }

  /** Resolves when more may be read. */
  async untilRoom(signal: AbortSignal): Promise<void> {
    if (this.#bytes <= this.#capBytes) return;
    await this.#count();
    while (this.#bytes > this.#capBytes && this.applier?.starves !== true) {
      await this.applier?.prune();
      await this.#count();
      if (this.#bytes <= this.#capBytes) break;
      if (!this.#said) {
        this.#log.info(
          `standard input is not read on: what is not applied yet takes ${prettySize(this.#bytes)}, more than --max-journal-size`,
        );
      }
      this.#said = true;
      await pause(lookAgainMs, signal);
    }
  }

  get #bytes(): number {
    return this.#counted + this.#spool.written - this.#writtenThen;
  }

  async #count(): Promise<void> {
    const { directory, written } = this.#spool;
    const sizes = (await readdir(directory)).map(async (name) => {
      // One that is removed meanwhile takes nothing.
      return await stat(join(directory, name)).then(
        ({ size }) => size,
        () => 0,
      );
    });
    this.#counted = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
    this.#writtenThen = written;
  }
}
