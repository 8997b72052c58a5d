/** Runs once before all tests with servers: builds the program when its sources are newer, and starts two servers. */
import type { TestProject } from 'vitest/node';
import { buildWhenStale } from './build.js';
import { startServer } from './clusters.js';
import { temporaryDirectory } from './directory.js';

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await buildWhenStale();
  const [source, target] = await Promise.all([startServer('source'), startServer('target')]);
  const dataHomes = await temporaryDirectory();
  project.provide('dataHomes', dataHomes.path);
  project.provide('servers', {
    source: { address: source.address, owner: source.owner },
    target: { address: target.address, owner: target.owner },
  });
  return async () => {
    await Promise.all([source, target, dataHomes].map((made) => made[Symbol.asyncDispose]()));
  };
}
