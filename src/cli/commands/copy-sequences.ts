import type { Command } from '../command.js';
import { runStepCommand } from '../step-command.js';

/** May be run at any time, and again. */
export const command: Command = {
  path: 'copy sequences',
  group: 'K',
  summary: 'set the sequences to where they stand on the source now',
  options: ['source', 'target', 'dir', 'filters', 'resume', 'not-consistent'],
  needs: ['source', 'target'],
  run: (context) => runStepCommand('copy sequences', context),
};
