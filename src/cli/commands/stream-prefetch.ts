import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Receives like `stream receive`, while the sentinel asks for it. */
export const command: Command = {
  path: 'stream prefetch',
  group: 'T',
  summary: 'receive changes ahead of applying them',
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
