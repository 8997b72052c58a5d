import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nextPauseMs } from '../../src/model/back-off.js';
import { seededRandom } from '../support/random.js';

const bounds = { shortestMs: 100, longestMs: 5000 };

test('a pause is never shorter than the shortest, longer than the longest or than three times the one before', () => {
  const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(fc.array(fraction, { minLength: 1, maxLength: 30 }), (randoms) => {
      let previous = bounds.shortestMs;
      for (const random of randoms) {
        const pause = nextPauseMs(previous, bounds, random);
        expect(pause).toBeGreaterThanOrEqual(bounds.shortestMs);
        expect(pause).toBeLessThanOrEqual(Math.min(bounds.longestMs, previous * 3));
        previous = pause;
      }
    }),
  );
});

test('a thousand who lost a server together ask it less and less, and not in the same moment', () => {
  const random = seededRandom(7);
  const attempts: number[] = [];
  for (let one = 0; one < 1000; one += 1) {
    let [at, pause] = [0, bounds.shortestMs];
    while (at < 60_000) {
      pause = nextPauseMs(pause, bounds, random());
      at += pause;
      attempts.push(at);
    }
  }
  const between = (from: number, to: number) => attempts.filter((at) => at >= from && at < to).length;
  // In the first second several times each, later once in two or three seconds each.
  expect(between(0, 1000)).toBeGreaterThan(2 * between(30_000, 31_000));
  // No tenth of a second has a tenth of them: without jitter every one would have all of them or none.
  for (let from = 10_000; from < 60_000; from += 100) expect(between(from, from + 100)).toBeLessThan(100);
});
