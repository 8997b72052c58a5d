import { describe, expect, test } from 'vitest';
import { sayRetained, slotWarning } from '../../src/follow/slot-warning.js';
import { judgeSlot, type SlotReading } from '../../src/model/slot-headroom.js';

const gigabyte = 1024 ** 3;

/** One reading every ten seconds. */
function readings(safeBytes: readonly (number | null)[], more: Partial<SlotReading> = {}): SlotReading[] {
  return safeBytes.map((safe, nth) => ({
    atMs: nth * 10_000,
    walStatus: 'reserved',
    retainedBytes: gigabyte,
    safeBytes: safe,
    ...more,
  }));
}

describe('the slot', () => {
  test.each<[string, SlotReading[], unknown]>([
    ['not looked at yet', [], null],
    ['without a limit on the source', readings([null, null]), { kind: 'unlimited' }],
    ['with room that stays', readings([9 * gigabyte, 9 * gigabyte]), { kind: 'safe', secondsLeft: null }],
    ['with room that grows', readings([8 * gigabyte, 9 * gigabyte]), { kind: 'safe', secondsLeft: null }],
    ['seen once', readings([9 * gigabyte]), { kind: 'safe', secondsLeft: null }],
    [
      'with room for hours at this pace',
      readings([9 * gigabyte, 9 * gigabyte - 10_000_000]),
      { kind: 'safe', secondsLeft: expect.closeTo(9653.7, 0) as unknown },
    ],
    [
      'that is lost within half an hour at this pace',
      readings([9 * gigabyte, 8.9 * gigabyte]),
      { kind: 'danger', secondsLeft: expect.closeTo(890, 0) as unknown },
    ],
    [
      'with little room, whatever the pace',
      readings([0.1 * gigabyte, 0.1 * gigabyte]),
      { kind: 'danger', secondsLeft: null },
    ],
    ['behind its limit', readings([0], { walStatus: 'unreserved' }), { kind: 'danger', secondsLeft: 0 }],
    ['that is gone', readings([null], { walStatus: 'lost' }), { kind: 'lost' }],
  ])('%s', (_name, given, expected) => {
    expect(judgeSlot(given)).toEqual(expected);
  });

  test('a burst that is over does not count for longer than two minutes', () => {
    const burst: SlotReading = { atMs: 0, walStatus: 'reserved', retainedBytes: 0, safeBytes: 20 * gigabyte };
    const calm = readings([9 * gigabyte, 9 * gigabyte]).map((one) => ({ ...one, atMs: one.atMs + 200_000 }));
    expect(judgeSlot([burst, ...calm])).toEqual({ kind: 'safe', secondsLeft: null });
  });
});

describe('what is said of it', () => {
  test('danger is said loudly, with what is held back and what helps', () => {
    const text = slotWarning('s', { kind: 'danger', secondsLeft: 600 }, 3 * gigabyte) ?? '';
    expect(text).toMatch(/THE REPLICATION SLOT "s" MAY BE LOST IN ABOUT 10 MIN: it holds back 3.0 GB/);
    expect(text).toMatch(/max_slot_wal_keep_size/);
    expect(slotWarning('s', { kind: 'safe', secondsLeft: null }, 0)).toBeNull();
  });

  test('a source without a limit is warned of at 16 GB, and at every doubling', () => {
    const said = (gigabytes: number, before: number) =>
      sayRetained('s', { kind: 'unlimited' }, gigabytes * gigabyte, before * gigabyte)?.saidBytes ?? null;
    expect(said(15, 0)).toBeNull();
    expect(said(16, 0)).toBe(16 * gigabyte);
    expect(said(30, 16)).toBeNull();
    expect(said(32, 16)).toBe(32 * gigabyte);
    expect(sayRetained('s', { kind: 'safe', secondsLeft: null }, 99 * gigabyte, 0)).toBeNull();
  });
});
