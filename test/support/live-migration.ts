/**
 * A live migration as a person runs it: `clone --follow` in one terminal, the sentinel in another, and the same line
 * with --resume after every crash.
 */
import { catalogExists, closeCatalog, openCatalogToRead } from '../../src/catalog/database.js';
import { loadSentinel } from '../../src/catalog/sentinel.js';
import { Failure } from '../../src/failure.js';
import { markEndpos, setSentinel, type SentinelPlace } from '../../src/follow/sentinel-commands.js';
import { silentLog } from '../../src/log.js';
import { formatLsn, readLsn, zeroLsn } from '../../src/model/lsn.js';
import type { Sentinel } from '../../src/model/progress.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase, type TestDatabase } from './databases.js';
import { temporaryDirectory } from './directory.js';
import { walferry, type WalferryExit, type WalferryProcess } from './walferry.js';
import type { TestServer } from './clusters.js';

export type Migration = {
  readonly source: TestDatabase;
  readonly target: TestDatabase;
  readonly directory: string;
  /** As the superusers of both sides, or as ordinary roles over TLS. */
  readonly role: 'superuser' | 'owner';
};

export type MigrationOptions = {
  /** `owner` unless told. */
  readonly role?: Migration['role'];
  /** Made on the source. */
  readonly schema?: string;
  /** Made on the target too: for a stream without a copy. */
  readonly onBoth?: boolean;
  /** Servers of a test alone; the shared ones unless told. */
  readonly sourceServer?: TestServer;
  readonly targetServer?: TestServer;
};

/** Makes two databases and a work directory; disposing of it takes them away. */
export async function openMigration(options: MigrationOptions = {}): Promise<Migration & AsyncDisposable> {
  const { role = 'owner', schema = '', sourceServer, targetServer } = options;
  const directory = await temporaryDirectory();
  const source = await createDatabase('source', sourceServer === undefined ? {} : { server: sourceServer });
  const target = await createDatabase('target', targetServer === undefined ? {} : { server: targetServer });
  for (const database of options.onBoth === true ? [source, target] : [source]) {
    await (role === 'owner' ? database.sqlAsOwner(schema) : database.sql(schema));
  }
  return {
    source,
    target,
    directory: directory.path,
    role,
    [Symbol.asyncDispose]: async () => {
      await source[Symbol.asyncDispose]();
      await target[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

export function uris({ source, target, role }: Pick<Migration, 'source' | 'target' | 'role'>): {
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
export async function runToEnd(
  migration: Migration,
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<WalferryExit> {
  await using process = run(migration, command, environment);
  return await process.exit;
}

/** Runs one command that must end well; gives what it printed. */
export async function succeed(
  migration: Migration,
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<WalferryExit> {
  const exit = await runToEnd(migration, command, environment);
  if (exit.code !== 0) {
    throw new Error(
      `walferry ${command.join(' ')} ended with ${exit.code ?? exit.signal}:\n${exit.stdout}${exit.stderr}`,
    );
  }
  return exit;
}

/** The options that both sides of a migration share: slots are server-wide, so each test has its own. */
export function streamOptions(migration: Migration): string[] {
  return ['--slot-name', slotOf(migration)];
}

export function slotOf(migration: Migration): string {
  return `slot_${migration.source.name}`;
}

/** The command line of the migration. */
export function cloneFollow(migration: Migration, ...more: string[]): string[] {
  return ['clone', '--follow', ...streamOptions(migration), ...more];
}

/** The command line of a stream over what was copied before. */
export function follow(migration: Migration, ...more: string[]): string[] {
  return ['follow', ...streamOptions(migration), ...more];
}

/** Sets up a stream between two databases that are equal, and allows applying. */
export async function setupStream(migration: Migration): Promise<void> {
  await succeed(migration, ['stream', 'setup', ...streamOptions(migration)]);
  await setSentinel(sentinelPlace(migration), { apply: true });
}

/**
 * Sets the end position, to an LSN or to where the source is now, as `stream sentinel set endpos` does, but without a
 * process for it; gives what it was set to.
 */
export async function setEndpos(migration: Migration, lsn = '--current'): Promise<string> {
  const place = sentinelPlace(migration);
  const endpos =
    lsn === '--current'
      ? await markEndpos(
          place,
          readConninfo(uris(migration).PGCOPYDB_SOURCE_PGURI, {}),
          new AbortController().signal,
        )
      : readLsn(lsn);
  await setSentinel(place, { endpos });
  return formatLsn(endpos);
}

function sentinelPlace({ directory }: Migration): SentinelPlace {
  return { directory, control: null, log: silentLog };
}

/**
 * The sentinel as it is now; null while there is none. Read from the catalog: a process that asks for it again and again
 * would take a processor from the run that it waits for.
 */
export function sentinelOf({ directory }: Pick<Migration, 'directory'>): Sentinel | null {
  if (!catalogExists(directory)) return null;
  try {
    const catalog = openCatalogToRead(directory);
    try {
      return loadSentinel(catalog);
    } finally {
      closeCatalog(catalog);
    }
  } catch (error) {
    // It is being made.
    if (error instanceof Failure && error.code === 'work-directory-broken') return null;
    throw error;
  }
}

/** Whether anything was applied that was received. */
export function hasApplied(migration: Pick<Migration, 'directory'>): boolean {
  return (sentinelOf(migration)?.replayLsn ?? zeroLsn) > zeroLsn;
}

/** Where the target's position row stands; null while there is none. */
export async function appliedPosition({ target }: Pick<Migration, 'target'>): Promise<string | null> {
  const [made] = await target.sql(`select to_regclass('walferry.position')::text as name`);
  if ((made?.['name'] ?? null) === null) return null;
  const [row] = await target.sql('select max(lsn)::text as lsn from walferry.position');
  return row?.['lsn'] ?? null;
}
