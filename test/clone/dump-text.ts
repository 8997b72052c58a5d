import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { TestDatabase } from '../support/databases.js';

const execute = promisify(execFile);

/** The schema as pg_dump tells it: everything that a database holds but its rows. */
export async function dumpText(database: TestDatabase, ...more: string[]): Promise<string> {
  const args = ['--schema-only', '--exclude-schema=walferry', ...more, database.uri];
  const { stdout } = await execute('pg_dump', args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout.replaceAll(/^\\(un)?restrict .*$/gm, '');
}
