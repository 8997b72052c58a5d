import type { Command } from '../command.js';
import { readLsn } from '../../model/lsn.js';

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
  run: async ({ settings, arguments: [startpos = '', endpos = ''] }) => {
    const { makeSentinelOf } = await import('../../follow/sentinel-commands.js');
    makeSentinelOf(settings.directory, readLsn(startpos), readLsn(endpos));
  },
};
