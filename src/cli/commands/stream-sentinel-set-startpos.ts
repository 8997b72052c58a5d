import type { Command } from '../command.js';
import { readLsn } from '../../model/lsn.js';
import { controlTarget } from '../control.js';

/** Sets where the stream starts. */
export const command: Command = {
  path: 'stream sentinel set startpos',
  group: 'S',
  summary: 'set the start position',
  options: ['dir', 'coordinator-host', 'coordinator-port'],
  arguments: [{ name: 'lsn', kind: 'lsn', required: true }],
  needs: [],
  run: async (context) => {
    const {
      settings,
      log,
      arguments: [lsn = ''],
    } = context;
    const { setSentinel } = await import('../../follow/sentinel-commands.js');
    const control = await controlTarget(context);
    await setSentinel({ directory: settings.directory, control, log }, { startpos: readLsn(lsn) });
    log.info(`startpos is ${lsn}`);
  },
};
