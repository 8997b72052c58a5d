import type { Command } from '../command.js';
import { databasesJson, databasesText } from '../list-output.js';
import { onSource } from '../source-lists.js';

/** Every database of the source's server but the templates. */
export const command: Command = {
  path: 'list databases',
  group: 'L',
  summary: 'databases of the source server',
  options: ['source', 'dir', 'force'],
  needs: ['source'],
  run: async (context) => {
    const { listDatabases } = await import('../../postgres/catalog-lists.js');
    const databases = await onSource(context, listDatabases);
    await context.stdout(context.settings.json ? databasesJson(databases) : databasesText(databases));
  },
};
