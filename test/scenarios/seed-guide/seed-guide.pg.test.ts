/**
 * Neon's guide "Replicate data from Postgres to Neon using pgcopydb", its commands word for word, through a link of
 * that name: what a reader of the guide types must do what the guide says.
 */
import { spawn } from 'node:child_process';
import { chmod, mkdir, readFile, symlink } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { mainFile } from '../../support/build.js';
import { createDatabase } from '../../support/databases.js';
import { temporaryDirectory } from '../../support/directory.js';
import { expectEqual } from '../../support/equal.js';

const shop = `
  create table customer (id bigserial primary key, name text not null, unique (name));
  create table purchase (
    id bigserial primary key,
    customer bigint not null references customer,
    amount numeric(12, 2));
  create index on purchase (customer);
  insert into customer (name) select 'customer ' || i from generate_series(1, 1000) i;
  insert into purchase (customer, amount) select 1 + i % 1000, i / 7.0 from generate_series(1, 5000) i;
`;

type Exit = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Runs a line in a shell, as somebody does who has pasted it. */
function shell(line: string, env: Readonly<Record<string, string>>): Promise<Exit> {
  const child = spawn('sh', ['-c', line], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject).once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

test('the seed guide, word for word', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  await using directory = await temporaryDirectory();
  await source.sqlAsOwner(shop);

  // Given the program installed under the name that the guide knows, a TMPDIR that is not there yet, and the
  // variables as the guide exports them, with its capital P.
  const bin = path.join(directory.path, 'bin');
  await mkdir(bin);
  // As npm does when it installs a program.
  await chmod(mainFile, 0o755);
  await symlink(mainFile, path.join(bin, 'pgcopydb'));
  const temporary = path.join(directory.path, 'tmp', 'of', 'mine');
  const environment = {
    PATH: `${bin}:${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
    HOME: directory.path,
    TMPDIR: temporary,
    PGCOPYDB_SOURCE_PGURI: source.neonUri.replace(/^postgres(ql)?:/, 'Postgres:'),
    PGCOPYDB_TARGET_PGURI: target.neonUri.replace(/^postgres(ql)?:/, 'Postgres:'),
  };

  // When the migration is started, and looked at from another terminal.
  const clone = await shell('pgcopydb clone --no-owner', environment);
  expect([clone.code, clone.stderr]).toEqual([0, expect.not.stringContaining('ERROR')]);
  const progress = await shell('pgcopydb list progress --summary', environment);
  expect(progress.code).toBe(0);

  // Then the summary has the guide's steps in the guide's columns, and nothing else is on stdout.
  const lines = progress.stdout.split('\n');
  expect(lines.slice(0, 2)).toEqual([
    '                                               Step   Connection    Duration    Transfer   Concurrency',
    ' --------------------------------------------------   ----------  ----------  ----------  ------------',
  ]);
  expect(lines.slice(2, -1).map((line) => line.slice(0, 51).trim())).toEqual([
    'Catalog Queries (table ordering, filtering, etc)',
    'Dump Schema',
    'Prepare Schema',
    'COPY, INDEX, CONSTRAINTS, VACUUM (wall clock)',
    'COPY (cumulative)',
    'CREATE INDEX (cumulative)',
    'CONSTRAINTS (cumulative)',
    'VACUUM (cumulative)',
    'Reset Sequences',
    'Large Objects (cumulative)',
    'Finalize Schema',
    '--------------------------------------------------',
    'Total Wall Clock Duration',
  ]);
  expect(clone.stdout.endsWith(`\n\n${progress.stdout}\n`)).toBe(true);

  // And as JSON, from the run's records and in the file that the peer leaves: the same.
  const json = await shell('pgcopydb list progress --summary --json', environment);
  const { status, ...summary } = JSON.parse(json.stdout) as {
    tables: Record<string, unknown>[];
    status: unknown;
  };
  // What the peer does not have is added to it: how the run stands now.
  expect(status).toMatchObject({ state: 'done' });
  const file = await readFile(path.join(temporary, 'pgcopydb', 'summary.json'), 'utf8');
  expect(JSON.parse(file)).toEqual(summary);
  expect(summary.tables).toContainEqual(
    expect.objectContaining({
      name: 'customer',
      index: { count: 2, duration: expect.any(Number) as number },
      constraints: [
        expect.objectContaining({ name: 'customer_pkey', sql: 'PRIMARY KEY (id)' }),
        expect.objectContaining({ name: 'customer_name_key', sql: 'UNIQUE (name)' }),
      ],
    }),
  );

  // And the validation that the guide asks for holds.
  const data = await shell('pgcopydb compare data', environment);
  expect([data.code, data.stderr]).toEqual([0, expect.stringContaining('both sides are equal')]);
  await expectEqual(source, target);
});
