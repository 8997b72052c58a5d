import type { Command } from '../command.js';
import { goOnOptions, restoreOptions, runStepCommand } from '../step-command.js';

/** From the dump in the work directory; what is there already is left as it is. */
export const command: Command = {
  path: 'restore post-data',
  group: 'R',
  summary: 'restore what comes after the rows, indexes included',
  options: ['source', 'target', 'dir', 'restore-jobs', ...restoreOptions, ...goOnOptions],
  needs: ['target'],
  run: (context) => runStepCommand('restore post-data', context),
};
