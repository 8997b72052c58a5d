import type { Command } from '../command.js';
import { filtersOf } from '../clone-options.js';
import { followProgress, streamChoices, streamTuning } from '../stream-options.js';
import { controlChoices } from '../control.js';

/** Receives and applies changes; copies neither schema nor tables. */
export const command: Command = {
  path: 'follow',
  group: 'K',
  summary: 'apply the changes of the source to the target until the end position',
  options: [
    'source',
    'target',
    'dir',
    'restart',
    'resume',
    'snapshot',
    'plugin',
    'wal2json-numeric-as-string',
    'slot-name',
    'create-slot',
    'origin',
    'publication',
    'filters',
    'endpos',
    'ack',
    'max-journal-size',
    'host',
    'port',
  ],
  needs: ['source', 'target'],
  run: async (context) => {
    const { settings, log, signal, progress } = context;
    const { runStream } = await import('../../follow/stream-commands.js');
    await runStream({
      source: context.source(),
      target: context.target(),
      directory: settings.directory,
      journalDirectory: settings.journalDirectory,
      choices: streamChoices(settings),
      filters: await filtersOf(settings),
      endpos: settings.endpos,
      tuning: streamTuning(settings),
      control: controlChoices(context),
      log,
      signal,
      onProgress: followProgress(progress),
    });
  },
};
