import { describe, expect, test } from 'vitest';
import { CommitClock, lagMs, type LagFacts } from '../../src/model/lag.js';
import type { Lsn } from '../../src/model/lsn.js';

const lsn = (value: number) => BigInt(value) as Lsn;

describe('lag in time', () => {
  const level: LagFacts = {
    position: lsn(100),
    source: lsn(100),
    sourceHeardAtMs: 10_000,
    firstBehindAtMs: null,
    levelAtMs: 10_000,
    passedAtMs: null,
    nowMs: 10_000,
  };
  test.each<[string, Partial<LagFacts>, number | null]>([
    ['level with a source that was heard a moment ago: none', {}, 0],
    ['level, heard a few seconds ago: none, whatever the last commit was', { nowMs: 20_000 }, 0],
    ['ahead of what the source is known to be: none', { position: lsn(200) }, 0],
    ['level with what a lost source was: since it was heard', { nowMs: 70_000 }, 60_000],
    ['behind a commit: since that commit', { source: lsn(150), firstBehindAtMs: 9400, nowMs: 10_000 }, 600],
    [
      'behind the first commit after an hour without any: of that one, not of the hour',
      { source: lsn(150), firstBehindAtMs: 3_609_000, levelAtMs: 3_608_000, nowMs: 3_610_000 },
      1000,
    ],
    ['behind something that has not arrived: since it was level', { source: lsn(150), nowMs: 12_000 }, 2000],
    [
      'behind something that has not arrived, never seen level: since the last commit that is there',
      { source: lsn(150), levelAtMs: null, passedAtMs: 10_000, nowMs: 7_210_000 },
      7_200_000,
    ],
    [
      'behind something that has not arrived: since whatever was later',
      { source: lsn(150), levelAtMs: 10_000, passedAtMs: 40_000, nowMs: 42_000 },
      2000,
    ],
    ['behind, and never seen level: not known', { source: lsn(150), levelAtMs: null }, null],
    ['a clock that runs backwards makes no negative lag', { source: lsn(150), firstBehindAtMs: 99_000 }, 0],
  ])('%s', (_name, facts, expected) => {
    expect(lagMs({ ...level, ...facts })).toBe(expected);
  });
});

describe('the clock of commits', () => {
  test('gives the first commit behind a position', () => {
    const clock = new CommitClock();
    for (const at of [10, 20, 30]) clock.note({ lsn: lsn(at), atMs: at * 1000 });
    expect(clock.firstBehind(lsn(5))?.atMs).toBe(10_000);
    expect(clock.firstBehind(lsn(10))?.atMs).toBe(20_000);
    expect(clock.firstBehind(lsn(29))?.atMs).toBe(30_000);
    expect(clock.firstBehind(lsn(30))).toBeNull();
  });

  test('a commit that comes again is known already', () => {
    const clock = new CommitClock();
    clock.note({ lsn: lsn(20), atMs: 20 });
    clock.note({ lsn: lsn(10), atMs: 99 });
    clock.note({ lsn: lsn(20), atMs: 99 });
    expect(clock.firstBehind(lsn(0))).toEqual({ lsn: lsn(20), atMs: 20 });
  });

  test('forgets what is behind nobody, and keeps the oldest of a backlog that is too long for it', () => {
    const clock = new CommitClock();
    for (let at = 1; at <= 20_000; at += 1) clock.note({ lsn: lsn(at), atMs: at });
    expect(clock.firstBehind(lsn(0))?.atMs).toBe(1);
    expect((clock.firstBehind(lsn(10_000))?.atMs ?? 0) - 10_000).toBeLessThan(20);
    clock.forget(lsn(19_999));
    expect(clock.firstBehind(lsn(0))?.atMs).toBe(20_000);
    clock.forget(lsn(20_000));
    expect(clock.firstBehind(lsn(0))).toBeNull();
  });
});
