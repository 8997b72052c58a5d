import type { Command } from '../command.js';
import { formatLsn, readLsn } from '../../model/lsn.js';
import { controlTarget } from '../control.js';

/** Sets the end position and prints it; settings.ts has checked that there is an LSN or --current with --source. */
export const command: Command = {
  path: 'stream sentinel set endpos',
  group: 'S',
  summary: 'set the end position (--current: where the source stands)',
  options: ['source', 'dir', 'coordinator-host', 'coordinator-port', 'current'],
  arguments: [{ name: 'lsn', kind: 'lsn', required: false }],
  needs: [],
  run: async (context) => {
    const {
      settings,
      log,
      signal,
      arguments: [lsn],
    } = context;
    const { markEndpos, setSentinel } = await import('../../follow/sentinel-commands.js');
    const place = { directory: settings.directory, control: await controlTarget(context), log };
    const endpos = lsn === undefined ? await markEndpos(place, context.source(), signal) : readLsn(lsn);
    await setSentinel(place, { endpos });
    await context.stdout(`${formatLsn(endpos)}\n`);
  },
};
