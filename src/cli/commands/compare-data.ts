import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Counts and sums up every table on both sides. */
export const command: Command = {
  path: 'compare data',
  group: 'C',
  summary: 'compare row counts and checksums of all tables (exit 21 when they differ)',
  options: ['source', 'target', 'dir', 'table-jobs'],
  needs: ['source', 'target'],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
