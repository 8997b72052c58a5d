import { spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { mainFile } from '../support/build.js';
import { createDatabase } from '../support/databases.js';
import { temporaryDirectory } from '../support/directory.js';
import { walferry } from '../support/walferry.js';

/** A server that takes connections and never says a word. */
async function silentServer() {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    uri: `postgres://u:canary-7Q@127.0.0.1:${(server.address() as AddressInfo).port}/d`,
    connected: () =>
      new Promise<void>((resolve) => {
        if (sockets.size > 0) resolve();
        else server.once('connection', () => resolve());
      }),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

describe('ping', () => {
  test('says for each side that it answers, and ends with 0', async () => {
    await using source = await createDatabase('source');
    await using target = await createDatabase('target');
    const { code, stdout, stderr } = await walferry(['ping', '-S', source.neonUri, '-T', target.neonUri])
      .exit;
    expect(stderr).toMatch(/INFO {3}the source answers: .*PostgreSQL/);
    expect(stderr).toMatch(/INFO {3}the target answers: .*PostgreSQL/);
    expect(stdout).toBe('');
    expect(code).toBe(0);
  });

  test('names the side that fails and why, tells no password, and ends with 12', async () => {
    await using source = await createDatabase('source');
    const nobody = new URL(source.uri);
    nobody.password = 'canary%20-7Q';
    const env = { PGCOPYDB_SOURCE_PGURI: source.uri, WALFERRY_TARGET_PGURI: nobody.href };
    const { code, stderr } = await walferry(['ping', '--debug'], { env }).exit;
    expect(stderr).toMatch(/INFO {3}the source answers/);
    expect(stderr).toMatch(/ERROR {2}.*target.*password/);
    expect(stderr).not.toContain('-7Q');
    expect(code).toBe(12);
  });
});

describe('a command that is stopped', () => {
  test('ends within two seconds with 22 and says how to go on; no password is in the process list', async () => {
    await using server = await silentServer();
    await using running = walferry(['ping', '--source', server.uri, '--target', server.uri]);
    await server.connected();
    if (process.platform === 'linux') {
      expect(readFileSync(`/proc/${running.pid}/cmdline`, 'utf8')).not.toContain('canary');
    }

    const asked = performance.now();
    running.kill('SIGINT');
    const { code, stderr } = await running.exit;
    expect(performance.now() - asked).toBeLessThan(2000);
    expect(stderr).toContain('stopping; press Ctrl-C again to stop at once');
    expect(stderr).toMatch(/stopped as asked; go on with: walferry ping --source 'postgres:\/\/u:\*\*\*\*@/);
    expect(stderr).not.toContain('canary');
    expect(code).toBe(22);
  });
});

describe('the program', () => {
  test('called through a link named pgcopydb has its names', async () => {
    await using directory = await temporaryDirectory();
    const link = path.join(directory.path, 'pgcopydb');
    symlinkSync(mainFile, link);
    const { stderr, status } = spawnSync(process.execPath, [link, 'clone', '--help'], { encoding: 'utf8' });
    expect(stderr).toMatch(/^pgcopydb clone: /);
    expect(status).toBe(0);
  });

  test('prints its version in at most five times the start of an empty node', async () => {
    const fastest = (args: string[]) =>
      Math.min(
        ...Array.from({ length: 5 }, () => {
          const started = performance.now();
          expect(spawnSync(process.execPath, args).status).toBe(0);
          return performance.now() - started;
        }),
      );
    expect(fastest([mainFile, '--version'])).toBeLessThan(5 * fastest(['-e', '0']));
  });

  test('exits with 1 and keeps stdout for data', async () => {
    expect(await walferry(['clone', '--bogus']).exit).toMatchObject({ code: 1, stdout: '' });
    expect(await walferry(['list', 'tables']).exit).toMatchObject({ code: 1, stdout: '' });
    expect(await walferry(['help']).exit).toMatchObject({ code: 0, stderr: '' });
  });
});
