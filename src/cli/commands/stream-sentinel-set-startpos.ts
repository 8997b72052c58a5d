import type { Command } from '../command.js';
import { readLsn } from '../../model/lsn.js';

/** Sets where the stream starts. */
export const command: Command = {
  path: 'stream sentinel set startpos',
  group: 'S',
  summary: 'set the start position',
  options: ['dir'],
  arguments: [{ name: 'lsn', kind: 'lsn', required: true }],
  needs: [],
  run: async ({ settings, arguments: [lsn = ''], log }) => {
    const { setStartposOf } = await import('../../follow/sentinel-commands.js');
    setStartposOf(settings.directory, readLsn(lsn));
    log.info(`startpos is ${lsn}`);
  },
};
