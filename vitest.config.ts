import { defineConfig } from 'vitest/config';

/** What needs servers shares two of them, started once for the run: see test/support/clusters.ts. */
const servers = { globalSetup: ['test/support/global-setup.ts'], hookTimeout: 120_000, maxWorkers: 2 };

/**
 * Unit tests (`*.test.ts`) need nothing; tests with servers (`*.pg.test.ts`) start them. The long ones
 * (`*.soak.test.ts`: many kills, many rows) run by `npm run soak` alone, one file at a time.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          // Property tests and files of megabytes, on machines that others use as well.
          testTimeout: 120_000,
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.pg.test.ts', 'test/**/*.soak.test.ts'],
        },
      },
      {
        test: {
          name: 'servers',
          include: ['test/**/*.pg.test.ts'],
          testTimeout: 120_000,
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
