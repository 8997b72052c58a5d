import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Prints the sentinel: all of it, or one field (`settings.sentinelField`), see sentinel-output.ts. */
export const command: Command = {
  path: 'stream sentinel get',
  group: 'S',
  summary: 'print the positions of the stream',
  options: [
    'dir',
    'show-startpos',
    'show-endpos',
    'show-apply',
    'show-write-lsn',
    'show-flush-lsn',
    'show-transform-lsn',
    'show-replay-lsn',
  ],
  needs: [],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
