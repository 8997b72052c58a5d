import type { Command } from '../command.js';
import { formatLsn, readLsn } from '../../model/lsn.js';

/** Sets the end position and prints it; settings.ts has checked that there is an LSN or --current with --source. */
export const command: Command = {
  path: 'stream sentinel set endpos',
  group: 'S',
  summary: 'set the end position (--current: where the source stands)',
  options: ['source', 'dir', 'current'],
  arguments: [{ name: 'lsn', kind: 'lsn', required: false }],
  needs: [],
  run: async ({ settings, arguments: [lsn], source, log, signal, stdout }) => {
    const { markEndpos, setEndposOf } = await import('../../follow/sentinel-commands.js');
    const endpos =
      lsn === undefined ? await markEndpos(settings.directory, source(), log, signal) : readLsn(lsn);
    setEndposOf(settings.directory, endpos);
    await stdout(`${formatLsn(endpos)}\n`);
  },
};
