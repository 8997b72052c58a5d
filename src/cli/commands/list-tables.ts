import type { Command } from '../command.js';
import { tablesJson, tablesText } from '../list-output.js';
import { chooseListed, listScope, onSource } from '../source-lists.js';

/** The tables whose rows are copied, in the order in which a clone takes them. */
export const command: Command = {
  path: 'list tables',
  group: 'L',
  summary: 'tables of the source, the largest first',
  options: [
    'source',
    'dir',
    'snapshot',
    'schema-name',
    'table-name',
    'without-pkey',
    'estimate-table-sizes',
    'filters',
    'list-skipped',
    'force',
  ],
  needs: ['source'],
  run: async (context) => {
    const { settings } = context;
    const { listTables } = await import('../../postgres/catalog-lists.js');
    const all = await onSource(context, async (session) => {
      const { shows } = await chooseListed(context, session);
      const tables = await listTables(session, listScope(settings), settings.estimateTableSizes);
      return tables.filter(({ oid }) => shows((filter) => filter.decideRelation(oid).schema));
    });
    const tables = settings.withoutPrimaryKey ? all.filter((table) => !table.hasPrimaryKey) : all;
    await context.stdout(settings.json ? tablesJson(tables) : tablesText(tables));
  },
};
