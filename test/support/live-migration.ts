/**
 * A live migration as a person runs it: `clone --follow` in one terminal, the sentinel in another, and the same line
 * with --resume after every crash.
 */
import type { TestDatabase } from './databases.js';
import { walferry, type WalferryExit, type WalferryProcess } from './walferry.js';

export type Migration = {
  readonly source: TestDatabase;
  readonly target: TestDatabase;
  readonly directory: string;
  /** As the superusers of both sides, or as ordinary roles over TLS. */
  readonly role: 'superuser' | 'owner';
};

function uris({ source, target, role }: Migration): {
  PGCOPYDB_SOURCE_PGURI: string;
  PGCOPYDB_TARGET_PGURI: string;
} {
  return {
    PGCOPYDB_SOURCE_PGURI: role === 'owner' ? source.neonUri : source.uri,
    PGCOPYDB_TARGET_PGURI: role === 'owner' ? target.neonUri : target.uri,
  };
}

/** Starts one walferry command of this migration. */
export function run(
  migration: Migration,
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): WalferryProcess {
  return walferry([...command, '--dir', migration.directory], {
    env: { ...uris(migration), ...environment },
  });
}

/** Runs one command to its end. */
export async function runToEnd(migration: Migration, command: readonly string[]): Promise<WalferryExit> {
  await using process = run(migration, command);
  return await process.exit;
}

/** The options that both sides of a migration share: slots are server-wide, so each test has its own. */
export function streamOptions(migration: Migration): string[] {
  return ['--slot-name', `slot_${migration.source.name}`];
}

/** The command line of the migration. */
export function cloneFollow(migration: Migration, ...more: string[]): string[] {
  return ['clone', '--follow', ...streamOptions(migration), ...more];
}

/** Sets the end position to where the source is now, from a second process; false while there is no sentinel yet. */
export async function setEndposNow(migration: Migration): Promise<boolean> {
  const { code } = await runToEnd(migration, ['stream', 'sentinel', 'set', 'endpos', '--current']);
  return code === 0;
}

/** One field of `stream sentinel get --json`; null while there is no sentinel. */
export async function sentinelField(migration: Migration, field: string): Promise<string | boolean | null> {
  const { code, stdout } = await runToEnd(migration, ['stream', 'sentinel', 'get', '--json']);
  if (code !== 0) return null;
  return (JSON.parse(stdout) as Record<string, string | boolean>)[field] ?? null;
}
