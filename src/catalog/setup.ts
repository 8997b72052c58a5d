/**
 * What a work directory was made for: the settings that a resumed run must share, and the run's phases.
 */
import { formatLsn, readLsn, type Lsn } from '../model/lsn.js';
import type { Catalog } from './database.js';

/** The settings that decide what a run does; job counts, logging and the like are not among them. */
export type RunSettings = Readonly<Record<string, string | number | boolean | null>>;

export type Setup = {
  /** The walferry version that made the directory. */
  readonly version: string;
  /** Descriptions without passwords. */
  readonly source: string;
  readonly target: string | null;
  readonly settings: RunSettings;
};

/** The recorded setup; null in a fresh directory. */
export function loadSetup(catalog: Catalog): Setup | null {
  const row = catalog.database
    .prepare<[], { version: string; source: string; target: string | null; settings: string }>(
      'select version, source, target, settings from setup where id = 1',
    )
    .get();
  if (row === undefined) return null;
  return { ...row, settings: JSON.parse(row.settings) as RunSettings };
}

export function saveSetup(catalog: Catalog, setup: Setup): void {
  catalog.database
    .prepare('insert or replace into setup (id, version, source, target, settings) values (1, ?, ?, ?, ?)')
    .run(setup.version, setup.source, setup.target, JSON.stringify(setup.settings));
}

/** What differs between a recorded and a wanted setup, one phrase each; settings only one of them knows are equal. */
export function setupDifferences(recorded: Setup, wanted: Setup): string[] {
  const differences: string[] = [];
  const say = (name: string, was: unknown, is: unknown) => {
    if (was !== is) differences.push(`${name} was ${JSON.stringify(was)} and is now ${JSON.stringify(is)}`);
  };
  say('source', recorded.source, wanted.source);
  if (recorded.target !== null && wanted.target !== null) say('target', recorded.target, wanted.target);
  for (const [name, is] of Object.entries(wanted.settings)) {
    const was = recorded.settings[name];
    if (was !== undefined) say(name, was, is);
  }
  return differences;
}

/**
 * The steps of a run that are done once, in their order. A phase is done when it is recorded here, and its effect was
 * durable before that.
 */
export const phaseNames = ['slot', 'copy', 'drain', 'sequences', 'finalize'] as const;

/** What single commands (`restore pre-data`, `copy table-data`, …) leave on the target, and a resumed one trusts. */
export const stepPhases = ['pre-data', 'rows', 'large-objects', 'extensions'] as const;
export type StepPhase = (typeof stepPhases)[number];

/**
 * `writable`: a part of finalize. The application may write to the target; what is left (foreign keys that are still
 * being validated) keeps nobody from it.
 */
export type PhaseName = (typeof phaseNames)[number] | StepPhase | 'writable';

export function phaseDone(catalog: Catalog, name: PhaseName): boolean {
  const row = catalog.database
    .prepare('select 1 from phase where name = ? and done_at is not null')
    .get(name);
  return row !== undefined;
}

export function startPhase(catalog: Catalog, name: PhaseName): void {
  catalog.database
    .prepare('insert into phase (name, started_at) values (?, ?) on conflict (name) do nothing')
    .run(name, new Date().toISOString());
}

export function phaseStarted(catalog: Catalog, name: PhaseName): boolean {
  return catalog.database.prepare('select 1 from phase where name = ?').get(name) !== undefined;
}

export function endPhase(catalog: Catalog, name: PhaseName): void {
  startPhase(catalog, name);
  catalog.database
    .prepare('update phase set done_at = ? where name = ? and done_at is null')
    .run(new Date().toISOString(), name);
}

/** Forgets that phases were done: a new end position after the old one was reached drains again. */
export function reopenPhases(catalog: Catalog, names: readonly PhaseName[]): void {
  const forget = catalog.database.prepare('delete from phase where name = ?');
  for (const name of names) forget.run(name);
}

/** What was done behind an end position is to be done again: it was taken back, or moved. */
export function reopenEnd(catalog: Catalog): void {
  // What a clone has made on the target stays there.
  if (phaseDone(catalog, 'finalize')) saveSetting(catalog, completedSetting, true);
  reopenPhases(catalog, ['drain', 'sequences', 'writable', 'finalize']);
}

const completedSetting = 'completed';
const reachedSetting = 'reached';

function saveSetting(catalog: Catalog, name: string, value: string | boolean): void {
  const setup = loadSetup(catalog);
  if (setup !== null) saveSetup(catalog, { ...setup, settings: { ...setup.settings, [name]: value } });
}

/** Whether a clone in this directory has made everything on the target, now or before its end was opened again. */
export function wasCompleted(catalog: Catalog): boolean {
  return phaseDone(catalog, 'finalize') || loadSetup(catalog)?.settings[completedSetting] === true;
}

/** Remembers the end position that the stream of this run has reached last: what is done behind it is done for this one. */
export function saveReached(catalog: Catalog, endpos: Lsn): void {
  saveSetting(catalog, reachedSetting, formatLsn(endpos));
}

/** Null before one was reached, and where a walferry that did not remember it has reached it. */
export function loadReached(catalog: Catalog): Lsn | null {
  const reached = loadSetup(catalog)?.settings[reachedSetting];
  return typeof reached === 'string' ? readLsn(reached) : null;
}
