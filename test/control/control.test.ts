/** The remote control over its socket: what it answers to whom, without a stream behind it. */
import { statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, type Server } from 'node:net';
import os from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { closeCatalog, openCatalog } from '../../src/catalog/database.js';
import { setupSentinel } from '../../src/catalog/sentinel.js';
import { fetchStatus, sendChange, sendPrune } from '../../src/control/client.js';
import { ControlServer, planControl } from '../../src/control/server.js';
import { isSameToken, loadToken, makeToken } from '../../src/control/token.js';
import { Failure } from '../../src/failure.js';
import type { Log } from '../../src/log.js';
import { silentLog } from '../../src/log.js';
import { readLsn } from '../../src/model/lsn.js';
import { temporaryDirectory } from '../support/directory.js';
import { until } from '../support/until.js';

type Opened = AsyncDisposable & { directory: string; port: number; warnings: string[] };

/** A control of a work directory whose stream starts at 0/100. */
async function open(token: string | null = null, host = '127.0.0.1', atPort = 0): Promise<Opened> {
  const directory = await temporaryDirectory();
  const catalog = openCatalog(directory.path);
  setupSentinel(catalog, readLsn('0/100'), readLsn('0/0'));
  closeCatalog(catalog);
  const warnings: string[] = [];
  const log: Log = { ...silentLog, warn: (message: string) => void warnings.push(message) };
  const control = await ControlServer.open({
    plan: {
      ...(await planControl({ host, port: 1, token, pages: null, fromStart: false })),
      port: atPort,
    },
    source: null,
    directory: directory.path,
    journalDirectory: join(directory.path, 'cdc'),
    log,
  });
  return {
    directory: directory.path,
    port: control?.port ?? 0,
    warnings,
    [Symbol.asyncDispose]: async () => {
      await control?.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

type Raw = { method?: string; path?: string; headers?: Record<string, string>; body?: string; host?: string };

/** Any request, well-formed or not; gives status and body. */
function send(port: number, raw: Raw): Promise<{ status: number; body: string }> {
  const { method = 'GET', path = '/v1/sentinel', headers = {}, body, host = '127.0.0.1' } = raw;
  return new Promise((resolve, reject) => {
    const asked = request({ host, port, method, path, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

const json = { 'content-type': 'application/json' };

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'done';
  } catch (error) {
    return error instanceof Failure ? error.code : String(error);
  }
}

describe('on loopback', () => {
  test('everybody reads, and who has the token of the work directory sets', async () => {
    await using control = await open();
    const target = { host: '127.0.0.1', port: control.port, token: null };
    expect((await fetchStatus(target)).sentinel).toMatchObject({
      startpos: 0x100n,
      endpos: 0n,
      apply: false,
    });
    expect(await codeOf(sendChange(target, { apply: true }))).toBe('control-refused');
    expect(await codeOf(sendPrune(target, false))).toBe('control-refused');
    expect((await fetchStatus(target)).sentinel.apply).toBe(false);

    const token = loadToken(control.directory);
    expect(token).toMatch(/^[\w-]{32}$/);
    expect(statSync(join(control.directory, 'token')).mode & 0o777).toBe(0o600);
    const known = { ...target, token };
    expect((await sendChange(known, { apply: true })).sentinel.apply).toBe(true);
    expect((await sendChange(known, { endpos: readLsn('1/2A') })).sentinel.endpos).toBe(readLsn('1/2A'));
    expect((await sendChange(known, { startpos: readLsn('0/1') })).sentinel.startpos).toBe(1n);
    expect(await sendPrune(known, true)).toEqual({ files: [], bytes: 0, applied: 0n });
    expect((await fetchStatus(target)).sentinel).toMatchObject({ apply: true, startpos: 1n });
  });

  test.each([
    ['another token', { authorization: 'Bearer nonsense', ...json }, 401],
    ['no token', json, 401],
    ['an empty token', { authorization: 'Bearer ', ...json }, 401],
    ['a token of another kind', { authorization: 'Basic secret', ...json }, 401],
    ['the token and a form', { authorization: 'Bearer secret', 'content-type': 'text/plain' }, 415],
  ])('%s sets nothing', async (_name, headers, status) => {
    await using control = await open('secret');
    const body = '{"apply":true}';
    expect(await send(control.port, { method: 'POST', headers, body })).toMatchObject({ status });
    const { sentinel } = await fetchStatus({ host: 'localhost', port: control.port, token: null });
    expect(sentinel.apply).toBe(false);
  });

  test.each([
    ['evil.example', 421],
    ['evil.example:5442', 421],
    ['127.0.0.1.evil.example', 421],
    ['10.0.0.1:5442', 421],
    ['[::1', 421],
    ['localhost', 200],
    ['LOCALHOST:5442', 200],
    ['127.0.0.9:1', 200],
    ['[::1]:5442', 200],
  ])('a request for the host %j is answered %i, so that no page in a browser reads', async (host, status) => {
    await using control = await open('secret');
    expect(await send(control.port, { headers: { host } })).toMatchObject({ status });
  });

  test.each([
    ['', 409],
    ['{', 409],
    ['[]', 409],
    ['{}', 409],
    ['{"apply":1}', 409],
    ['{"endpos":"x"}', 409],
    ['{"endpos":"0/1","apply":true}', 409],
    ['{"slot":"x"}', 409],
    [`{"endpos":"${'0'.repeat(5000)}"}`, 413],
  ])('the body %.30s is refused', async (body, status) => {
    await using control = await open('secret');
    const headers = { ...json, authorization: 'Bearer secret' };
    const answer = await send(control.port, { method: 'POST', headers, body });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body)).toMatchObject({ error: { code: 'control-refused' } });
  });

  test.each([
    ['GET', '/', 404],
    ['GET', '/v1/prune', 404],
    ['DELETE', '/v1/sentinel', 404],
    ['GET', '/v1/sentinel?x', 404],
  ])('%s %s is not there', async (method, path, status) => {
    await using control = await open('secret');
    const headers = { authorization: 'Bearer secret' };
    expect(await send(control.port, { method, path, headers })).toMatchObject({ status });
  });

  test('a directory whose sentinel is gone is told as it is', async () => {
    await using control = await open('secret');
    const catalog = openCatalog(control.directory);
    catalog.database.exec('delete from sentinel');
    closeCatalog(catalog);
    const target = { host: '127.0.0.1', port: control.port, token: 'secret' };
    expect(await codeOf(fetchStatus(target))).toBe('source-setup');
    expect(await codeOf(sendChange(target, { apply: true }))).toBe('source-setup');
  });
});

describe('elsewhere', () => {
  const address = Object.values(os.networkInterfaces())
    .flat()
    .find((one) => one?.family === 'IPv4' && !one.internal)?.address;

  test.each(['0.0.0.0', '::', ...(address === undefined ? [] : [address])])(
    'nobody listens on %s without a token that both sides were given',
    async (host) => {
      const choices = { host, port: 1, token: null, pages: null, fromStart: false };
      await expect(planControl(choices)).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringContaining('without a token nobody listens there') as unknown,
      });
    },
  );

  test('everything needs the token, whatever the Host header says', async () => {
    await using control = await open('secret', '0.0.0.0');
    const authorization = 'Bearer secret';
    expect(await send(control.port, {})).toMatchObject({ status: 401 });
    const named = await send(control.port, { headers: { host: 'db.example', authorization } });
    expect(named.status).toBe(200);
    expect(loadToken(control.directory)).toBeNull();
  });
});

test('a port that is taken costs a warning, and is listened on when it is free', async () => {
  const other = await new Promise<Server>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
  });
  const taken = other.address();
  const port = typeof taken === 'object' ? (taken?.port ?? 0) : 0;
  await using control = await open('secret', '127.0.0.1', port);
  expect(control.warnings).toEqual([expect.stringMatching(/cannot listen on .*EADDRINUSE.*the run goes on/)]);
  await new Promise((resolve) => other.close(resolve));
  const target = { host: '127.0.0.1', port, token: null };
  await until('it listens', async () => (await codeOf(fetchStatus(target))) === 'done');
});

test('what listens there and is no walferry is told from nobody', async () => {
  const other = await new Promise<Server>((resolve) => {
    const server = createServer((socket) => {
      socket.resume();
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi');
    }).listen(0, '127.0.0.1', () => resolve(server));
  });
  const address = other.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const target = { host: '127.0.0.1', port, token: null };
  expect(await codeOf(fetchStatus(target))).toBe('control-refused');
  await new Promise((resolve) => other.close(resolve));
  expect(await codeOf(fetchStatus(target))).toBe('control-unreachable');
});

test('a token is made once, and an empty file is none', async () => {
  await using directory = await temporaryDirectory();
  writeFileSync(join(directory.path, 'token'), '');
  const token = makeToken(directory.path);
  expect(token).toHaveLength(32);
  expect(makeToken(directory.path)).toBe(token);
  expect(isSameToken(token, token)).toBe(true);
  expect(isSameToken('', '')).toBe(false);
  expect(isSameToken(`${token}x`, token)).toBe(false);
});
