/**
 * What a clone has to have done before changes are applied behind it by another command: all rows must be there, and
 * what waits for the last row (foreign keys, triggers) must be somebody's to make. `follow` makes none of it, and would
 * let the target pass for complete.
 */
import type { Catalog } from '../catalog/database.js';
import { isLocked } from '../catalog/lock.js';
import { phaseDone, phaseStarted, wasCompleted } from '../catalog/setup.js';
import { Failure } from '../failure.js';

/** Throws `work-directory-used` where a copy was begun and is not complete: what is copied later may be older than a change. */
export function expectCopied(catalog: Catalog): void {
  if (phaseDone(catalog, 'copy')) return;
  const isBegun = phaseStarted(catalog, 'rows') && !phaseDone(catalog, 'rows');
  if (!isBegun && !phaseStarted(catalog, 'copy')) return;
  throw new Failure(
    'work-directory-used',
    `the copy in ${catalog.directory} is not complete: changes are applied to a complete one only`,
    { remedy: 'Complete it first: run the command that has begun it again, with --resume.' },
  );
}

/** Throws `work-directory-used` where a clone was begun, has not completed the target, and nobody is at it any more. */
export function expectCompleted(catalog: Catalog): void {
  if (isLocked(catalog.directory, 'clone')) return;
  expectCopied(catalog);
  if (!phaseStarted(catalog, 'copy') || wasCompleted(catalog)) return;
  throw new Failure(
    'work-directory-used',
    `the clone in ${catalog.directory} has not completed the target: foreign keys, triggers and what else waits for the last row are not there, and only a clone makes them`,
    { remedy: 'Go on with the command that has begun it (`walferry clone`, with its options) and --resume.' },
  );
}
