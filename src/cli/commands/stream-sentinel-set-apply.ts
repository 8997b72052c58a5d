import type { Command } from '../command.js';

/** Lets changes be applied. */
export const command: Command = {
  path: 'stream sentinel set apply',
  group: 'S',
  summary: 'switch applying on',
  options: ['dir'],
  needs: [],
  run: async ({ settings, log }) => {
    const { setApplyOf } = await import('../../follow/sentinel-commands.js');
    setApplyOf(settings.directory, true);
    log.info('applying changes is enabled');
  },
};
