/** The steps of a cutover, said and timed as they go, and kept in the catalog. */
import { saveCutoverSteps, type CutoverStepRecord } from '../catalog/cutover.js';
import { closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import { asFailure } from '../failure.js';
import type { Log } from '../log.js';

/** In the order in which they are done. */
export const stepNames = [
  'prove',
  'before-freeze',
  'freeze',
  'quiet',
  'mark',
  'drain',
  'copy-again',
  'verify',
  'late-writes',
  'sequences',
  'finalize',
  'still-quiet',
  'open',
  'after',
  'validate',
  'schemas',
  'undo',
] as const;
export type StepName = (typeof stepNames)[number];

const sentences: Readonly<Record<StepName, string>> = {
  prove: 'comparing both sides while changes flow, before the pause',
  'before-freeze': 'running the command before the freeze',
  freeze: 'stopping writes on the source',
  quiet: 'waiting until no transaction writes any more',
  mark: 'marking the end position on the source',
  drain: 'waiting until everything up to the end position is on the target',
  'copy-again': 'copying tables again whose changes the stream does not carry',
  verify: 'comparing both sides',
  'late-writes': 'looking for writes behind the end position',
  finalize: 'completing the target: foreign keys, triggers and what else waits for the last row',
  sequences: 'setting the sequences',
  'still-quiet': 'looking for writes behind the end position again',
  open: 'the application may write to the target',
  after: 'running the command after the switch',
  validate: 'foreign keys whose old rows are checked after the switch',
  schemas: 'comparing the schemas of both sides',
  undo: 'undoing: the source takes writes again, and the stream goes on',
};

export class Steps implements Disposable {
  /** A connection of its own: the steps are for people, and must not wait for the disk in the pause. */
  readonly #catalog: Catalog;
  readonly #log: Log;
  readonly #records: CutoverStepRecord[];

  /** `earlier`: those of the processes before, when this one goes on. */
  constructor(directory: string, log: Log, earlier: readonly CutoverStepRecord[]) {
    this.#catalog = openCatalog(directory, 'status');
    this.#log = log;
    this.#records = [...earlier];
  }

  get records(): readonly CutoverStepRecord[] {
    return this.#records;
  }

  /** Does one step; what `work` returns is said beside the time. */
  async do(name: StepName, work: () => Promise<string>): Promise<void> {
    const began = performance.now();
    const startedAt = new Date().toISOString();
    const place = this.#records.push({ name, startedAt, ms: null, detail: '' }) - 1;
    this.#save(name);
    this.#log.info(`cutover: ${sentences[name]}`);
    const end = (detail: string) => {
      const ms = Math.round(performance.now() - began);
      this.#records[place] = { name, startedAt, ms, detail };
      this.#save(name);
      return ms;
    };
    try {
      const detail = await work();
      const ms = end(detail);
      this.#log.info(`cutover: ${name} done in ${ms} ms${detail === '' ? '' : `: ${detail}`}`);
    } catch (error) {
      end(`failed: ${asFailure(error).message.split('\n')[0]}`);
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeCatalog(this.#catalog);
  }

  #save(name: StepName): void {
    try {
      saveCutoverSteps(this.#catalog, this.#records);
    } catch (error) {
      // The source must not stay frozen because nothing can be noted any more.
      if (name !== 'undo') throw error;
      this.#log.warn(`the step "${name}" could not be noted: ${asFailure(error).message.split('\n')[0]}`);
    }
  }
}
