import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { findMajor, takeMajor } from '../../scripts/clusters/majors.js';
import { findPrograms } from '../../scripts/clusters/programs.js';
import { temporaryDirectory } from '../support/directory.js';

function makeProgram(file: string, prints: string): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\necho '${prints}'\n`);
  chmodSync(file, 0o755);
}

function makeInstallation(directory: string, version: string): void {
  for (const program of ['initdb', 'postgres', 'pg_ctl']) {
    makeProgram(path.join(directory, program), `${program} (PostgreSQL) ${version}`);
  }
}

describe('the server programs', () => {
  test('are those that PG_CONFIG names, before those on PATH', async () => {
    await using directory = await temporaryDirectory();
    makeInstallation(path.join(directory.path, 'named/bin'), '17.4 (Debian 17.4-1)');
    makeInstallation(path.join(directory.path, 'path'), '16.1');
    makeProgram(path.join(directory.path, 'pg_config'), path.join(directory.path, 'named/bin'));
    const environment = {
      PG_CONFIG: path.join(directory.path, 'pg_config'),
      PATH: path.join(directory.path, 'path'),
    };

    expect(findPrograms(environment)).toEqual({
      directory: path.join(directory.path, 'named/bin'),
      version: 17,
      wal2json: false,
    });
  });

  test('are not found where only the client programs are', async () => {
    await using directory = await temporaryDirectory();
    makeProgram(path.join(directory.path, 'client/psql'), 'psql (PostgreSQL) 17.4');
    makeProgram(path.join(directory.path, 'pg_config'), path.join(directory.path, 'client'));
    const found = findPrograms({ PG_CONFIG: path.join(directory.path, 'pg_config'), PATH: '' });
    expect(found?.directory).not.toBe(path.join(directory.path, 'client'));
  });

  test('have wal2json when the library lies in the directory that their pg_config names', async () => {
    await using directory = await temporaryDirectory();
    const bin = path.join(directory.path, 'bin');
    makeInstallation(bin, '18beta1');
    makeProgram(path.join(bin, 'pg_config'), bin);
    writeFileSync(path.join(bin, 'wal2json.so'), '');
    expect(findPrograms({ PG_CONFIG: path.join(bin, 'pg_config'), PATH: '' })).toEqual({
      directory: bin,
      version: 18,
      wal2json: true,
    });
  });

  test('of a major version that is asked for are found behind those of another', async () => {
    await using directory = await temporaryDirectory();
    makeInstallation(path.join(directory.path, 'first'), '97.1');
    makeInstallation(path.join(directory.path, 'second'), '98.1');
    const PATH = ['first', 'second'].map((name) => path.join(directory.path, name)).join(path.delimiter);
    expect(findPrograms({ PATH }, 98)?.directory).toBe(path.join(directory.path, 'second'));
    expect(findPrograms({ PATH }, 99)).toBeNull();
  });
});

test('a major version that nobody has is named with what brings it', async () => {
  expect(findMajor(99)).toBeNull();
  await expect(takeMajor(99, '/nonexistent')).rejects.toThrow(
    /^no PostgreSQL 99 on this machine: run npm ci/,
  );
});
