/**
 * The server's roles as commands of their own: `copy roles`, `dump roles`, `restore roles`. They need no snapshot and
 * no schema. A dumped script holds password hashes unless told otherwise: it lies in the work directory, which nobody
 * else may read.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { takeLocks } from '../catalog/lock.js';
import type { Problem } from '../clone/options.js';
import { copyRoles, dumpRoles, replayRoles } from '../clone/roles.js';
import { schemaPaths } from '../clone/schema-file.js';
import { Failure } from '../failure.js';
import type { Log } from '../log.js';
import { connect } from '../postgres/connect.js';
import type { Conninfo } from '../postgres/connection-string.js';

export type RoleCommandOptions = {
  readonly directory: string;
  /** False: --no-role-passwords. */
  readonly passwords: boolean;
  readonly log: Log;
  readonly signal: AbortSignal;
};

function scriptFile(directory: string): string {
  return join(schemaPaths(directory).folder, 'roles.sql');
}

/** From server to server; nothing is written here. Gives what was refused. */
export async function copyRolesNow(
  options: RoleCommandOptions & { readonly source: Conninfo; readonly target: Conninfo },
): Promise<Problem[]> {
  const serverVersion = await fetchServerVersion(options);
  return await copyRoles({ ...options, serverVersion });
}

/** Writes `schema/roles.sql`, whole or not at all. */
export async function dumpRolesToFile(
  options: RoleCommandOptions & { readonly source: Conninfo },
): Promise<Problem[]> {
  const { directory, log } = options;
  const lock = takeLocks(directory, ['clone']);
  try {
    const problems: Problem[] = [];
    const serverVersion = await fetchServerVersion(options);
    const script = await dumpRoles({ ...options, serverVersion }, problems);
    await mkdir(schemaPaths(directory).folder, { recursive: true, mode: 0o700 });
    const file = scriptFile(directory);
    await writeFile(`${file}.partial`, script, { mode: 0o600 });
    await rename(`${file}.partial`, file);
    log.info(`dumped the roles into ${file}`);
    return problems;
  } finally {
    lock.release();
  }
}

/** Replays `schema/roles.sql`. Throws `work-directory-broken` when there is none. */
export async function restoreRolesFromFile(
  options: Omit<RoleCommandOptions, 'passwords'> & { readonly target: Conninfo },
): Promise<Problem[]> {
  const file = scriptFile(options.directory);
  let script: string;
  try {
    script = await readFile(file, 'utf8');
  } catch (error) {
    throw new Failure('work-directory-broken', `${file} cannot be read`, {
      cause: error,
      remedy: 'Run `walferry dump roles` with this --dir first.',
    });
  }
  return await replayRoles(script, options);
}

async function fetchServerVersion(
  options: RoleCommandOptions & { readonly source: Conninfo },
): Promise<number> {
  const { source, log, signal } = options;
  await using session = await connect(source, {
    side: 'source',
    applicationName: 'walferry roles',
    log,
    signal,
  });
  return session.serverVersion;
}
