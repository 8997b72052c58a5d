import { expect, test } from 'vitest';
import { surviveTroubles } from './ledger.js';

test(
  'walferry, both servers and connections die under load: nothing is lost, nothing is doubled',
  { retry: 0 },
  async () => {
    const survived = await surviveTroubles({
      kills: 3,
      targetCrashes: 1,
      sourceCrashes: 1,
      terminations: 3,
      clients: 2,
      calmMs: 600,
    });
    process.stdout.write(`${JSON.stringify(survived)}\n`);
    expect(survived.streamed).toBeGreaterThan(0);
  },
);
