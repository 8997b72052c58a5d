import type { Command } from '../command.js';
import { runStreamPart } from '../stream-command.js';

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
    'plugin',
    'wal2json-numeric-as-string',
    'slot-name',
    'origin',
    'publication',
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
