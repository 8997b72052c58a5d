/**
 * The rules of a used work directory (DESIGN 3.10): what a command may do with what it finds there.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../failure.js';
import { catalogExists, closeCatalog, openCatalog, openCatalogToRead, type Catalog } from './database.js';
import { loadSetup, phaseDone, phaseStarted, saveSetup, setupDifferences, type Setup } from './setup.js';

/** What is known of a directory before a run begins. */
export type DirectoryState =
  /** Nothing was begun, or only a stream was set up that this run is meant to use. */
  | { readonly kind: 'unused' }
  | { readonly kind: 'incomplete'; readonly differences: readonly string[] }
  | { readonly kind: 'complete'; readonly differences: readonly string[] };

export type RunRequest = { readonly resume: boolean; readonly restart: boolean };

/** What to do: begin, go on, or nothing because all is done. */
export type RunDecision = 'begin' | 'go-on' | 'nothing-to-do';

/**
 * Decides on a used directory.
 *   1 restart: whatever there is goes (its caller says what), begin
 *   2 unused: begin, also with --resume: a run killed before it recorded anything left nothing to go on from
 *   3 used with other settings: refused
 *   4 complete: nothing to do
 *   5 incomplete with --resume: go on
 *   6 incomplete without: refused, with the line that goes on
 * Throws `work-directory-used`.
 */
export function decideRun(
  state: DirectoryState,
  request: RunRequest,
  directory: string,
  resumeLine: string,
): RunDecision {
  if (request.restart) return 'begin'; // 1
  if (state.kind === 'unused') return 'begin'; // 2
  expectSameRun(directory, state.differences); // 3
  if (state.kind === 'complete') return 'nothing-to-do'; // 4
  if (request.resume) return 'go-on'; // 5
  throw new Failure('work-directory-used', `${directory} holds a run that is not complete`, {
    remedy: `Go on with: ${resumeLine}\nor drop what it did with --restart.`,
  }); // 6
}

/** A directory is not for a run of other settings. Throws `work-directory-used`. */
export function expectSameRun(directory: string, differences: readonly string[]): void {
  if (differences.length === 0) return;
  throw new Failure('work-directory-used', `${directory} belongs to another run: ${differences.join('; ')}`, {
    remedy: 'Use the settings of that run, another --dir, or --restart to drop what it did.',
  });
}

/** Looks at an open catalog. `follow` runs are complete after finalize as well: the stream ended before it. */
export function directoryState(catalog: Catalog, wanted: Setup): DirectoryState {
  const recorded = loadSetup(catalog);
  if (recorded === null || !phaseStarted(catalog, 'copy')) return { kind: 'unused' };
  const differences = setupDifferences(recorded, wanted);
  return { kind: phaseDone(catalog, 'finalize') ? 'complete' : 'incomplete', differences };
}

/** Everything a run leaves in its directory, apart from the locks. */
const ownEntries = [
  'catalog.db',
  'catalog.db-wal',
  'catalog.db-shm',
  'cdc',
  'schema',
  'snapshot',
  'schema.json',
  'summary.json',
  'token',
  'cutover.json',
  'unfreeze.sql',
];

/** Removes what runs left in a directory; anything else in it is not ours and stays. Take the locks first. */
export function clearWorkDirectory(directory: string): void {
  for (const entry of ownEntries) rmSync(join(directory, entry), { recursive: true, force: true });
}

/** Opens the catalog of a directory and records what the run is for, if nothing is recorded yet. */
export function openWorkDirectory(directory: string, setup: Setup): Catalog {
  const catalog = openCatalog(directory);
  try {
    if (loadSetup(catalog) === null) saveSetup(catalog, setup);
    return catalog;
  } catch (error) {
    closeCatalog(catalog);
    throw error;
  }
}

/** Opens the catalog of a directory that must have one. Throws `work-directory-broken` when nothing was begun there. */
export function requireCatalog(directory: string): Catalog {
  expectRun(directory);
  return openCatalog(directory);
}

/** The same, to look only. */
export function requireCatalogToRead(directory: string): Catalog {
  expectRun(directory);
  return openCatalogToRead(directory);
}

function expectRun(directory: string): void {
  if (catalogExists(directory)) return;
  throw new Failure('work-directory-broken', `there is no walferry run in ${directory}`, {
    remedy: 'Name the directory of the run with --dir.',
  });
}

/** `<work directory>/db/<name>`; what cannot stand in a file's name is written as in a URL. Pure. */
export function databaseDirectory(directory: string, name: string): string {
  const safe = encodeURIComponent(name).replaceAll('*', '%2A');
  return join(directory, 'db', /^\.+$/.test(safe) ? safe.replaceAll('.', '%2E') : safe);
}
