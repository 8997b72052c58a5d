import type { Command } from '../command.js';
import { goOnOptions, restoreOptions, runStepCommand } from '../step-command.js';

/** What pg_dump --schema-only copies. */
export const command: Command = {
  path: 'copy schema',
  group: 'K',
  summary: 'copy the schema alone: everything but rows',
  options: [
    'source',
    'target',
    'dir',
    'filters',
    'requirements',
    'index-jobs',
    'restore-jobs',
    'drop-if-exists',
    'roles',
    'no-role-passwords',
    ...restoreOptions,
    'skip-extensions',
    'skip-ext-comments',
    'skip-collations',
    'skip-db-properties',
    'fail-fast',
    ...goOnOptions,
  ],
  needs: ['source', 'target'],
  run: (context) => runStepCommand('copy schema', context),
};
