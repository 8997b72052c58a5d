import type { Command } from '../command.js';
import { followProgress, followOptions } from '../stream-options.js';

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
    'heartbeat',
    'monitor',
    'host',
    'port',
  ],
  needs: ['source', 'target'],
  run: async (context) => {
    const { runStream } = await import('../../follow/stream-commands.js');
    await runStream({ ...(await followOptions(context)), onProgress: followProgress(context.progress) });
  },
};
