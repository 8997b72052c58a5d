import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { closeCatalog, openCatalog, type Catalog } from '../../src/catalog/database.js';
import { loadSentinel, setApply, setEndpos, setupSentinel } from '../../src/catalog/sentinel.js';
import { endposReached, SentinelWatch } from '../../src/follow/sentinel-watch.js';
import { silentLog } from '../../src/log.js';
import { readLsn, zeroLsn } from '../../src/model/lsn.js';

let directory: string;
let terminal: Catalog;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'walferry-watch-'));
  terminal = openCatalog(directory);
});
afterEach(() => {
  closeCatalog(terminal);
  rmSync(directory, { recursive: true, force: true });
});

describe('the sentinel watch', () => {
  test('needs a sentinel', () => {
    expect(() => new SentinelWatch(directory, silentLog)).toThrow(/no stream was set up/);
  });

  test('sees what a second terminal sets, and shows it the positions of the run', async () => {
    setupSentinel(terminal, readLsn('0/1'), zeroLsn);
    const watch = new SentinelWatch(directory, silentLog);
    const never = new AbortController().signal;
    watch.record({ writeLsn: readLsn('0/9'), flushLsn: readLsn('0/8') });
    watch.record({ replayLsn: readLsn('0/7') });
    const enabled = watch.until((sentinel) => sentinel.apply, never);
    setEndpos(terminal, readLsn('0/42'));
    setApply(terminal, true);
    await enabled;
    expect(watch.endpos()).toBe(readLsn('0/42'));
    watch.close();
    const told = loadSentinel(terminal);
    expect([told?.writeLsn, told?.flushLsn, told?.replayLsn]).toEqual(['0/9', '0/8', '0/7'].map(readLsn));
  });

  test('goes on where the last look at the publications cannot be remembered', () => {
    setupSentinel(terminal, readLsn('0/1'), zeroLsn);
    terminal.database.exec(
      `create trigger broken before insert on carried begin select raise(abort, 'broken'); end`,
    );
    const warnings: string[] = [];
    const watch = new SentinelWatch(directory, { ...silentLog, warn: (message) => warnings.push(message) });
    watch.recordCarried(readLsn('0/42'));
    watch.close();
    expect(warnings).toEqual([expect.stringMatching(/the next run looks again.*broken/)]);
  });

  test('stops waiting when the signal is set', async () => {
    setupSentinel(terminal, readLsn('0/1'), zeroLsn);
    const watch = new SentinelWatch(directory, silentLog);
    const stop = new AbortController();
    const waiting = watch.until((sentinel) => sentinel.apply, stop.signal);
    stop.abort();
    await expect(waiting).rejects.toThrow(expect.objectContaining({ code: 'stopped' }));
    watch.close();
  });
});

describe('an end position', () => {
  test.each([
    ['0/0', '0/10', false],
    ['0/10', '0/F', false],
    ['0/10', '0/10', true],
    ['0/10', '0/11', true],
  ])('of %s is reached at %s: %s', (endpos, applied, reached) => {
    expect(endposReached(readLsn(endpos), readLsn(applied))).toBe(reached);
  });
});
