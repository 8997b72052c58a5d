import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Creates or overwrites the sentinel. */
export const command: Command = {
  path: 'stream sentinel setup',
  group: 'S',
  summary: 'make the sentinel anew, with applying switched off',
  options: ['dir'],
  arguments: [
    { name: 'startpos', kind: 'lsn', required: true },
    { name: 'endpos', kind: 'lsn', required: true },
  ],
  needs: [],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
