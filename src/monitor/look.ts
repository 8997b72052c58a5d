/**
 * The looks at one work directory on behalf of everybody who asks: however many ask, and however often, it is read a
 * few times a second at most.
 */
import { asFailure, type Failure } from '../failure.js';
import { readStatus, readStatusAndDetails, type RunDetails, type RunStatus } from './status.js';

/** Often enough for a person and for a monitoring system. */
const freshMs = 200;

/** A look at a clone of very many tables takes its time, and the run's: no more than a thirtieth of it. */
export const restPerLook = 30;

export type Seen<T> =
  | { readonly kind: 'seen'; readonly value: T }
  /** The directory cannot be read now, as while --restart empties it. */
  | { readonly kind: 'trouble'; readonly failure: Failure };

/** Something that is read anew only when the last reading is old, and the more seldom the longer it takes. */
export class Look<T> {
  readonly #read: () => T;
  #last: Seen<T> | null = null;
  #freshUntil = 0;

  constructor(read: () => T) {
    this.#read = read;
  }

  /** As it was a moment ago. Never throws. */
  get(): Seen<T> {
    const began = performance.now();
    if (this.#last !== null && began < this.#freshUntil) return this.#last;
    try {
      this.#last = { kind: 'seen', value: this.#read() };
    } catch (error) {
      this.#last = { kind: 'trouble', failure: asFailure(error) };
    }
    const now = performance.now();
    this.#freshUntil = now + Math.max(freshMs, (now - began) * restPerLook);
    return this.#last;
  }
}

/** As many tables as a screen shows, and as many samples and lines as somebody reads who has just come. */
const detailsOf = { tables: 100, samplesMs: 600_000, lineId: 0 } as const;

/** The two things that are asked for one at a time. */
export class Looks {
  readonly status: Look<RunStatus>;
  readonly details: Look<RunDetails>;

  constructor(directory: string) {
    this.status = new Look(() => readStatus(directory));
    this.details = new Look(() => {
      const sampleMs = Date.now() - detailsOf.samplesMs;
      return readStatusAndDetails(directory, { ...detailsOf, sampleMs }).details;
    });
  }
}

export type Health = { readonly healthy: boolean; readonly state: string };

/** Whether what should go on goes on: a run that failed, was stopped or killed, or lost its slot, is not healthy, nor a cutover that was killed. */
export function judgeHealth(seen: Seen<RunStatus>): Health {
  if (seen.kind === 'trouble') return { healthy: false, state: 'unknown' };
  const { state, slot, cutover } = seen.value;
  if (cutover?.abandoned === true) return { healthy: false, state: 'cutover-abandoned' };
  if (slot?.verdict === 'lost' && state !== 'done') return { healthy: false, state: 'slot-lost' };
  return { healthy: !['unknown', 'stopped', 'failed', 'gone'].includes(state), state };
}
