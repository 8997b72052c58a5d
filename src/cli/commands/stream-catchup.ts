import type { Command } from '../command.js';
import { runStreamPart } from '../stream-command.js';

/** Journal to target, up to the end of the journal or the end position. */
export const command: Command = {
  path: 'stream catchup',
  group: 'T',
  summary: 'apply what the transform files hold, then end',
  options: ['source', 'target', 'dir', 'resume', 'origin', 'endpos', 'monitor', 'host', 'port'],
  needs: ['target'],
  run: (context) => runStreamPart(['target'], context),
};
