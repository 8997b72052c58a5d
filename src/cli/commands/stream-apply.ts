import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Journal to target; with `--target -` SQL on stdout instead. */
export const command: Command = {
  path: 'stream apply',
  group: 'T',
  summary: 'apply transform files to the target (--target - prints SQL)',
  options: ['source', 'target', 'dir', 'resume', 'origin', 'endpos'],
  needs: ['target'],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
