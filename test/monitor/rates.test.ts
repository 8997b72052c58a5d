import { describe, expect, test } from 'vitest';
import {
  expectedBytes,
  judgeBacklog,
  ratePerSecond,
  secondsFor,
  type Reading,
} from '../../src/monitor/rates.js';

/** One reading every five seconds. */
const every5s = (values: readonly number[]): Reading[] =>
  values.map((value, nth) => ({ atMs: nth * 5000, value }));

const megabyte = 1024 * 1024;

describe('rates', () => {
  test('are of the window alone', () => {
    const readings = every5s([0, 1000, 2000, 2000, 2000, 2500]);
    expect(ratePerSecond(readings, 60_000)).toBe(100);
    expect(ratePerSecond(readings, 10_000)).toBe(50);
    expect(ratePerSecond(readings.slice(0, 1), 10_000)).toBeNull();
    expect(ratePerSecond([], 10_000)).toBeNull();
  });
});

describe('a backlog', () => {
  test.each<[string, number[], number | null, unknown]>([
    ['small and young is level', [100, 90, 100], 300, { kind: 'level' }],
    ['small but old is not', [100, 100, 100, 100], 60_000, { kind: 'growing', bytesPerSecond: 0 }],
    ['watched too briefly says nothing', [900 * megabyte, 800 * megabyte], 9000, { kind: 'unknown' }],
    ['nobody watched says nothing', [], null, { kind: 'unknown' }],
    [
      'that shrinks is gone at some time',
      [900, 800, 700, 600, 500].map((value) => value * megabyte),
      9000,
      { kind: 'shrinking', secondsLeft: 25 },
    ],
    [
      'that grows does not converge',
      [500, 600, 700, 800, 900].map((value) => value * megabyte),
      9000,
      { kind: 'growing', bytesPerSecond: 20 * megabyte },
    ],
    [
      'that stays does not converge',
      Array.from({ length: 6 }, () => 500 * megabyte),
      9000,
      { kind: 'growing', bytesPerSecond: 0 },
    ],
    [
      'that would take months does not converge',
      [500 * megabyte, 500 * megabyte - 1, 500 * megabyte - 2, 500 * megabyte - 3],
      9000,
      { kind: 'growing', bytesPerSecond: 0 },
    ],
  ])('%s', (_name, values, lag, expected) => {
    expect(judgeBacklog(every5s(values), lag)).toEqual(expected);
  });

  test('that has begun to shrink is judged by the last two minutes', () => {
    const grown = Array.from({ length: 60 }, (_, nth) => nth * 10 * megabyte);
    const shrinking = Array.from({ length: 30 }, (_, nth) => (600 - nth * 10) * megabyte);
    expect(judgeBacklog(every5s([...grown, ...shrinking]), 9000)).toMatchObject({ kind: 'shrinking' });
  });
});

describe('a copy', () => {
  test.each<[string, Parameters<typeof expectedBytes>[0], number]>([
    [
      'is as large as on disk before anything is finished',
      { size: 1000, copiedBytes: 10, finishedCopied: 0, finishedSize: 0 },
      1000,
    ],
    [
      'is as the finished tables were',
      { size: 1000, copiedBytes: 300, finishedCopied: 200, finishedSize: 400 },
      500,
    ],
    [
      'is not judged by one small table',
      { size: 1000, copiedBytes: 300, finishedCopied: 2, finishedSize: 10 },
      1000,
    ],
    ['is at least what was copied', { size: 100, copiedBytes: 300, finishedCopied: 0, finishedSize: 0 }, 300],
    ['of nothing is nothing', { size: 0, copiedBytes: 0, finishedCopied: 0, finishedSize: 0 }, 0],
  ])('%s', (_name, facts, expected) => {
    expect(expectedBytes(facts)).toBe(expected);
  });

  test('takes as long as the rest needs, and for ever while nothing moves', () => {
    expect(secondsFor(1000, 100)).toBe(10);
    expect(secondsFor(0, null)).toBe(0);
    expect(secondsFor(1000, 0)).toBeNull();
    expect(secondsFor(1000, null)).toBeNull();
  });
});
