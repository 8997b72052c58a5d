import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Takes everything away that a stream needs, the slot first. What is missing already is no error. */
export const command: Command = {
  path: 'stream cleanup',
  group: 'T',
  summary: 'drop slot, publication, and what walferry keeps on the target',
  options: ['source', 'target', 'dir', 'slot-name', 'origin', 'publication'],
  needs: ['source', 'target'],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
