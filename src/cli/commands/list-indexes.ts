import type { Command } from '../command.js';
import { indexesJson, indexesText } from '../list-output.js';
import { chooseListed, onSource, tableScope } from '../source-lists.js';

/** Every index with its constraint. */
export const command: Command = {
  path: 'list indexes',
  group: 'L',
  summary: 'indexes of the source, of all tables or of one',
  options: ['source', 'dir', 'snapshot', 'schema-name', 'table-name', 'filters', 'list-skipped', 'force'],
  needs: ['source'],
  run: async (context) => {
    const { settings } = context;
    const scope = tableScope(settings);
    const { listIndexes } = await import('../../postgres/catalog-lists.js');
    const indexes = await onSource(context, async (session) => {
      const { shows } = await chooseListed(context, session);
      const all = await listIndexes(session, scope);
      return all.filter(({ oid }) => shows((filter) => filter.decideIndex(oid).kept));
    });
    await context.stdout(settings.json ? indexesJson(indexes) : indexesText(indexes));
  },
};
