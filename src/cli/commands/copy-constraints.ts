import type { Command } from '../command.js';
import { goOnOptions, runStepCommand } from '../step-command.js';

/** Looks at the target for what is left to do. */
export const command: Command = {
  path: 'copy constraints',
  group: 'K',
  summary: 'add constraints from indexes that are there',
  options: ['source', 'target', 'dir', 'filters', 'index-jobs', 'fail-fast', ...goOnOptions],
  needs: ['source', 'target'],
  run: (context) => runStepCommand('copy constraints', context),
};
