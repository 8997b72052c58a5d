import { expect, test } from 'vitest';
import { surviveTroubles } from './ledger.js';

test('killed 30 times, the target crashed 5 times, the source 3 times, 20 connections ended: nothing lost, nothing doubled', async () => {
  const survived = await surviveTroubles({
    kills: 30,
    targetCrashes: 5,
    sourceCrashes: 3,
    terminations: 20,
    clients: 4,
    calmMs: 1500,
  });
  process.stdout.write(`${JSON.stringify(survived)}\n`);
  expect(survived.streamed).toBeGreaterThan(20);
});
