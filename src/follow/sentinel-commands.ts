/**
 * The sentinel from a second terminal: each call opens the catalog of a work directory for a moment. Looking never
 * makes anything.
 */
import { closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import { requireSentinel, setApply, setEndpos, setStartpos, setupSentinel } from '../catalog/sentinel.js';
import { requireCatalog } from '../catalog/work-directory.js';
import type { Log } from '../log.js';
import type { Lsn } from '../model/lsn.js';
import type { Sentinel } from '../model/progress.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';
import { emitMark } from '../postgres/logical-message.js';

function withCatalog<Result>(catalog: Catalog, work: (catalog: Catalog) => Result): Result {
  try {
    return work(catalog);
  } finally {
    closeCatalog(catalog);
  }
}

/** The sentinel as it stands. Throws when nothing was set up in the directory. */
export function readSentinelOf(directory: string): Sentinel {
  return withCatalog(requireCatalog(directory), requireSentinel);
}

/** Makes the sentinel anew, with applying switched off. */
export function makeSentinelOf(directory: string, startpos: Lsn, endpos: Lsn): void {
  withCatalog(openCatalog(directory), (catalog) => setupSentinel(catalog, startpos, endpos));
}

export function setStartposOf(directory: string, lsn: Lsn): void {
  withCatalog(requireCatalog(directory), (catalog) => setStartpos(catalog, lsn));
}

export function setEndposOf(directory: string, lsn: Lsn): void {
  withCatalog(requireCatalog(directory), (catalog) => setEndpos(catalog, lsn));
}

export function setApplyOf(directory: string, apply: boolean): void {
  withCatalog(requireCatalog(directory), (catalog) => setApply(catalog, apply));
}

/**
 * Marks where the source stands now, so that something arrives behind it also on an idle source. Nothing is written
 * to the source when the directory has no stream to end.
 */
export async function markEndpos(
  directory: string,
  source: Conninfo,
  log: Log,
  signal: AbortSignal,
): Promise<Lsn> {
  readSentinelOf(directory);
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry sentinel',
    log,
    signal,
  });
  return await emitMark(session);
}
