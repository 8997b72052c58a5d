import type { Command } from '../command.js';
import { goOnOptions, restoreOptions, runStepCommand } from '../step-command.js';

/** From the dump in the work directory. */
export const command: Command = {
  path: 'restore pre-data',
  group: 'R',
  summary: 'restore what rows need: schemas, types, functions, tables',
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
  run: (context) => runStepCommand('restore pre-data', context),
};
