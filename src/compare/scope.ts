/**
 * What a comparison need not look at: a run that was told to leave tables out remembers them in its work directory.
 */
import { catalogExists, closeCatalog, openCatalog, type Catalog } from '../catalog/database.js';
import { loadFilter } from '../catalog/filter-record.js';
import { isLocked } from '../catalog/lock.js';
import { loadSentinel } from '../catalog/sentinel.js';
import { loadSetup } from '../catalog/setup.js';
import { loadStream } from '../catalog/stream.js';
import { keepsOf, type Keeps } from '../filter/scope.js';
import type { PublishedPart } from '../model/published-part.js';
import type { StreamKey } from '../model/stream-key.js';
import { describeConninfo, type Conninfo } from '../postgres/connection-string.js';

/** The tables that the run of this directory copies; null where it copies all, or is a run of other servers. */
export function loadComparedTables(directory: string, source: Conninfo, target: Conninfo): Keeps | null {
  if (!catalogExists(directory)) return null;
  const catalog = openCatalog(directory, 'status');
  try {
    const scope = loadFilter(catalog)?.scope ?? null;
    return scope === null || isOfOtherServers(catalog, source, target) ? null : keepsOf(scope);
  } finally {
    closeCatalog(catalog);
  }
}

/** Of which tables the stream of this directory carries a part; none where it is a run of other servers. */
export function loadComparedParts(
  directory: string,
  source: Conninfo,
  target: Conninfo,
): readonly PublishedPart[] {
  if (!catalogExists(directory)) return [];
  const catalog = openCatalog(directory, 'status');
  try {
    return isOfOtherServers(catalog, source, target) ? [] : (loadStream(catalog)?.parts ?? []);
  } finally {
    closeCatalog(catalog);
  }
}

/** Whether a work directory is a run's between other servers. `follow` records no setup: its directory is its stream's. */
export function isOfOtherServers(catalog: Catalog, source: Conninfo, target: Conninfo): boolean {
  const setup = loadSetup(catalog);
  return (
    setup !== null &&
    (setup.source !== describeConninfo(source) ||
      (setup.target !== null && setup.target !== describeConninfo(target)))
  );
}

/**
 * The stream by which the run of this directory keeps the target level with the source at this moment; null where no
 * run applies changes, or it is one of other servers. Not for the process of that run itself, which knows.
 */
export function loadFollowed(directory: string, source: Conninfo, target: Conninfo): StreamKey | null {
  if (!catalogExists(directory) || !isLocked(directory, 'apply')) return null;
  const catalog = openCatalog(directory, 'status');
  try {
    if (isOfOtherServers(catalog, source, target)) return null;
    return loadSentinel(catalog)?.apply === true ? (loadStream(catalog)?.key ?? null) : null;
  } finally {
    closeCatalog(catalog);
  }
}
