import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Failure } from '../../src/failure.js';
import type { Lsn } from '../../src/model/lsn.js';
import type { StreamFrame } from '../../src/postgres/feedback.js';
import { GroupedSync } from '../../src/receive/grouped-sync.js';
import { Reconnect } from '../../src/receive/reconnect.js';
import { ShutdownWait } from '../../src/receive/shutdown-wait.js';

const lsn = (value: number) => BigInt(value) as Lsn;

describe('syncing', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A disk whose every fsync takes 5 ms; the list has the time of each begin. */
  function disk(failAt = Number.POSITIVE_INFINITY) {
    const begun: number[] = [];
    let synced = 0;
    const zero = performance.now();
    const sync = new GroupedSync({
      intervalMs: 20,
      onSynced: () => (synced += 1),
      sync: async () => {
        begun.push(performance.now() - zero);
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (begun.length >= failAt) throw new Failure('disk-full', 'no room');
      },
    });
    return { sync, begun, synced: () => synced };
  }

  test('a lone request is served at once', async () => {
    const { sync, begun, synced } = disk();
    sync.request();
    await vi.advanceTimersByTimeAsync(5);
    expect(begun).toEqual([0]);
    expect(synced()).toBe(1);
  });

  test('requests in between are served together, one interval after the last', async () => {
    const { sync, begun } = disk();
    for (let nth = 0; nth < 10; nth += 1) {
      sync.request();
      await vi.advanceTimersByTimeAsync(1);
    }
    await vi.advanceTimersByTimeAsync(100);
    expect(begun).toEqual([0, 20]);
  });

  test('the end waits for what is on its way and then syncs once more', async () => {
    const { sync, begun } = disk();
    sync.request();
    sync.request();
    const finished = sync.finish();
    await vi.advanceTimersByTimeAsync(50);
    await finished;
    expect(begun).toEqual([0, 5]);
  });

  test('after a failure nothing is synced any more, and everybody is told', async () => {
    const { sync, begun, synced } = disk(1);
    sync.request();
    sync.request();
    await vi.advanceTimersByTimeAsync(100);
    expect(begun).toHaveLength(1);
    expect(synced()).toBe(0);
    expect(() => sync.request()).toThrow('no room');
    await expect(sync.finish()).rejects.toThrow('no room');
  });
});

describe('a lost source', () => {
  const lost = new Failure('source-disconnected', 'gone');
  const busy = new Failure('slot-busy', 'busy');
  const options = { forMs: 60_000, busyAtStartMs: 10_000 };

  test('is tried again with longer pauses until its time is over', () => {
    const reconnect = new Reconnect(options, () => 1);
    expect([0, 1, 2, 3, 4].map((nth) => reconnect.pauseAfter(lost, nth))).toEqual([
      300, 900, 2700, 5000, 5000,
    ]);
    expect(reconnect.pauseAfter(lost, 59_900)).toBe(100);
    expect(reconnect.pauseAfter(lost, 60_000)).toBeNull();
  });

  test('has its whole time again once something arrived', () => {
    const reconnect = new Reconnect(options, () => 0);
    reconnect.pauseAfter(lost, 0);
    reconnect.arrived();
    expect(reconnect.pauseAfter(lost, 60_000)).toBe(100);
  });

  test('whose slot is read by somebody else is given up sooner when we never read it ourselves', () => {
    const first = new Reconnect(options, () => 0);
    first.pauseAfter(busy, 0);
    expect(first.pauseAfter(busy, 10_000)).toBeNull();
    const later = new Reconnect(options, () => 0);
    later.arrived();
    later.pauseAfter(busy, 0);
    expect(later.pauseAfter(busy, 10_000)).toBe(100);
  });

  test.each([
    'slot-lost',
    'slot-ahead',
    'source-login',
    'message-unreadable',
    'stopped',
    'disk-full',
  ] as const)('is not tried again after %s', (code) => {
    expect(new Reconnect(options).pauseAfter(new Failure(code, ''), 0)).toBeNull();
  });
});

describe('a source that waits for us', () => {
  const asks: StreamFrame = { kind: 'keepalive', lsn: lsn(200), time: 0n, replyRequested: true };
  const change: StreamFrame = { kind: 'data', walStart: lsn(1), bytes: Buffer.alloc(0), start: 0, end: 0 };

  test('is left when it asked in vain for two seconds', () => {
    const wait = new ShutdownWait('applied');
    expect(wait.mustLeave({ frames: [asks] }, lsn(100), 0)).toBe(false);
    expect(wait.mustLeave({ frames: [asks] }, lsn(100), 1000)).toBe(false);
    expect(wait.mustLeave({ frames: [] }, lsn(100), 3000)).toBe(false);
    expect(wait.mustLeave({ frames: [asks] }, lsn(100), 3000)).toBe(true);
  });

  test('is not left while changes come, while applying moves, or when everything is acknowledged', () => {
    const wait = new ShutdownWait('applied');
    for (let nth = 0; nth < 10; nth += 1) {
      const now = nth * 3000;
      expect(wait.mustLeave({ frames: [change, asks] }, lsn(100), now)).toBe(false);
      expect(wait.mustLeave({ frames: [asks] }, lsn(100 + nth), now + 1000)).toBe(false);
      expect(wait.mustLeave({ frames: [asks] }, lsn(200), now + 2000)).toBe(false);
    }
  });

  test('is never left when what is durable is acknowledged: that always comes', () => {
    const wait = new ShutdownWait('durable');
    wait.mustLeave({ frames: [asks] }, lsn(100), 0);
    expect(wait.mustLeave({ frames: [asks] }, lsn(100), 60_000)).toBe(false);
  });
});
