import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { closeCatalog, openCatalog, type Catalog } from '../../src/catalog/database.js';
import { setEndpos, setupSentinel } from '../../src/catalog/sentinel.js';
import { loadCarried, saveCarried, type StreamRecord } from '../../src/catalog/stream.js';
import { PublicationWatch } from '../../src/follow/publication-watch.js';
import { SentinelWatch } from '../../src/follow/sentinel-watch.js';
import { silentLog } from '../../src/log.js';
import { readLsn, zeroLsn } from '../../src/model/lsn.js';
import { readConninfo } from '../../src/postgres/connection-string.js';

const stream: StreamRecord = {
  slot: 'slot',
  plugin: 'pgoutput',
  publications: ['slot'],
  ownPublications: ['slot'],
  key: { stream: 'walferry', systemIdentifier: '7300000000000000001', database: 'shop' },
  timeline: 1,
  walSegmentBytes: 16777216n,
  startLsn: readLsn('0/1'),
  snapshot: null,
  tables: null,
  parts: [],
  carried: [],
  made: null,
};
const [end, later] = [readLsn('0/42'), readLsn('0/50')];
const never = new AbortController().signal;

let directory: string;
let catalog: Catalog;
let sentinel: SentinelWatch;
let warnings: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'walferry-watch-'));
  catalog = openCatalog(directory);
  setupSentinel(catalog, readLsn('0/1'), end);
  sentinel = new SentinelWatch(directory, silentLog);
  warnings = [];
});
afterEach(() => {
  sentinel.close();
  closeCatalog(catalog);
  rmSync(directory, { recursive: true, force: true });
});

/** Of a source that is gone: nobody listens at port 1. */
function watchGone(): PublicationWatch {
  return new PublicationWatch({
    source: readConninfo('postgres://walferry@127.0.0.1:1/shop', {}),
    stream,
    directory,
    sentinel,
    applies: true,
    log: { ...silentLog, warn: (message) => warnings.push(message) },
  });
}

test('a source that is gone when everything is received is told of, and the applier goes on', async () => {
  const publications = watchGone();
  const applied = publications.expectCarried(end, never);
  await publications.received(end, never);
  await applied;
  expect(warnings.at(-1)).toMatch(/0\/42 is received, but .*connection refused/);
  // The next run looks again.
  expect(loadCarried(catalog)).toBe(zeroLsn);
});

test('what was looked at is not looked at again, also by the next run', async () => {
  saveCarried(catalog, end);
  const publications = watchGone();
  await publications.receives(end, never);
  await publications.received(end, never);
  await publications.expectCarried(end, never);
  expect(warnings).toEqual([]);
});

test('before anything is received a source that is gone is a failure', async () => {
  await expect(watchGone().receives(readLsn('0/41'), never)).rejects.toThrow(/connection refused/);
});

test('an applier that waits for the look goes on where the end position is moved', async () => {
  const applied = watchGone().expectCarried(end, never);
  setEndpos(catalog, later);
  await applied;
});

test('a failure of the receiver is the failure of the applier that waits for it', async () => {
  const stop = new AbortController();
  const applied = watchGone().expectCarried(end, stop.signal);
  stop.abort();
  await expect(applied).rejects.toThrow(expect.objectContaining({ code: 'stopped' }));
});
