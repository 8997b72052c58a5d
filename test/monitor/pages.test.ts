/** What a server shows of a run, to whom, and to how many: over its socket, without a run behind it. */
import { connect, type Socket } from 'node:net';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { closeCatalog, openCatalog, type Catalog } from '../../src/catalog/database.js';
import { saveLogLines, saveRun, type RunRecord } from '../../src/catalog/run-status.js';
import { ControlServer, planControl } from '../../src/control/server.js';
import { silentLog } from '../../src/log.js';
import { Events, maxClients } from '../../src/monitor/events.js';
import { monitorPages } from '../../src/monitor/pages.js';
import { temporaryDirectory } from '../support/directory.js';
import { until } from '../support/until.js';

const record: RunRecord = {
  role: 'clone',
  command: 'clone',
  pid: 1,
  startedAtMs: 0,
  atMs: 0,
  phase: { kind: 'setup' },
  phaseSinceMs: 0,
  stream: null,
  slot: null,
  copyBraked: false,
};

type Opened = AsyncDisposable & { readonly port: number; readonly catalog: Catalog; close(): Promise<void> };

async function open({ loopback = true } = {}): Promise<Opened> {
  const directory = await temporaryDirectory();
  const catalog = openCatalog(directory.path, 'status');
  saveRun(catalog, { ...record, atMs: Date.now() });
  const choices = { host: '127.0.0.1', port: 1, token: 'secret', pages: monitorPages, fromStart: true };
  const server = await ControlServer.open({
    // Listening elsewhere is done as it is here: what differs is who may see what.
    plan: { ...(await planControl(choices)), port: 0, loopback },
    directory: directory.path,
    journalDirectory: join(directory.path, 'cdc'),
    source: null,
    log: silentLog,
  });
  return {
    port: server?.port ?? 0,
    catalog,
    close: async () => server?.close(),
    [Symbol.asyncDispose]: async () => {
      await server?.close();
      closeCatalog(catalog);
      await directory[Symbol.asyncDispose]();
    },
  };
}

type Answer = {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, unknown>>;
};

function get(port: number, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body, headers: response.headers }),
      );
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}

/** A client of the events that collects what it is told. */
class Listener implements Disposable {
  readonly #socket: Socket;
  text = '';
  closed = false;

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1', () => {
      this.#socket.write('GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n');
    });
    this.#socket.setEncoding('utf8').on('data', (text: string) => (this.text += text));
    this.#socket.on('close', () => (this.closed = true)).on('error', () => {});
  }

  /** Takes nothing more: as a machine that went to sleep. */
  sleep(): void {
    this.#socket.pause();
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

const shown = ['/v1/status', '/v1/details', '/metrics'];

describe('on this machine', () => {
  test.each([...shown, '/healthz'])('%s is shown', async (path) => {
    await using server = await open();
    const { status, body } = await get(server.port, path);
    expect(status).toBe(200);
    expect(body).not.toBe('');
  });

  test.each(['/', '/v1/status', '/v1/events', '/metrics', '/healthz', '/assets/page.css'])(
    '%s is not shown to a page of another name that points here',
    async (path) => {
      await using server = await open();
      expect((await get(server.port, path, { host: 'evil.example' })).status).toBe(421);
    },
  );

  test('what is wrong with the run is an answer, and so is a work directory that is gone', async () => {
    await using server = await open();
    saveRun(server.catalog, {
      ...record,
      atMs: Date.now(),
      phase: { kind: 'failed', code: 'internal', message: 'x' },
    });
    await until('it is seen', async () => (await get(server.port, '/healthz')).body === 'failed\n');
    expect((await get(server.port, '/healthz')).status).toBe(503);
    server.catalog.database.pragma('user_version = 999');
    await until('it is seen', async () => (await get(server.port, '/v1/status')).status === 503);
    expect(JSON.parse((await get(server.port, '/v1/status')).body)).toMatchObject({
      error: { code: 'work-directory-broken' },
    });
    expect(await get(server.port, '/healthz')).toMatchObject({ status: 503, body: 'unknown\n' });
  });
});

describe('elsewhere', () => {
  test('whether all is well is told to everybody', async () => {
    await using server = await open({ loopback: false });
    expect(await get(server.port, '/healthz')).toMatchObject({ status: 200, body: 'setup\n' });
  });

  test.each([...shown, '/v1/events'])('%s needs the token', async (path) => {
    await using server = await open({ loopback: false });
    expect((await get(server.port, path)).status).toBe(401);
    expect((await get(server.port, path, { authorization: 'Bearer guess' })).status).toBe(401);
    if (path === '/v1/events') return;
    expect((await get(server.port, path, { authorization: 'Bearer secret' })).status).toBe(200);
  });
});

describe('the events', () => {
  test('tell everything at first, then what is new, and how it ended', async () => {
    await using server = await open();
    saveLogLines(server.catalog, [{ atMs: 1, severity: 'INFO', message: 'the first line' }]);
    using listener = new Listener(server.port);
    await until('the first answer', () => listener.text.includes('the first line'));
    expect(listener.text).toMatch(/event: hello\ndata: \{"marks":false\}\n\n/);
    expect(listener.text).toMatch(/event: status\ndata: \{"version":1,/);
    saveLogLines(server.catalog, [{ atMs: 2, severity: 'WARN', message: 'the second line' }]);
    await until('the second line', () => listener.text.includes('the second line'));
    expect(listener.text.match(/the first line/g)).toHaveLength(1);
    saveRun(server.catalog, { ...record, atMs: Date.now(), phase: { kind: 'done' } });
    await server.close();
    await until('the end', () => listener.closed);
    expect(listener.text).toMatch(/"state":"done"/);
  });

  test('are told to so many at a time, and to another one when one has gone', async () => {
    await using server = await open();
    const all = Array.from({ length: maxClients }, () => new Listener(server.port));
    await until('all are told', () => all.every(({ text }) => text.includes('event: status')));
    expect((await get(server.port, '/v1/events')).status).toBe(503);
    // Steering and metrics are not kept out by those who look on.
    expect((await get(server.port, '/metrics')).status).toBe(200);
    all[0]?.[Symbol.dispose]();
    await until('there is room', async () => {
      using another = new Listener(server.port);
      await until('an answer', () => /HTTP\/1.1 \d+/.test(another.text));
      return another.text.startsWith('HTTP/1.1 200');
    });
    for (const one of all) one[Symbol.dispose]();
  });

  test('wait for nobody: who takes nothing for a while is dropped, and the others are told', async () => {
    await using directory = await temporaryDirectory();
    const catalog = openCatalog(directory.path, 'status');
    const events = new Events({ directory: directory.path, hello: {}, maxFullMs: 500 });
    const server = createServer((asked, response) => events.serve(asked, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    try {
      using sleeper = new Listener(port);
      using listener = new Listener(port);
      await until('both are told', () =>
        [sleeper, listener].every(({ text }) => text.includes('event: status')),
      );
      sleeper.sleep();
      // More than a socket's buffers, piece by piece, until the sleeper's are full for too long.
      const long = 'x'.repeat(300_000);
      let nth = 0;
      await until(
        'the sleeper is dropped',
        async () => {
          nth += 1;
          const lines = Array.from({ length: 6 }, () => ({
            atMs: nth,
            severity: 'INFO',
            message: `${nth} ${long}`,
          }));
          saveLogLines(catalog, lines);
          await until('the other is told', () => listener.text.includes(`"message":"${nth} x`));
          listener.text = '';
          return events.clients === 1;
        },
        { timeoutMs: 60_000 },
      );
      expect(listener.closed).toBe(false);
    } finally {
      await events.close();
      server.closeAllConnections();
      server.close();
      closeCatalog(catalog);
    }
  });
});
