import type { Command } from '../command.js';
import { sayProblems } from '../clone-options.js';

/** Roles are the server's, not the database's: this needs neither snapshot nor work directory. */
export const command: Command = {
  path: 'copy roles',
  group: 'K',
  summary: 'copy the roles of the source server',
  options: ['source', 'target', 'dir', 'no-role-passwords'],
  needs: ['source', 'target'],
  run: async (context) => {
    const { settings, log, signal } = context;
    const { copyRolesNow } = await import('../../follow/role-commands.js');
    const problems = await copyRolesNow({
      source: context.source(),
      target: context.target(),
      directory: settings.directory,
      passwords: !settings.noRolePasswords,
      log,
      signal,
    });
    sayProblems(log, problems);
  },
};
