/** Removes applied transform files while a stream runs, one removal at a time, beside everything else. */
import { defaultKeepBytes, pruneJournal } from '../journal/prune.js';
import type { JournalWriter } from '../journal/writer.js';
import type { Log } from '../log.js';
import type { Lsn } from '../model/lsn.js';

export type PruningOptions = {
  /** Where the transform files lie, and who writes them in this process. */
  readonly directory: string;
  readonly writer: JournalWriter | null;
  /** What the files may take. */
  readonly capBytes: number;
  /** What the target holds. */
  readonly applied: () => Lsn;
  readonly log: Log;
};

export class Pruning {
  readonly #options: PruningOptions;
  #running: Promise<void> | null = null;
  #troubled = false;

  constructor(options: PruningOptions) {
    this.#options = options;
  }

  /** Begins to remove, unless that is under way; never rejects. A file that cannot be removed costs space, not rows. */
  readonly begin = (): Promise<void> =>
    (this.#running ??= this.#once().finally(() => {
      this.#running = null;
    }));

  /** Resolves when nothing is being removed. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #once(): Promise<void> {
    const { directory, writer, capBytes, applied, log } = this.#options;
    const keepBytes = Math.min(defaultKeepBytes, capBytes / 2);
    try {
      const { files } = await pruneJournal(directory, applied(), {
        dryRun: false,
        keepBytes,
        ...(writer === null ? {} : { writer }),
      });
      await writer?.recount();
      if (files.length > 0) log.notice(`Removed ${files.length} applied transform files`);
      this.#troubled = false;
    } catch (error) {
      if (!this.#troubled) log.warn(`applied transform files cannot be removed now: ${String(error)}`);
      this.#troubled = true;
    }
  }
}
