import type { Command } from '../command.js';

/** Keeps changes from being applied by processes that start from now on. */
export const command: Command = {
  path: 'stream sentinel set prefetch',
  group: 'S',
  summary: 'switch applying off: changes are only received',
  options: ['dir'],
  needs: [],
  run: async ({ settings, log }) => {
    const { setApplyOf } = await import('../../follow/sentinel-commands.js');
    setApplyOf(settings.directory, false);
    log.info('applying changes is disabled: changes are received only');
  },
};
