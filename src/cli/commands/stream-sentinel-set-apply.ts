import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Lets changes be applied. */
export const command: Command = {
  path: 'stream sentinel set apply',
  group: 'S',
  summary: 'switch applying on',
  options: ['dir'],
  needs: [],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
