import type { Command } from '../command.js';
import { versionText } from '../version.js';

/** Prints the version; main.ts answers the plain forms before anything else is loaded. */
export const command: Command = {
  path: 'version',
  group: 'O',
  summary: 'print the version',
  options: [],
  needs: [],
  run: async (context) => context.stdout(versionText(context.settings.json)),
};
