/** A run seen from a second terminal: by its work directory, over its port, on a screen and in lines. */
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readStatus } from '../../../src/monitor/status.js';
import { mainFile } from '../../support/build.js';
import {
  follow,
  openMigration,
  run,
  runToEnd,
  setEndpos,
  setupStream,
  succeed,
} from '../../support/live-migration.js';
import { freePort } from '../../support/ports.js';
import { until } from '../../support/until.js';
import { walferry } from '../../support/walferry.js';

const schema = 'create table item (id int primary key, body text)';

type Json = { readonly status: { readonly state: string; readonly stream: Record<string, unknown> | null } };

test('positions, lag and rates are told in bytes and seconds, on an idle source too', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await setupStream(migration);
  const port = await freePort();
  await using following = run(migration, follow(migration, '--resume', '--heartbeat', '1', '--port', port));
  await following.waitForOutput(/applying changes from/);
  await migration.source.sql(`insert into item select i, 'x' from generate_series(1, 1000) i`);

  const summary = async () => {
    const { stdout } = await succeed(migration, ['list', 'progress', '--summary', '--json']);
    return (JSON.parse(stdout) as Json).status;
  };
  await until('two heartbeats have come through the stream', async () => {
    const folder = join(migration.directory, 'cdc');
    const files = await Promise.all(
      (await readdir(folder)).map((file) => readFile(join(folder, file), 'utf8')),
    );
    return files.join('').split(Buffer.from('heartbeat').toString('base64')).length > 2;
  });
  // Other tests write to the same server: level is what is a moment behind. A process for each look would be a load.
  const look = () => readStatus(migration.directory);
  await until('the target is level, in bytes and in seconds', () => {
    const { state, stream } = look();
    return (
      state === 'following' &&
      (stream?.applied?.behindBytes ?? 1e9) < 1e6 &&
      (stream?.applied?.behindMs ?? 1e9) < 2000
    );
  });
  expect((await summary()).stream?.['applied']).toMatchObject({
    behindBytes: expect.any(Number) as number,
    behindMs: expect.any(Number) as number,
  });
  await until('the rates are known', () => (look().stream?.rates.source ?? null) !== null);
  const text = (await succeed(migration, ['list', 'progress', '--summary'])).stdout;
  expect(text).toMatch(/rates: source writes/);
  expect(text).toMatch(/^Following: /m);
  expect(text).toMatch(/^ {5}applied \| +[0-9A-F]+\/[0-9A-F]+ \| +[\d.]+ k?B \| +\d+\.\d$/m);
  expect(text).toMatch(/^slot "slot_test_\w+": reserved, holds back .* of WAL, /m);

  // In lines, where no terminal is; of the work directory, and of a run that listens.
  for (const place of [
    ['--dir', migration.directory],
    ['--host', '127.0.0.1', '--port', port],
  ]) {
    await using lines = walferry(['monitor', ...place]);
    await lines.waitForOutput(/Following: .*\n.*Following: /);
    lines.kill('SIGINT');
    expect((await lines.exit).code).toBe(0);
    await using json = walferry(['monitor', '--json', ...place]);
    await until('an object is printed', () => json.stdout.includes('\n'));
    expect(JSON.parse(json.stdout.split('\n')[0] ?? '')).toMatchObject({ version: 1, command: 'follow' });
  }

  // The run is killed: whoever looks is told, and looking again later does no harm.
  following.kill('SIGKILL');
  await following.exit;
  await until('it is seen to be gone', () => look().state === 'gone', { timeoutMs: 60_000 });
  expect((await summary()).state).toBe('gone');
  const nobody = await runToEnd(migration, ['monitor', '--host', '127.0.0.1', '--port', port]);
  expect([nobody.code, nobody.stderr]).toEqual([12, expect.stringMatching(/nobody listens on/)]);
  await using again = run(migration, follow(migration, '--resume'));
  await setEndpos(migration);
  expect((await again.exit).code, again.stderr).toBe(0);
  expect((await summary()).state).toBe('done');
});

test('on a terminal it is a screen, drawn in its size, and q gives the terminal back', async () => {
  await using migration = await openMigration({ schema, onBoth: true });
  await setupStream(migration);
  // script(1) is a terminal around a program.
  const inner = `stty rows 20 cols 60; exec ${process.execPath} ${mainFile} monitor --dir ${migration.directory}`;
  const child = spawn('script', ['-qfec', inner, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  try {
    await until('it is drawn a second time', () => text.split('\u001b[H').length > 2);
    expect(text).toContain('\u001b[?1049h');
    child.stdin.write('q');
    expect(await ended).toBe(0);
    // The cursor and the other screen are back.
    expect(text.slice(text.lastIndexOf('\u001b[H'))).toMatch(/\[\?25h.*\[\?1049l/);
    const picture = text.split('\u001b[H')[1] ?? '';
    // oxlint-disable-next-line no-control-regex
    const lines = picture.replaceAll(/\u001b\[[?\d;]*[a-zA-Z]/g, '').split('\r\n');
    expect(Math.max(...lines.map((line) => Array.from(line).length))).toBeLessThanOrEqual(60);
    expect(lines.length).toBeLessThanOrEqual(20);
    expect(picture).toContain('q quit');
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
});
