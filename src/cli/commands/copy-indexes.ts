import type { Command } from '../command.js';
import { goOnOptions, runStepCommand } from '../step-command.js';

/** Looks at the target for what is left to do. */
export const command: Command = {
  path: 'copy indexes',
  group: 'K',
  summary: 'build the indexes that the target lacks, then their constraints',
  options: [
    'source',
    'target',
    'dir',
    'filters',
    'index-jobs',
    'no-tablespaces',
    'fail-fast',
    ...goOnOptions,
  ],
  needs: ['source', 'target'],
  run: (context) => runStepCommand('copy indexes', context),
};
