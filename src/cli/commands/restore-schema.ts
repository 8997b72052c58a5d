import type { Command } from '../command.js';
import { goOnOptions, restoreOptions, runStepCommand } from '../step-command.js';

/** Pre-data, then post-data. */
export const command: Command = {
  path: 'restore schema',
  group: 'R',
  summary: 'restore the schema that dump schema left in the work directory',
  options: [
    'source',
    'target',
    'dir',
    'restore-jobs',
    'drop-if-exists',
    ...restoreOptions,
    'skip-extensions',
    'skip-ext-comments',
    ...goOnOptions,
  ],
  needs: ['target'],
  run: (context) => runStepCommand('restore schema', context),
};
