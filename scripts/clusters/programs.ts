/**
 * Where PostgreSQL's server programs are on this machine. The one search that `npm run setup`, the tests and the
 * demo share, so that all of them run the same server.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

/** One installation of PostgreSQL. */
export type Programs = {
  /** Holds initdb, postgres, pg_ctl, pg_dump and the rest. */
  readonly directory: string;
  /** Major version, for example 15. */
  readonly version: number;
  /** Whether the wal2json output plugin is installed with it. */
  readonly wal2json: boolean;
};

const needed = ['initdb', 'postgres', 'pg_ctl'];

/** The installation to use (of this major version, where one is named), or null when there is none with all of them. */
export function findPrograms(
  environment: NodeJS.ProcessEnv = process.env,
  major: number | null = null,
): Programs | null {
  for (const directory of candidates(environment)) {
    if (!needed.every((program) => existsSync(path.join(directory, program)))) continue;
    const version = majorVersion(directory);
    if (version === null || (major !== null && version !== major)) continue;
    return { directory, version, wal2json: hasWal2json(directory) };
  }
  return null;
}

/** As findPrograms, with an error that says what to install. */
export function requirePrograms(environment: NodeJS.ProcessEnv = process.env): Programs {
  const programs = findPrograms(environment);
  if (programs === null)
    throw new Error(`PostgreSQL's server programs were not found: run \`npm run setup\`.`);
  return programs;
}

/**
 * In order: what PG_CONFIG names, what pg_config on PATH names, PATH itself, then the places where Debian, Red Hat,
 * Homebrew and Postgres.app put it, newest version first.
 */
function candidates(environment: NodeJS.ProcessEnv): string[] {
  const named = environment['PG_CONFIG'];
  const home = environment['HOME'] ?? '';
  return [
    ...(named === undefined || named === '' ? [] : askPgConfig(named, '--bindir', environment)),
    ...askPgConfig('pg_config', '--bindir', environment),
    ...(environment['PATH'] ?? '').split(path.delimiter).filter((directory) => directory !== ''),
    ...versionsIn('/usr/lib/postgresql', /^\d+$/, 'bin'),
    ...versionsIn('/usr', /^pgsql-\d+$/, 'bin'),
    ...versionsIn('/opt/homebrew/opt', /^postgresql(@\d+)?$/, 'bin'),
    ...versionsIn('/usr/local/opt', /^postgresql(@\d+)?$/, 'bin'),
    ...versionsIn('/Applications/Postgres.app/Contents/Versions', /^\d+$/, 'bin'),
    ...versionsIn(path.join(home, 'Applications/Postgres.app/Contents/Versions'), /^\d+$/, 'bin'),
  ];
}

function versionsIn(parent: string, pattern: RegExp, below: string): string[] {
  if (!existsSync(parent)) return [];
  const number = (name: string) => Number(/\d+/.exec(name)?.[0] ?? 0);
  return readdirSync(parent)
    .filter((name) => pattern.test(name))
    .toSorted((a, b) => number(b) - number(a))
    .map((name) => path.join(parent, name, below));
}

function askPgConfig(
  pgConfig: string,
  question: '--bindir' | '--pkglibdir',
  environment: NodeJS.ProcessEnv,
): string[] {
  try {
    const printed = execFileSync(pgConfig, [question], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      env: environment,
    });
    return [printed.trim()];
  } catch {
    return [];
  }
}

function majorVersion(directory: string): number | null {
  try {
    const printed = execFileSync(path.join(directory, 'postgres'), ['--version'], { encoding: 'utf8' });
    const version = /\s(\d+)/.exec(printed)?.[1];
    return version === undefined ? null : Number(version);
  } catch {
    return null;
  }
}

function hasWal2json(directory: string): boolean {
  // Debian has no pg_config beside the programs unless the development package is there; its libraries are in ../lib.
  const libraries = [
    ...askPgConfig(path.join(directory, 'pg_config'), '--pkglibdir', process.env),
    path.join(directory, '../lib'),
  ];
  return libraries.some((library) =>
    ['wal2json.so', 'wal2json.dylib'].some((file) => existsSync(path.join(library, file))),
  );
}
