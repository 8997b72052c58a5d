/** Transform files through a pipe: `stream receive --to-stdout` in front of `stream transform -` or `stream apply -`. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { mainFile } from '../../support/build.js';
import { temporaryDirectory } from '../../support/directory.js';
import { expectEqual } from '../../support/equal.js';
import {
  openMigration,
  runToEnd,
  setEndpos,
  setupStream,
  slotOf,
  streamOptions,
  succeed,
  uris,
  type Migration,
} from '../../support/live-migration.js';
import { until } from '../../support/until.js';
import { walferry, type WalferryExit } from '../../support/walferry.js';
import { streamEarly, streamingOf, weave, wovenSchema } from '../streamed/weave.js';

type Piped = AsyncDisposable & {
  readonly children: readonly ChildProcess[];
  readonly exits: Promise<readonly WalferryExit[]>;
  readonly stderr: (nth: number) => string;
};

/** Several walferries, each reading what the one before prints. */
function pipe(
  migration: Migration & { readonly temporary?: string },
  ...commands: readonly (readonly string[])[]
): Piped {
  const { directory, temporary } = migration;
  const env = {
    PATH: process.env['PATH'],
    HOME: directory,
    ...(temporary === undefined ? {} : { TMPDIR: temporary }),
    ...uris(migration),
  };
  const children: ChildProcess[] = [];
  const texts: { stdout: string; stderr: string }[] = [];
  for (const [nth, command] of commands.entries()) {
    const before = children[nth - 1]?.stdout ?? 'ignore';
    const child = spawn(process.execPath, [mainFile, ...command], { env, stdio: [before, 'pipe', 'pipe'] });
    // The child has it now: while it is open here too, the one before does not see its reader go.
    if (before !== 'ignore') before.destroy();
    children.push(child);
    const text = { stdout: '', stderr: '' };
    texts.push(text);
    if (nth === commands.length - 1)
      child.stdout?.on('data', (data: Buffer) => (text.stdout += data.toString()));
    child.stderr?.on('data', (data: Buffer) => (text.stderr += data.toString()));
  }
  const exits = Promise.all(
    children.map(
      (child, nth) =>
        new Promise<WalferryExit>((resolve) =>
          child.once('close', (code, signal) =>
            resolve({ code, signal, stdout: texts[nth]?.stdout ?? '', stderr: texts[nth]?.stderr ?? '' }),
          ),
        ),
    ),
  );
  return {
    children,
    exits,
    stderr: (nth) => texts[nth]?.stderr ?? '',
    [Symbol.asyncDispose]: async () => {
      for (const child of children) child.kill('SIGKILL');
      await exits;
    },
  };
}

const dir = ({ directory }: Migration) => ['--dir', directory];

function receive(migration: Migration, ...more: string[]): string[] {
  return ['stream', 'receive', '--to-stdout', ...streamOptions(migration), ...dir(migration), ...more];
}

test('applied behind the pipe as it is received, killed, and gone on with: nothing is lost, nothing doubled', async () => {
  await using migration = await openMigration({ schema: wovenSchema, onBoth: true, role: 'superuser' });
  const { source, target } = migration;
  await streamEarly(source);
  await setupStream(migration);
  const commands = [receive(migration), ['stream', 'apply', '-', ...dir(migration)]] as const;
  const rows = async () => Number((await target.sql('select count(*) as n from small'))[0]?.['n']);

  // Given a pipe that applies while it goes on, over several files,
  {
    await using piped = pipe(migration, ...commands);
    await until('the receiver is at work', () => /receiving changes from/.test(piped.stderr(0)));
    await weave(source, 1);
    await source.sql('select pg_switch_wal()');
    await source.sql(`insert into small values (-1, 'next file')`);
    await until(
      'it is applied',
      async () => (await rows()) > 0 && (await target.sql('select from small where id = -1')).length === 1,
    );
    // when its reader is killed, the receiver ends, and says how to go on;
    piped.children[1]?.kill('SIGKILL');
    await weave(source, 2);
    const [receiver] = await piped.exits;
    expect([receiver?.code, receiver?.stderr]).toEqual([22, expect.stringContaining('stdout was closed')]);
  }

  // then the same line goes on where the target stands, up to the end position.
  await weave(source, 3);
  await using again = pipe(migration, ...commands);
  await until('the receiver is at work', () => /receiving changes from/.test(again.stderr(0)));
  await setEndpos(migration);
  const exits = await again.exits;
  expect(
    exits.map(({ code }) => code),
    exits.map(({ stderr }) => stderr).join('\n'),
  ).toEqual([0, 0]);
  await expectEqual(source, target);
  expect((await streamingOf(source, slotOf(migration))).streamed).toBeGreaterThan(4);
});

test('printed as SQL behind the pipe, it is what the files say; and SQL is refused by apply', async () => {
  await using migration = await openMigration({ schema: wovenSchema, onBoth: true, role: 'superuser' });
  const { source } = migration;
  await streamEarly(source);
  await setupStream(migration);
  await weave(source, 1);
  await source.sql('select pg_switch_wal()');
  await weave(source, 2);
  await setEndpos(migration);
  await using piped = pipe(migration, receive(migration), ['stream', 'transform', '-', '-']);
  const [receiver, transform] = await piped.exits;
  expect([receiver?.code, transform?.code], `${receiver?.stderr}${transform?.stderr}`).toEqual([0, 0]);
  const all = await walferry(['stream', 'apply', ...dir(migration), '--target', '-']).exit;
  expect(transform?.stdout).toBe(all.stdout);
  expect(all.stdout).toMatch(/insert into "public"\."entry"/);

  // What is printed are the files, with all that a run adds to them.
  const cdc = join(migration.directory, 'cdc');
  await using printed = pipe(migration, receive(migration, '--resume'));
  const [{ stdout } = { stdout: '' }] = await printed.exits;
  const files = (await readdir(cdc)).filter((name) => name.endsWith('.json')).toSorted();
  expect(files.length).toBeGreaterThan(1);
  let lines = '';
  for (const file of files) lines += await readFile(join(cdc, file), 'utf8');
  expect(stdout === lines, `${stdout.length} bytes were printed, ${lines.length} are in the files`).toBe(
    true,
  );

  const apply = async (input: string) =>
    walferry(['stream', 'apply', '--from-stdin', ...dir(migration)], { env: uris(migration), input }).exit;
  const sql = await apply(all.stdout);
  expect([sql.code, sql.stderr]).toEqual([1, expect.stringMatching(/but SQL, .*\n.*psql/)]);
  const other = await apply('{"a":1}\n');
  expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('is no transform file')]);

  // What begins behind the target's position would leave a gap; a line that was changed is no line.
  const last = await apply(await readFile(join(cdc, files.at(-1) ?? ''), 'utf8'));
  expect([last.code, last.stderr]).toEqual([7, expect.stringContaining('reach back only to')]);
  const flipped = await apply(lines.replace('"between"', '"betwixt"'));
  expect([flipped.code, flipped.stderr]).toEqual([24, expect.stringContaining('is damaged')]);

  const whole = await apply(lines);
  expect(whole.code, whole.stderr).toBe(0);
  await expectEqual(source, migration.target);
  expect((await runToEnd(migration, ['stream', 'catchup'])).code).toBe(0);
  await succeed(migration, ['stream', 'prune']);
});

/** What the files of a process's standard input take. */
async function spooled(temporary: string): Promise<number> {
  let bytes = 0;
  for (const directory of await readdir(temporary)) {
    if (!directory.startsWith('walferry-lines-')) continue;
    for (const name of await readdir(join(temporary, directory))) {
      // It may be removed meanwhile.
      bytes += await stat(join(temporary, directory, name)).then(
        ({ size }) => size,
        () => 0,
      );
    }
  }
  return bytes;
}

describe('while the target is held up, no more is read than --max-journal-size', () => {
  const megabyte = 1024 * 1024;
  const big = `insert into big select i, repeat('x', 1000) from generate_series`;

  test.each<[string, readonly string[]]>([
    [
      'small transactions',
      Array.from({ length: 40 }, (_, at) => `${big}(${at * 1000}, ${at * 1000 + 999}) i`),
    ],
    ['one that is larger', [`${big}(0, 39999) i`]],
  ])('of %s, and then all of it', { timeout: 120_000 }, async (_what, statements) => {
    await using migration = await openMigration({
      schema: 'create table big (id int primary key, body text)',
      onBoth: true,
      role: 'superuser',
    });
    const { source, target } = migration;
    await using temporary = await temporaryDirectory();
    await setupStream(migration);
    for (const statement of statements) {
      await source.sql(statement);
      await source.sql('select pg_switch_wal()');
    }
    await setEndpos(migration);
    await using locking = await target.session();
    await locking.sql('begin; lock table big');

    // Given 40 MB for a target that takes nothing,
    await using piped = pipe({ ...migration, temporary: temporary.path }, receive(migration), [
      'stream',
      'apply',
      '-',
      '--max-journal-size',
      '4MB',
      ...dir(migration),
    ]);
    await until('it stops to read', () => /standard input is not read on/.test(piped.stderr(1)));
    // no more is taken, though all of it has been printed, as far as the pipe takes it;
    for (let looks = 0; looks < 10; looks += 1) {
      await sleep(100);
      expect(await spooled(temporary.path)).toBeLessThan(8 * megabyte);
    }
    // and when the target takes it, all of it comes, in no more room where it can be removed.
    await locking.sql('rollback');
    const exits = await piped.exits;
    expect(
      exits.map(({ code }) => code),
      exits.map(({ stderr }) => stderr).join('\n'),
    ).toEqual([0, 0]);
    await expectEqual(source, target);
  });
});

test('small files that come at once, each larger than --max-journal-size, are applied', async () => {
  await using migration = await openMigration({
    schema: 'create table item (id int primary key, body text)',
    onBoth: true,
    role: 'superuser',
  });
  const { source, target } = migration;
  await setupStream(migration);
  for (let nth = 0; nth < 5; nth += 1) {
    await source.sql(`insert into item values (${nth}, repeat('x', 2000))`);
    await source.sql('select pg_switch_wal()');
  }
  await setEndpos(migration);
  await using printed = pipe(migration, receive(migration));
  const [{ stdout: input } = { stdout: '' }] = await printed.exits;
  const command = ['stream', 'apply', '-', '--max-journal-size', '1kB', ...dir(migration)];
  const { code, stderr } = await walferry(command, { env: uris(migration), input }).exit;
  expect(code, stderr).toBe(0);
  await expectEqual(source, target);
});
