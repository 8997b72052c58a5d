import type { Command } from '../command.js';
import { runStreamPart } from '../stream-command.js';
import { streamChoiceOptions } from '../stream-options.js';

/** Receives and applies at the same time. */
export const command: Command = {
  path: 'stream replay',
  group: 'T',
  summary: 'receive and apply changes until the end position',
  options: [
    'source',
    'target',
    'dir',
    'restart',
    'resume',
    ...streamChoiceOptions,
    'endpos',
    'ack',
    'max-journal-size',
    'heartbeat',
    'monitor',
    'host',
    'port',
  ],
  needs: ['source', 'target'],
  run: (context) => runStreamPart(['source', 'target'], context),
};
