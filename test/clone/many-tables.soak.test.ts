import { expect, test } from 'vitest';
import { startServer } from '../support/clusters.js';
import { cloneManyTables } from './many-tables.js';

const tables = 20_000;

/** pg_dump locks every table at once: that is a lock each on the source. */
const locks = { settings: { max_locks_per_transaction: '512' } };

/** What a tenth of the tables may take at most, times ten, and as much again for what is not linear on the servers. */
const mostTimes = 20;

test(`${tables} tables with a key each: less than 300 MB, in time linear in their number`, async () => {
  await using source = await startServer('source', locks);
  await using target = await startServer('target', locks);
  const few = await cloneManyTables(tables / 10, { source, target });
  const many = await cloneManyTables(tables, { source, target });
  process.stdout.write(`${tables / 10} tables: ${JSON.stringify(few)}; ${tables}: ${JSON.stringify(many)}\n`);
  expect(many.peakMegabytes).toBeLessThan(300);
  expect(many.seconds).toBeLessThan(few.seconds * mostTimes);
});
