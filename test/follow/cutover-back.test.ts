import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { beginCutover, isAbandoned, setCutoverState } from '../../src/catalog/cutover.js';
import { closeCatalog, openCatalog } from '../../src/catalog/database.js';
import { takeLocks } from '../../src/catalog/lock.js';
import { sayWhenAbandoned, watchForTakingBack } from '../../src/follow/cutover-back.js';
import { silentLog } from '../../src/log.js';
import { temporaryDirectory } from '../support/directory.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a run that waits for a cutover says every half minute that it was killed, and only then', async () => {
  await using directory = await temporaryDirectory();
  const catalog = openCatalog(directory.path);
  const lines: string[] = [];
  using _reminder = sayWhenAbandoned(catalog, { ...silentLog, warn: (line) => lines.push(line) });
  vi.advanceTimersByTime(30_000);

  const lock = takeLocks(directory.path, ['cutover']);
  beginCutover(catalog, {});
  vi.advanceTimersByTime(30_000);
  expect(lines).toEqual([]);

  lock.release();
  vi.advanceTimersByTime(60_000);
  expect(lines).toEqual([expect.stringMatching(/--resume.*--abort/), expect.stringMatching(/--abort/)]);
  expect(isAbandoned(directory.path, 'undoing')).toBe(true);

  setCutoverState(catalog, 'undone');
  vi.advanceTimersByTime(30_000);
  expect(lines).toHaveLength(2);
  expect(isAbandoned(directory.path, 'undone')).toBe(false);
  closeCatalog(catalog);
});

test('a catalog that cannot be read for a moment does not end the run that completes the target', async () => {
  await using directory = await temporaryDirectory();
  const catalog = openCatalog(directory.path);
  using watch = watchForTakingBack(catalog);
  closeCatalog(catalog);
  expect(() => vi.advanceTimersByTime(1000)).not.toThrow();
  expect(watch.signal.aborted).toBe(false);
});
