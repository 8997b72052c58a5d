import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Receives and applies at the same time. */
export const command: Command = {
  path: 'stream replay',
  group: 'T',
  summary: 'receive and apply changes until the end position',
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
    'endpos',
    'ack',
  ],
  needs: ['source', 'target'],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
