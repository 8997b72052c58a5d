import type { Command } from '../command.js';
import { sayProblems } from '../clone-options.js';

/** For `restore roles`, which may come later and from elsewhere. */
export const command: Command = {
  path: 'dump roles',
  group: 'D',
  summary: 'dump the roles of the source server into the work directory',
  options: ['source', 'dir', 'no-role-passwords'],
  needs: ['source'],
  run: async (context) => {
    const { settings, log, signal } = context;
    const { dumpRolesToFile } = await import('../../follow/role-commands.js');
    const problems = await dumpRolesToFile({
      source: context.source(),
      directory: settings.directory,
      passwords: !settings.noRolePasswords,
      log,
      signal,
    });
    sayProblems(log, problems);
  },
};
