import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Sets the end position and prints it; settings.ts has checked that there is an LSN or --current with --source. */
export const command: Command = {
  path: 'stream sentinel set endpos',
  group: 'S',
  summary: 'set the end position (--current: where the source stands)',
  options: ['source', 'dir', 'current'],
  arguments: [{ name: 'lsn', kind: 'lsn', required: false }],
  needs: [],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
