import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** `-` and a missing second name are standard input and output. */
export const command: Command = {
  path: 'stream transform',
  group: 'T',
  summary: 'print a transform file as the SQL that apply would run',
  options: [],
  arguments: [
    { name: 'in.json', kind: 'text', required: true },
    { name: 'out.sql', kind: 'text', required: false },
  ],
  needs: [],
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
