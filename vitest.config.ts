import { defineConfig } from 'vitest/config';

/** Unit tests (`*.test.ts`) need nothing; tests with servers (`*.pg.test.ts`) start their own clusters. */
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/**/*.pg.test.ts'] } },
      {
        test: {
          name: 'servers',
          include: ['test/**/*.pg.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
    ],
  },
});
