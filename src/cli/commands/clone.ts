import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Copies the schema and the data; with --follow also the changes, from the same snapshot on. */
export const command: Command = {
  path: 'clone',
  aliases: ['fork', 'copy db'],
  group: 'K',
  summary: 'copy a database to the target, and with --follow its changes until the end position',
  options: [
    'source',
    'target',
    'dir',
    'table-jobs',
    'index-jobs',
    'restore-jobs',
    'drop-if-exists',
    'no-owner',
    'no-acl',
    'no-comments',
    'no-tablespaces',
    'skip-large-objects',
    'skip-vacuum',
    'skip-analyze',
    'fail-fast',
    'restart',
    'resume',
    'snapshot',
    'follow',
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
