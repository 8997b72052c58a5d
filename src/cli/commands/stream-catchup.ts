import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Journal to target, up to the end of the journal or the end position. */
export const command: Command = {
  path: 'stream catchup',
  group: 'T',
  summary: 'apply what the transform files hold, then end',
  options: ['source', 'target', 'dir', 'resume', 'origin', 'endpos'],
  needs: ['target'],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
