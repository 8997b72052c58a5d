import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Keeps changes from being applied by processes that start from now on. */
export const command: Command = {
  path: 'stream sentinel set prefetch',
  group: 'S',
  summary: 'switch applying off: changes are only received',
  options: ['dir'],
  needs: [],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
