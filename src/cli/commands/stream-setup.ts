import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Makes the sentinel, and the position row on the target; the slot is there already. */
export const command: Command = {
  path: 'stream setup',
  group: 'T',
  summary: 'prepare the work directory and the target for following',
  options: [
    'source',
    'target',
    'dir',
    'restart',
    'resume',
    'plugin',
    'slot-name',
    'origin',
    'publication',
    'snapshot',
    'endpos',
  ],
  needs: ['source', 'target'],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
