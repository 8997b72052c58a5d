import type { Command } from '../command.js';
import { goOnOptions, runStepCommand } from '../step-command.js';

/** For a role that may create extensions; the rest can then be copied by one that may not, with --skip-extensions. */
export const command: Command = {
  path: 'copy extensions',
  group: 'K',
  summary: 'create the extensions, and copy the rows of their configuration tables',
  options: ['source', 'target', 'dir', 'filters', 'requirements', 'drop-if-exists', ...goOnOptions],
  needs: ['source', 'target'],
  run: (context) => runStepCommand('copy extensions', context),
};
