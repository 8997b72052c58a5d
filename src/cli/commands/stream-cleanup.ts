import type { Command } from '../command.js';
import { streamChoices } from '../stream-options.js';

/** Takes everything away that a stream needs, the slot first. What is missing already is no error. */
export const command: Command = {
  path: 'stream cleanup',
  group: 'T',
  summary: 'drop slot, publication, and what walferry keeps on the target',
  options: ['source', 'target', 'dir', 'slot-name', 'origin', 'publication'],
  needs: ['source', 'target'],
  run: async ({ settings, source, target, log, signal }) => {
    const { runCleanup } = await import('../../follow/stream-commands.js');
    await runCleanup({
      source: source(),
      target: target(),
      directory: settings.directory,
      journalDirectory: settings.journalDirectory,
      choices: streamChoices(settings),
      log,
      signal,
    });
  },
};
