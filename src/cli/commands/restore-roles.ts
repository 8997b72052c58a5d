import type { Command } from '../command.js';
import { sayProblems } from '../clone-options.js';

/** Roles that are there stay as they are. */
export const command: Command = {
  path: 'restore roles',
  group: 'R',
  summary: 'make the roles that dump roles left in the work directory',
  options: ['target', 'dir'],
  needs: ['target'],
  run: async (context) => {
    const { settings, log, signal } = context;
    const { restoreRolesFromFile } = await import('../../follow/role-commands.js');
    const problems = await restoreRolesFromFile({
      target: context.target(),
      directory: settings.directory,
      log,
      signal,
    });
    sayProblems(log, problems);
  },
};
