import type { Command } from '../command.js';
import { streamChoiceOptions, streamChoices } from '../stream-options.js';

/** Makes the sentinel, and the position row on the target; the slot is there already. */
export const command: Command = {
  path: 'stream setup',
  group: 'T',
  summary: 'prepare the work directory and the target for following',
  options: ['source', 'target', 'dir', 'restart', 'resume', ...streamChoiceOptions, 'endpos'],
  needs: ['source', 'target'],
  run: async ({ settings, source, target, log, signal }) => {
    const { runStreamSetup } = await import('../../follow/stream-commands.js');
    await runStreamSetup({
      source: source(),
      target: target(),
      directory: settings.directory,
      choices: streamChoices(settings),
      log,
      signal,
    });
  },
};
