import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Receives and applies changes; copies neither schema nor tables. */
export const command: Command = {
  path: 'follow',
  group: 'K',
  summary: 'apply the changes of the source to the target until the end position',
  options: [
    'source',
    'target',
    'dir',
    'restart',
    'resume',
    'snapshot',
    'plugin',
    'slot-name',
    'create-slot',
    'origin',
    'publication',
    'endpos',
    'ack',
  ],
  needs: ['source', 'target'],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
