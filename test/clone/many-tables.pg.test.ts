import { expect, test } from 'vitest';
import { cloneManyTables } from './many-tables.js';

// Half a minute when nothing else runs. 20,000 of them: many-tables.soak.test.ts.
const timeout = 400_000;

test('2,000 tables with a key each are copied in less than 200 MB of memory', { timeout }, async () => {
  const { peakMegabytes } = await cloneManyTables(2000);
  expect(peakMegabytes).toBeGreaterThan(20);
  expect(peakMegabytes).toBeLessThan(200);
});
