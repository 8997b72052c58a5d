import { Failure } from '../../failure.js';
import type { Command } from '../command.js';

/** Exports a snapshot (with --follow: the one of a new slot), prints its id, holds it until it is stopped. */
export const command: Command = {
  path: 'snapshot',
  group: 'N',
  summary: 'hold a snapshot of the source until stopped',
  options: ['source', 'dir', 'follow', 'plugin', 'slot-name', 'publication'],
  needs: ['source'],
  endsByStop: true,
  run: async (context) => {
    throw new Failure('not-built', `${context.path} is not built yet`);
  },
};
