import { expect, test } from 'vitest';
import { surviveTroubles } from './ledger.js';

test(
  'walferry, both servers and connections die under load: nothing is lost, nothing is doubled',
  // A minute and a half where nothing else runs; more of it in the soak.
  { retry: 0, timeout: 900_000 },
  async () => {
    const survived = await surviveTroubles({
      kills: 2,
      targetCrashes: 1,
      sourceCrashes: 1,
      terminations: 2,
      clients: 2,
      calmMs: 600,
    });
    process.stdout.write(`${JSON.stringify(survived)}\n`);
    expect(survived.streamed).toBeGreaterThan(0);
  },
);
