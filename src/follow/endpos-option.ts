import { setEndposByHand } from '../catalog/cutover.js';
import type { Catalog } from '../catalog/database.js';
import { loadSentinel } from '../catalog/sentinel.js';
import type { Log } from '../log.js';
import { formatLsn, zeroLsn, type Lsn } from '../model/lsn.js';

/**
 * --endpos of a command; null where it was not given. It counts for what is set now. A line that is run again may take
 * back a later one by it, which was set from another terminal meanwhile: that is said.
 */
export function takeEndposOption(catalog: Catalog, endpos: Lsn | null, log: Log): void {
  if (endpos === null) return;
  const before = loadSentinel(catalog)?.endpos ?? zeroLsn;
  setEndposByHand(catalog, endpos);
  if (before <= endpos) return;
  log.warn(
    `the end position is set back from ${formatLsn(before)} to ${formatLsn(endpos)}, as --endpos says: leave the option out to keep what was set last`,
  );
}
