import { expect, test } from 'vitest';
import { Beginning } from '../../src/follow/beginning.js';

test('what begins is waited for until it has begun', async () => {
  const beginning = new Beginning();
  expect(beginning.awaited).toBeNull();

  beginning.expect(600_000);
  let waited = false;
  const waiting = beginning.awaited?.then(() => (waited = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(waited).toBe(false);

  beginning.over();
  await waiting;
  expect(beginning.awaited).toBeNull();
});

test('what does not begin is given up, and nobody waits for it any more', async () => {
  const beginning = new Beginning();
  beginning.expect(1);
  await beginning.awaited;
  expect(beginning.awaited).toBeNull();
});

test('what is expected anew lets go of whoever waited before', async () => {
  const beginning = new Beginning();
  beginning.expect(600_000);
  const before = beginning.awaited;
  beginning.expect(600_000);
  await before;
  expect(beginning.awaited).not.toBeNull();
  beginning.over();
});
