/**
 * The sentinel from a second terminal: of the run that listens where `control` says, else by the files, where each
 * call opens the catalog of a work directory for a moment. Looking never makes anything.
 */
import { catalogExists, closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import { expectNoCutover, setEndposByHand } from '../catalog/cutover.js';
import { requireSentinel, setApply, setStartpos, setupSentinel } from '../catalog/sentinel.js';
import { loadStream } from '../catalog/stream.js';
import { requireCatalog, requireCatalogToRead } from '../catalog/work-directory.js';
import { markSource } from '../control/mark.js';
import { fetchStatus, sendChange, sendPrune, type ControlTarget } from '../control/client.js';
import {
  controlLabel,
  type ControlStatus,
  type PruneResult,
  type SentinelChange,
} from '../control/protocol.js';
import { Failure } from '../failure.js';
import { pruneJournal } from '../journal/prune.js';
import type { Log } from '../log.js';
import type { Lsn } from '../model/lsn.js';
import type { Sentinel } from '../model/progress.js';
import type { Conninfo } from '../postgres/connection-string.js';

/** Whose sentinel it is. */
export type SentinelPlace = {
  /** The work directory. */
  readonly directory: string;
  /** The run to ask; null: the files of the work directory. */
  readonly control: ControlTarget | null;
  readonly log: Log;
};

function withCatalog<Result>(catalog: Catalog, work: (catalog: Catalog) => Result): Result {
  try {
    return work(catalog);
  } finally {
    closeCatalog(catalog);
  }
}

/** The sentinel of a work directory as it stands. Throws when nothing was set up in the directory. */
export function readSentinelOf(directory: string): Sentinel {
  return withCatalog(requireCatalogToRead(directory), requireSentinel);
}

/** The sentinel as it stands. When nobody listens any more it is read from the work directory, which is said. */
export async function fetchSentinel({ directory, control, log }: SentinelPlace): Promise<Sentinel> {
  if (control === null) return readSentinelOf(directory);
  try {
    return (await fetchStatus(control)).sentinel;
  } catch (error) {
    const gone = error instanceof Failure && error.code === 'control-unreachable';
    if (!gone || !catalogExists(directory)) throw error;
    log.warn(
      `nobody listens on ${controlLabel(control)} any more: this is what the work directory ${directory} says`,
    );
    return readSentinelOf(directory);
  }
}

/** Makes the sentinel anew, with applying switched off. */
export function makeSentinelOf(directory: string, startpos: Lsn, endpos: Lsn): void {
  withCatalog(openCatalog(directory), (catalog) => {
    expectNoCutover(catalog);
    setupSentinel(catalog, startpos, endpos);
  });
}

/** Sets one thing, where the place says and nowhere else: a setting that went elsewhere would be taken for done. */
export async function setSentinel(place: SentinelPlace, change: SentinelChange): Promise<void> {
  if (place.control !== null) {
    await sendChange(place.control, change);
    return;
  }
  withCatalog(requireCatalog(place.directory), (catalog) => {
    if ('endpos' in change) setEndposByHand(catalog, change.endpos);
    else if ('startpos' in change) setStartpos(catalog, change.startpos);
    else setApply(catalog, change.apply);
  });
}

/**
 * Marks where the source stands now, so that something arrives behind it also on an idle source. Nothing is written
 * to the source when there is no stream to end, and the position of another server is never taken for this stream's.
 */
export async function markEndpos(place: SentinelPlace, source: Conninfo, signal: AbortSignal): Promise<Lsn> {
  const { directory, control, log } = place;
  const status =
    control === null ? withCatalog(requireCatalogToRead(directory), statusOf) : await fetchStatus(control);
  return await markSource({ source, systemIdentifier: status.systemIdentifier, log, signal });
}

function statusOf(catalog: Catalog): ControlStatus {
  const key = loadStream(catalog)?.key;
  return {
    sentinel: requireSentinel(catalog),
    systemIdentifier: key?.systemIdentifier ?? null,
    database: key?.database ?? null,
  };
}

/**
 * `stream prune`: by the sentinel's replay_lsn, which is never ahead of the target. Nothing is kept in reserve: who
 * prunes by hand wants the space.
 */
export async function pruneApplied(
  place: SentinelPlace & { readonly journalDirectory: string; readonly dryRun: boolean },
): Promise<PruneResult> {
  const { directory, journalDirectory, control, dryRun } = place;
  if (control !== null) return await sendPrune(control, dryRun);
  const applied = readSentinelOf(directory).replayLsn;
  return { ...(await pruneJournal(journalDirectory, applied, { dryRun, keepBytes: 0 })), applied };
}
