/** Randomness that can be had again: a run prints its seed, and WALFERRY_TEST_SEED repeats it. */
import { randomInt } from 'node:crypto';

/** The seed of this run; printed, so that a failure can be repeated. */
export function testSeed(what: string): number {
  const given = process.env['WALFERRY_TEST_SEED'];
  const seed = given === undefined ? randomInt(2 ** 31) : Number(given);
  process.stdout.write(`${what}: WALFERRY_TEST_SEED=${seed}\n`);
  return seed;
}

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
