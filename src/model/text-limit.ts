/**
 * How long a text can be. A string of the engine has an end, and a line of a transform file that has more would be
 * written, and could never be read: so what is too long is refused before it is written, and before the source is told
 * that it may forget it.
 */
import { constants } from 'node:buffer';
import { Failure } from '../failure.js';
import { formatLsn, type Lsn } from './lsn.js';

/** The most UTF-16 units that a string has: about half a gigabyte of ASCII. */
export const longestText = constants.MAX_STRING_LENGTH;

/** Whether UTF-8 has more UTF-16 units than `limit`. Counted only where it has more bytes. */
export function isLongerThan(limit: number, bytes: Buffer, start: number, end: number): boolean {
  // No unit takes less than a byte.
  if (end - start <= limit) return false;
  let units = 0;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at]!;
    if ((byte & 0xc0) !== 0x80) units += byte >= 0xf0 ? 2 : 1;
  }
  return units > limit;
}

/** `plugin-limit`: `what` begins the sentence, for example `a row of public.t`. */
export function tooLong(what: string, lsn: Lsn, limit: number): Failure {
  return new Failure(
    'plugin-limit',
    `${what} at ${formatLsn(lsn)} is longer than a change that is passed on can be (${limit} characters); ` +
      'nothing of its transaction was acknowledged',
    {
      remedy:
        'Start again with --restart: the copy takes rows of any size; or leave the table out with --filters. Changes of such ' +
        'rows cannot be followed, so keep the application from writing them until the cutover.',
    },
  );
}
