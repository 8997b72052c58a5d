/**
 * The looks at one work directory on behalf of everybody who asks: however many ask, and however often, it is read a
 * few times a second at most.
 */
import { asFailure, type Failure } from '../failure.js';
import { readStatus, type RunStatus } from './status.js';

/** Often enough for a person and for a monitoring system. */
const freshMs = 200;

/** A look at a clone of very many tables takes its time, and the run's: no more than a thirtieth of it. */
export const restPerLook = 30;

export type Looked =
  | { readonly kind: 'status'; readonly status: RunStatus }
  /** The directory cannot be read now, as while --restart empties it. */
  | { readonly kind: 'trouble'; readonly failure: Failure };

export class Looks {
  readonly #directory: string;
  #last: Looked | null = null;
  #freshUntil = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The status as it was a moment ago. Never throws. */
  get(): Looked {
    const now = performance.now();
    if (this.#last !== null && now < this.#freshUntil) return this.#last;
    try {
      this.#last = { kind: 'status', status: readStatus(this.#directory) };
    } catch (error) {
      this.#last = { kind: 'trouble', failure: asFailure(error) };
    }
    const took = performance.now() - now;
    this.#freshUntil = now + Math.max(freshMs, took * restPerLook);
    return this.#last;
  }
}

export type Health = { readonly healthy: boolean; readonly state: string };

/** Whether what should go on goes on: a run that failed, was stopped or killed, or lost its slot, is not healthy. */
export function judgeHealth(looked: Looked): Health {
  if (looked.kind === 'trouble') return { healthy: false, state: 'unknown' };
  const { state, slot } = looked.status;
  if (slot?.verdict === 'lost' && state !== 'done') return { healthy: false, state: 'slot-lost' };
  return { healthy: !['unknown', 'stopped', 'failed', 'gone'].includes(state), state };
}
