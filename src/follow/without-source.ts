/** What can still be done with a stream whose source does not answer any more: a source that has died may never. */
import type { Catalog } from '../catalog/database.js';
import { loadSentinel } from '../catalog/sentinel.js';
import { Failure } from '../failure.js';
import { formatLsn } from '../model/lsn.js';
import { endposReached } from './sentinel-watch.js';

/**
 * The failure of a run that applies, with how to apply without the source what is received and not yet applied; the same
 * failure where that is nothing, or the source is not what is missing.
 */
export function orWithoutSource(failure: Failure, catalog: Catalog): Failure {
  if (failure.code !== 'source-unreachable' && failure.code !== 'source-disconnected') return failure;
  const sentinel = loadSentinel(catalog);
  if (sentinel === null || sentinel.flushLsn <= sentinel.replayLsn) return failure;
  const { endpos, flushLsn } = sentinel;
  const received = endposReached(endpos, flushLsn)
    ? `Everything up to the end position ${formatLsn(endpos)} is received`
    : `What was committed up to ${formatLsn(flushLsn)} is received, and no end position is reached`;
  return new Failure(failure.code, failure.message, {
    remedy: `${failure.remedy} ${received}: \`walferry stream catchup\` applies it without the source.`,
    cause: failure,
  });
}
