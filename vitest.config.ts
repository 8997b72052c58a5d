import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** What `expect` calls equal. */
const equality = { setupFiles: ['test/support/equal-changes.ts'] };

/**
 * What needs no server: property tests and files of megabytes, on machines that others use as well. Two processors take
 * two workers, since some tests wait for time to pass.
 */
const alone = { ...equality, testTimeout: 120_000, maxWorkers: Math.max(2, availableParallelism() - 1) };

/** What needs servers shares two of them, started once for the run: see test/support/clusters.ts. */
const servers = {
  ...equality,
  globalSetup: ['test/support/global-setup.ts'],
  hookTimeout: 300_000,
  maxWorkers: 3,
};

/**
 * Unit tests (`*.test.ts`) need nothing and together take seconds; those that take longer (`*.long.test.ts`) are left out
 * of `npm run check`. Tests with servers (`*.pg.test.ts`) start them. The very long ones (`*.soak.test.ts`: many kills,
 * many rows) run by `npm run soak` alone, one file at a time.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          ...alone,
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.long.test.ts', 'test/**/*.pg.test.ts', 'test/**/*.soak.test.ts'],
          // Half of the time would go into loading the same modules for each file: no test changes them.
          isolate: false,
        },
      },
      {
        test: { name: 'long', ...alone, include: ['test/**/*.long.test.ts'] },
      },
      {
        test: {
          name: 'servers',
          include: ['test/**/*.pg.test.ts'],
          testTimeout: 300_000,
          // Network cuts, restarts and time limits on a shared machine: once more, and said by the reporter. The tests
          // that kill at random never get a second chance.
          retry: process.env['CI'] === 'true' ? 1 : 0,
          sequence: { groupOrder: 1 },
          ...servers,
        },
      },
      {
        test: {
          name: 'soak',
          include: ['test/**/*.soak.test.ts'],
          testTimeout: 3_600_000,
          sequence: { groupOrder: 2 },
          ...servers,
          maxWorkers: 1,
        },
      },
    ],
  },
});
