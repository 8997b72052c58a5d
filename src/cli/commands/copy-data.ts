import type { Command } from '../command.js';
import { goOnOptions, runStepCommand } from '../step-command.js';

/** Everything of a clone that is not schema. */
export const command: Command = {
  path: 'copy data',
  group: 'K',
  summary: 'copy everything but the schema, into tables that are there',
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
    'index-jobs',
    'large-objects-jobs',
    'drop-if-exists',
    'skip-large-objects',
    'skip-vacuum',
    'fail-fast',
    ...goOnOptions,
  ],
  needs: ['source', 'target'],
  run: (context) => runStepCommand('copy data', context),
};
