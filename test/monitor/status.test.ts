/** What is read from a work directory: of a run that goes on, of one that is gone, while another one writes. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { closeCatalog, openCatalog, openCatalogToRead, type Catalog } from '../../src/catalog/database.js';
import {
  loadSamples,
  saveLogLines,
  saveRun,
  saveSample,
  type RunRecord,
  type Sample,
} from '../../src/catalog/run-status.js';
import { setApply, setupSentinel } from '../../src/catalog/sentinel.js';
import { saveSetup } from '../../src/catalog/setup.js';
import { saveStream } from '../../src/catalog/stream.js';
import { planTasks, TaskRecorder } from '../../src/catalog/tasks.js';
import { readLsn, zeroLsn } from '../../src/model/lsn.js';
import { readStatus, readStatusAndDetails } from '../../src/monitor/status.js';
import { repository } from '../support/build.js';
import { temporaryDirectory } from '../support/directory.js';

const nowMs = 1_700_000_000_000;

const record: RunRecord = {
  role: 'clone',
  command: 'clone --follow',
  pid: 4711,
  startedAtMs: nowMs - 100_000,
  atMs: nowMs - 400,
  phase: { kind: 'apply' },
  phaseSinceMs: nowMs - 60_000,
  stream: {
    source: '0/9000',
    written: { lsn: '0/9000', behindBytes: 0, behindMs: 0 },
    durable: { lsn: '0/9000', behindBytes: 0, behindMs: 0 },
    applied: { lsn: '0/8000', behindBytes: 4096, behindMs: 250 },
    endpos: null,
    journalBytes: 100,
    resting: false,
  },
  slot: null,
  copyBraked: false,
};

const sample: Sample = {
  atMs: nowMs,
  source: '0/9000',
  written: '0/9000',
  applied: '0/8000',
  lagMs: 250,
  behind: 4096,
  copied: null,
};

/** A work directory with a stream. */
async function opened(): Promise<{ catalog: Catalog; directory: string } & AsyncDisposable> {
  const directory = await temporaryDirectory();
  const catalog = openCatalog(directory.path, 'status');
  saveSetup(catalog, { version: '0', source: 'a', target: 'b', settings: {} });
  saveStream(catalog, {
    slot: 'walferry',
    plugin: 'pgoutput',
    publications: [],
    ownPublications: [],
    key: { stream: 'walferry', systemIdentifier: '1', database: 'shop' },
    timeline: 1,
    walSegmentBytes: 16_777_216n,
    startLsn: readLsn('0/1000'),
    snapshot: null,
    tables: null,
    parts: [],
    carried: [],
    made: null,
  });
  setupSentinel(catalog, readLsn('0/1000'), zeroLsn);
  setApply(catalog, true);
  return {
    catalog,
    directory: directory.path,
    [Symbol.asyncDispose]: async () => {
      closeCatalog(catalog);
      await directory[Symbol.asyncDispose]();
    },
  };
}

describe('the status', () => {
  test('of a run that follows', async () => {
    await using place = await opened();
    saveRun(place.catalog, record);
    saveSample(place.catalog, sample);
    const status = readStatus(place.directory, nowMs);
    expect(status).toMatchObject({
      state: 'following',
      headline: 'Following: 0.3 s behind',
      source: 'a',
      pid: 4711,
      warnings: [],
      stream: { slotName: 'walferry', applyEnabled: true, endpos: null, catchUp: { kind: 'level' } },
    });
  });

  test('of a run that was killed says since when', async () => {
    await using place = await opened();
    saveRun(place.catalog, record);
    const status = readStatus(place.directory, nowMs + 120_000);
    expect(status.state).toBe('gone');
    expect(status.headline).toMatch(/last heard of 2 min 00 s ago/);
    expect(status.warnings).toEqual([expect.stringMatching(/--resume/)]);
  });

  test('of a receiver and an applier in two processes is one', async () => {
    await using place = await opened();
    const { stream } = record;
    if (stream === null) throw new Error('no stream');
    const received = { lsn: '0/9000', behindBytes: 1000, behindMs: 900 };
    saveRun(place.catalog, {
      ...record,
      role: 'receive',
      phase: { kind: 'receive' },
      stream: { ...stream, written: received, durable: received, applied: null },
    });
    saveRun(place.catalog, {
      ...record,
      role: 'apply',
      pid: 4712,
      atMs: nowMs - 200,
      stream: { ...stream, source: null, written: null, durable: null, journalBytes: null },
    });
    const status = readStatus(place.directory, nowMs);
    expect(status).toMatchObject({ phase: { kind: 'apply' }, pid: 4712 });
    expect(status.stream).toMatchObject({
      source: '0/9000',
      written: received,
      applied: { lsn: '0/8000', behindBytes: 5096, behindMs: 900 },
      journalBytes: 100,
    });
  });

  test('of a backlog that grows while rows are copied is not that it does not converge', async () => {
    await using place = await opened();
    saveRun(place.catalog, { ...record, phaseSinceMs: nowMs - 4000 });
    for (let at = nowMs - 100_000; at <= nowMs; at += 2000) {
      saveSample(place.catalog, { ...sample, atMs: at, behind: (at - nowMs + 100_000) * 1000 });
    }
    expect(readStatus(place.directory, nowMs).stream?.catchUp).toEqual({ kind: 'unknown' });
    saveRun(place.catalog, { ...record, phaseSinceMs: nowMs - 60_000 });
    expect(readStatus(place.directory, nowMs).stream?.catchUp.kind).toBe('growing');
  });

  test('of a copy adds up tables, parts and indexes', async () => {
    await using place = await opened();
    const relations = [1, 2, 3].map((oid) => ({
      oid,
      schema: 's',
      name: `t${oid}`,
      bytes: oid * 1000,
      estimatedRows: 1,
    }));
    const task = (name: string, kind: 'copy' | 'index', relationOid: number) => ({
      name,
      kind,
      relationOid,
      object: name,
    });
    planTasks(place.catalog, relations, [
      task('t1', 'copy', 1),
      task('t2 part 1', 'copy', 2),
      task('t2 part 2', 'copy', 2),
      task('t3', 'copy', 3),
      task('t1 index', 'index', 1),
    ]);
    const recorder = new TaskRecorder(place.catalog);
    recorder.done('t1', { durationMs: 1, bytes: 500, rows: 1 });
    recorder.done('t2 part 1', { durationMs: 1, bytes: 500, rows: 1 });
    recorder.started('t2 part 2');
    recorder.moved('t2 part 2', 250);
    recorder.flush();
    saveRun(place.catalog, { ...record, phase: { kind: 'copy', step: 'copy' } });
    const { status, details } = readStatusAndDetails(
      place.directory,
      { sampleMs: 0, lineId: 0, tables: 2 },
      nowMs,
    );
    expect(status.copy).toMatchObject({
      tables: { total: 3, done: 1, running: 1 },
      indexes: { total: 1, done: 0, running: 0 },
      copiedBytes: 1250,
      // t1 took half of its size on the wire; so will the others.
      expectedBytes: 3000,
    });
    expect(details.tables.map(({ name }) => name)).toEqual(['t2', 't3']);
    expect(details.tables[0]).toMatchObject({ copied: 750, parts: { total: 2, done: 1, running: 1 } });
  });
});

describe('samples and lines', () => {
  test('are dense for ten minutes, one a minute for a day, and gone after that', async () => {
    await using place = await opened();
    const day = 86_400_000;
    for (let at = nowMs - day - 3_600_000; at <= nowMs - 1_200_000; at += 60_000) {
      saveSample(place.catalog, { ...sample, atMs: at });
    }
    for (let at = nowMs - 1_200_000; at <= nowMs; at += 1000)
      saveSample(place.catalog, { ...sample, atMs: at });
    const times = loadSamples(place.catalog, 0).map(({ atMs }) => nowMs - atMs);
    expect(Math.max(...times)).toBeLessThanOrEqual(day);
    expect(times.filter((ago) => ago <= 590_000).length).toBeGreaterThan(290);
    expect(times.filter((ago) => ago > 610_000 && ago < 1_200_000).length).toBeLessThanOrEqual(10);
    expect(times.length).toBeLessThan(1440 + 320);
  });

  test('the last three hundred lines are kept', async () => {
    await using place = await opened();
    for (let nth = 0; nth < 40; nth += 1) {
      const lines = Array.from({ length: 10 }, (_, at) => ({
        atMs: at,
        severity: 'INFO',
        message: `${nth * 10 + at}`,
      }));
      saveLogLines(place.catalog, lines);
    }
    const known = { sampleMs: 0, lineId: 0, tables: 0 };
    const { log } = readStatusAndDetails(place.directory, known, nowMs).details;
    expect(log.at(-1)?.message).toBe('399');
    expect(log).toHaveLength(100);
    const behind = readStatusAndDetails(place.directory, { ...known, lineId: log.at(-2)?.id ?? 0 }, nowMs);
    expect(behind.details.log.map(({ message }) => message)).toEqual(['399']);
  });
});

describe('reading', () => {
  test('changes nothing, and makes nothing where nothing is', async () => {
    await using empty = await temporaryDirectory();
    expect(() => readStatus(empty.path)).toThrow(/there is no walferry run/);
    expect(readdirSync(empty.path)).toEqual([]);
    await using place = await opened();
    const reader = openCatalogToRead(place.directory);
    expect(() => reader.database.exec('delete from sentinel')).toThrow(/readonly/);
    closeCatalog(reader);
  });

  test('waits for no writer, and no writer waits for it', async () => {
    await using place = await opened();
    place.catalog.database.exec('begin immediate');
    saveRun(place.catalog, record);
    expect(readStatus(place.directory, nowMs).state).toBe('unknown');
    place.catalog.database.exec('commit');
    const reader = openCatalogToRead(place.directory);
    reader.database.exec('begin');
    reader.database.prepare('select count(*) from run_status').get();
    saveRun(place.catalog, { ...record, phase: { kind: 'done' } });
    closeCatalog(reader);
    expect(readStatus(place.directory, nowMs).state).toBe('done');
  });

  test('works on what a killed process left, its write-ahead file included', async () => {
    await using directory = await temporaryDirectory();
    const script = `
      import { openCatalog } from '${repository}dist/src/catalog/database.js';
      import { saveRun } from '${repository}dist/src/catalog/run-status.js';
      saveRun(openCatalog(process.argv[1], 'status'), JSON.parse(process.argv[2]));
      process.kill(process.pid, 'SIGKILL');`;
    const killed = spawnSync(process.execPath, [
      '--input-type=module',
      '--eval',
      script,
      directory.path,
      JSON.stringify(record),
    ]);
    expect(killed.signal).toBe('SIGKILL');
    expect(existsSync(join(directory.path, 'catalog.db-wal'))).toBe(true);
    expect(readStatus(directory.path, nowMs).phase).toEqual({ kind: 'apply' });
    expect(existsSync(join(directory.path, 'catalog.db-wal'))).toBe(true);
  });
});
