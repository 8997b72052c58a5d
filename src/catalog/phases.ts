import type { Catalog } from './database.js';
import type { PhaseName } from './setup.js';

/** A step of a run as it is recorded; times are milliseconds since 1970. */
export type PhaseRecord = {
  readonly name: PhaseName;
  readonly startedAtMs: number;
  readonly doneAtMs: number | null;
};

/** The steps that were begun, in their order. */
export function loadPhases(catalog: Catalog): PhaseRecord[] {
  return catalog.database
    .prepare<[], { name: PhaseName; started_at: string; done_at: string | null }>(
      'select name, started_at, done_at from phase order by started_at, rowid',
    )
    .all()
    .map(({ name, started_at, done_at }) => ({
      name,
      startedAtMs: Date.parse(started_at),
      doneAtMs: done_at === null ? null : Date.parse(done_at),
    }));
}
