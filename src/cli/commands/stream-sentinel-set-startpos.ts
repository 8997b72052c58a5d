import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Sets where the stream starts. */
export const command: Command = {
  path: 'stream sentinel set startpos',
  group: 'S',
  summary: 'set the start position',
  options: ['dir'],
  arguments: [{ name: 'lsn', kind: 'lsn', required: true }],
  needs: [],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
