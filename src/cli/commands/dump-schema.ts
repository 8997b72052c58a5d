import type { Command } from '../command.js';
import { goOnOptions, runStepCommand } from '../step-command.js';

/** The restore commands go by what it leaves. With a target, what that could not take is said at once. */
export const command: Command = {
  path: 'dump schema',
  group: 'D',
  summary: 'dump the schema of the source into the work directory',
  options: ['source', 'target', 'dir', 'filters', 'skip-extensions', ...goOnOptions],
  needs: ['source'],
  run: (context) => runStepCommand('dump schema', context),
};
