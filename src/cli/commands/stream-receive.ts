import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Slot to journal, nothing else. */
export const command: Command = {
  path: 'stream receive',
  group: 'T',
  summary: 'receive changes into transform files until the end position',
  options: [
    'source',
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
  needs: ['source'],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
