import type { Command } from '../command.js';
import { controlTarget } from '../control.js';

/** Keeps changes from being applied by processes that start from now on. */
export const command: Command = {
  path: 'stream sentinel set prefetch',
  group: 'S',
  summary: 'switch applying off: changes are only received',
  options: ['dir', 'coordinator-host', 'coordinator-port'],
  needs: [],
  run: async (context) => {
    const { settings, log } = context;
    const { setSentinel } = await import('../../follow/sentinel-commands.js');
    const control = await controlTarget(context);
    await setSentinel({ directory: settings.directory, control, log }, { apply: false });
    log.info('applying changes is disabled: changes are received only');
  },
};
