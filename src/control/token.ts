/**
 * The token that a client of the remote control must show. WALFERRY_TOKEN on both sides is one; else the run makes
 * one into its work directory, readable by its owner alone: who can read it can change the run by the files as well.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, systemReason } from '../failure.js';

const tokenBytes = 24;

function tokenFile(directory: string): string {
  return join(directory, 'token');
}

/** The token of a work directory; null where none was made. */
export function loadToken(directory: string): string | null {
  try {
    const text = readFileSync(tokenFile(directory), 'utf8').trim();
    return text === '' ? null : text;
  } catch {
    return null;
  }
}

/** The same, made where there is none. Throws `work-directory-broken` when it cannot be written. */
export function makeToken(directory: string): string {
  const known = loadToken(directory);
  if (known !== null) return known;
  const file = tokenFile(directory);
  const whole = `${file}.${process.pid}`;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(whole, `${randomBytes(tokenBytes).toString('base64url')}\n`, { mode: 0o600 });
    // Two runs may begin together (receive and apply): the first file stays. An empty one is what a full disk left.
    if (existsSync(file) && loadToken(directory) === null) renameSync(whole, file);
    else linkIfNew(whole, file);
    rmSync(whole, { force: true });
  } catch (error) {
    throw new Failure(
      'work-directory-broken',
      `the token cannot be written into ${directory}${systemReason(error)}`,
      {
        cause: error,
      },
    );
  }
  return loadToken(directory) ?? '';
}

function linkIfNew(whole: string, file: string): void {
  try {
    linkSync(whole, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Takes the same time wherever they differ. */
export function isSameToken(shown: string, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return token !== '' && timingSafeEqual(digest(shown), digest(token));
}
