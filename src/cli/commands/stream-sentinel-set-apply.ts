import type { Command } from '../command.js';
import { controlTarget } from '../control.js';

/** Lets changes be applied. */
export const command: Command = {
  path: 'stream sentinel set apply',
  group: 'S',
  summary: 'switch applying on',
  options: ['dir', 'coordinator-host', 'coordinator-port'],
  needs: [],
  run: async (context) => {
    const { settings, log } = context;
    const { setSentinel } = await import('../../follow/sentinel-commands.js');
    const control = await controlTarget(context);
    await setSentinel({ directory: settings.directory, control, log }, { apply: true });
    log.info('applying changes is enabled');
  },
};
