/**
 * Connection service files: named sets of connection parameters.
 * https://www.postgresql.org/docs/current/libpq-pgservice.html
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, systemReason } from '../failure.js';

/** Where the packages for Debian, Red Hat and a plain build keep the machine's own file (libpq's SYSCONFDIR). */
const systemDirectories = ['/etc/postgresql-common', '/etc/sysconfig/pgsql', '/usr/local/pgsql/etc'];

/** The files that may hold a service, the user's own first. */
export function serviceFiles(environment: NodeJS.ProcessEnv, home: string): string[] {
  const own = environment['PGSERVICEFILE'] || join(home, '.pg_service.conf');
  const directory = environment['PGSYSCONFDIR'];
  const system = directory ? [directory] : systemDirectories;
  return [own, ...system.map((directory) => join(directory, 'pg_service.conf'))];
}

/** The parameters of a service. Throws `usage` when no file has it, or the file cannot be read. */
export function loadService(service: string, files: readonly string[]): ReadonlyMap<string, string> {
  for (const file of files) {
    if (!existsSync(file)) continue;
    const parameters = readService(service, readText(file), file);
    if (parameters !== null) return parameters;
  }
  throw new Failure('usage', `the service "${service}" is in none of the service files: ${files.join(', ')}`);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Failure('usage', `the service file ${file} cannot be read${systemReason(error)}`, {
      cause: error,
    });
  }
}

/** The section of one service; null when the text has none. Lines are never quoted: one may hold a password. */
export function readService(service: string, text: string, file: string): ReadonlyMap<string, string> | null {
  let parameters: Map<string, string> | null = null;
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('[')) {
      if (parameters !== null) break;
      if (line === `[${service}]`) parameters = new Map();
      continue;
    }
    if (parameters === null) continue;
    const equals = line.indexOf('=');
    if (equals < 1 || line.startsWith('ldap:')) {
      throw new Failure('usage', `line ${index + 1} of the service file ${file} is not keyword=value`);
    }
    const keyword = line.slice(0, equals);
    if (keyword === 'service' || keyword === 'servicefile') {
      throw new Failure('usage', `line ${index + 1} of the service file ${file} names another service`);
    }
    // The first of two wins, as in libpq: parameters that are set already are left alone.
    if (!parameters.has(keyword)) parameters.set(keyword, line.slice(equals + 1));
  }
  return parameters;
}
