/** Servers of other major versions, for one test file: started at its first test that asks, stopped after its last. */
import { afterAll, type TestContext } from 'vitest';
import { findMajor, missingMajor } from '../../scripts/clusters/majors.js';
import { findPrograms } from '../../scripts/clusters/programs.js';
import { type ClusterSide, sharedServer, startServer, type TestServer } from './clusters.js';

export type Majors = {
  /** The server of this major version on this side; the test is skipped, and says what is missing, where there is none. */
  readonly server: (context: TestContext, major: number, side: ClusterSide) => Promise<TestServer>;
};

/** Call it at the top of a file. The shared servers stand in for their own version. */
export function useMajors(): Majors {
  const started = new Map<string, ReturnType<typeof startServer>>();
  afterAll(async () => {
    const all = await Promise.allSettled(started.values());
    for (const result of all) {
      if (result.status === 'fulfilled') await result.value[Symbol.asyncDispose]();
    }
  });
  return {
    server: async (context, major, side) => {
      if (findPrograms()?.version === major) return sharedServer(side);
      if (findMajor(major) === null) context.skip(missingMajor(major));
      const key = `${major} ${side}`;
      const starting = started.get(key) ?? startServer(side, { major });
      started.set(key, starting);
      return await starting;
    },
  };
}
