import type { Command } from '../command.js';
import { goOnOptions, runStepCommand } from '../step-command.js';

/** Large objects with their owners, comments and privileges. */
export const command: Command = {
  path: 'copy blobs',
  group: 'K',
  summary: 'copy large objects alone',
  options: [
    'source',
    'target',
    'dir',
    'large-objects-jobs',
    'drop-if-exists',
    'no-owner',
    'no-acl',
    'no-comments',
    'fail-fast',
    ...goOnOptions,
  ],
  needs: ['source', 'target'],
  run: (context) => runStepCommand('copy blobs', context),
};
