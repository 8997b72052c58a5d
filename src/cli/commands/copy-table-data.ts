import type { Command } from '../command.js';
import { goOnOptions, runStepCommand } from '../step-command.js';

/** Rows without indexes, constraints and statistics. */
export const command: Command = {
  path: 'copy table-data',
  group: 'K',
  summary: 'copy rows alone into tables that are there',
  options: [
    'source',
    'target',
    'dir',
    'filters',
    'table-jobs',
    'split-tables-larger-than',
    'split-max-parts',
    'skip-split-by-ctid',
    'estimate-table-sizes',
    'use-copy-binary',
    'drop-if-exists',
    'fail-fast',
    ...goOnOptions,
  ],
  needs: ['source', 'target'],
  run: (context) => runStepCommand('copy table-data', context),
};
