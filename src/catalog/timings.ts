/**
 * How long each step of a clone took: the rows of the steps table of the summary.
 */
import type { Catalog } from './database.js';

export type StepTiming = {
  readonly step: string;
  /** Null where nothing was done. */
  readonly connection: 'source' | 'target' | 'both' | null;
  readonly durationMs: number;
  readonly bytes: number;
  readonly concurrency: number;
};

/** Stores a step's timing in place of an earlier one. */
export function saveTiming(catalog: Catalog, timing: StepTiming): void {
  catalog.database
    .prepare(
      `insert or replace into timing (step, connection, duration_ms, bytes, concurrency)
       values (?, ?, ?, ?, ?)`,
    )
    .run(
      timing.step,
      timing.connection ?? '',
      Math.round(timing.durationMs),
      timing.bytes,
      timing.concurrency,
    );
}

/** Adds to a step's duration: a resumed run goes on where it was. */
export function addTiming(catalog: Catalog, timing: StepTiming): void {
  const earlier = loadTimings(catalog).find((one) => one.step === timing.step);
  saveTiming(catalog, { ...timing, durationMs: timing.durationMs + (earlier?.durationMs ?? 0) });
}

/** Every stored timing. */
export function loadTimings(catalog: Catalog): StepTiming[] {
  return catalog.database
    .prepare<
      [],
      { step: string; connection: string; duration_ms: number; bytes: number; concurrency: number }
    >('select step, connection, duration_ms, bytes, concurrency from timing order by rowid')
    .all()
    .map((row) => ({
      step: row.step,
      connection: row.connection === '' ? null : (row.connection as 'source' | 'target' | 'both'),
      durationMs: row.duration_ms,
      bytes: row.bytes,
      concurrency: row.concurrency,
    }));
}
