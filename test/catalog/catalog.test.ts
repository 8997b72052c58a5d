import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { closeCatalog, openCatalog } from '../../src/catalog/database.js';
import { takeLocks } from '../../src/catalog/lock.js';
import {
  catalogDataVersion,
  loadSentinel,
  recordPositions,
  setApply,
  setEndpos,
  setupSentinel,
} from '../../src/catalog/sentinel.js';
import { endPhase, phaseDone, phaseStarted, startPhase } from '../../src/catalog/setup.js';
import { loadStream, saveStream, type StreamRecord } from '../../src/catalog/stream.js';
import { readLsn, zeroLsn } from '../../src/model/lsn.js';

let directory: string;
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'walferry-catalog-')), 'work');
});
afterEach(() => rmSync(join(directory, '..'), { recursive: true, force: true }));

describe('the catalog', () => {
  test('lies in a directory that only its owner can read', () => {
    closeCatalog(openCatalog(directory));
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  test('of a later version is refused', () => {
    const catalog = openCatalog(directory);
    catalog.database.pragma('user_version = 999');
    closeCatalog(catalog);
    expect(() => openCatalog(directory)).toThrow(/version 999/);
  });

  test('gives back the stream it was given', () => {
    const catalog = openCatalog(directory);
    const stream: StreamRecord = {
      slot: 'Slot "1"',
      plugin: 'pgoutput',
      publications: ['a', 'b'],
      ownPublications: ['a'],
      key: { stream: 'walferry', systemIdentifier: '7300000000000000001', database: 'shop' },
      timeline: 3,
      walSegmentBytes: 16777216n,
      startLsn: readLsn('FFFFFFFF/FFFFFFFF'),
      snapshot: null,
      tables: null,
      parts: [],
      carried: [],
      made: {
        publications: [{ name: 'a', oid: '1', version: '7', owner: '10', publishes: 'insert' }],
        entries: [['2', '3']],
      },
    };
    expect(loadStream(catalog)).toBeNull();
    saveStream(catalog, stream);
    expect(loadStream(catalog)).toEqual(stream);
    closeCatalog(catalog);
  });

  test('lets a second connection set the end position, and the first one notice', () => {
    const run = openCatalog(directory);
    setupSentinel(run, readLsn('0/10'), zeroLsn);
    const before = catalogDataVersion(run);
    const terminal = openCatalog(directory, 'status');
    setEndpos(terminal, readLsn('1/20'));
    setApply(terminal, true);
    expect(catalogDataVersion(run)).not.toBe(before);
    recordPositions(run, { writeLsn: readLsn('0/30'), flushLsn: readLsn('0/20') });
    recordPositions(run, { replayLsn: readLsn('0/11') });
    expect(loadSentinel(terminal)).toEqual({
      startpos: readLsn('0/10'),
      endpos: readLsn('1/20'),
      apply: true,
      writeLsn: readLsn('0/30'),
      flushLsn: readLsn('0/20'),
      transformLsn: readLsn('0/20'),
      replayLsn: readLsn('0/11'),
    });
    closeCatalog(run);
    closeCatalog(terminal);
  });

  test('knows a phase that was begun from one that is done', () => {
    const catalog = openCatalog(directory);
    startPhase(catalog, 'copy');
    expect([phaseStarted(catalog, 'copy'), phaseDone(catalog, 'copy')]).toEqual([true, false]);
    endPhase(catalog, 'copy');
    expect(phaseDone(catalog, 'copy')).toBe(true);
    closeCatalog(catalog);
  });
});

describe('a lock', () => {
  const child = (names: string) =>
    spawnSync(
      process.execPath,
      [
        '-e',
        `const Database = require('better-sqlite3');
         const open = new Database(${JSON.stringify(join(directory, 'locks'))} + '/${names}.lock', { timeout: 0 });
         try { open.exec('begin exclusive'); process.stdout.write('taken'); }
         catch (error) { process.stdout.write(error.code); }
         process.kill(process.pid, 'SIGKILL');`,
      ],
      { cwd: join(import.meta.dirname, '..', '..'), encoding: 'utf8' },
    ).stdout;

  test('keeps another process out until it is released, and goes with a killed process', () => {
    const lock = takeLocks(directory, ['clone', 'receive']);
    expect(child('clone')).toBe('SQLITE_BUSY');
    lock.release();
    expect(child('clone')).toBe('taken');
    takeLocks(directory, ['clone']).release();
  });

  test('that is held names the holder, and none of the others stays taken', () => {
    const held = takeLocks(directory, ['receive']);
    expect(() => takeLocks(directory, ['clone', 'receive'])).toThrow(new RegExp(`pid ${process.pid}`));
    takeLocks(directory, ['clone']).release();
    held.release();
  });
});
