import { Failure } from '../../failure.js';
import type { Command } from '../command.js';
import { partsJson, partsText } from '../list-output.js';
import { listScope, onSource } from '../source-lists.js';

/** How a clone with the same options copies the table. */
export const command: Command = {
  path: 'list table-parts',
  group: 'L',
  summary: 'the parts in which a table is copied',
  options: [
    'source',
    'dir',
    'snapshot',
    'schema-name',
    'table-name',
    'split-tables-larger-than',
    'split-max-parts',
    'skip-split-by-ctid',
    'estimate-table-sizes',
    'force',
  ],
  needs: ['source'],
  run: async (context) => {
    const { settings, log } = context;
    const { split: options } = settings;
    if (options === null || settings.tableName === null) {
      throw new Failure('usage', 'Options --split-tables-larger-than and --table-name are mandatory');
    }
    const { listTables } = await import('../../postgres/catalog-lists.js');
    const { fetchSplits, partBounds } = await import('../../postgres/table-splits.js');
    const { relationLabel } = await import('../../model/relation.js');
    const scope = listScope(settings);
    const label = relationLabel({ schema: scope.schema ?? '', name: settings.tableName });
    const split = await onSource(context, async (session) => {
      const [table] = await listTables(session, scope, settings.estimateTableSizes);
      if (table === undefined) throw new Failure('usage', `the source has no table ${label}`);
      const { oid, rawSchema: schema, rawName: name, bytes } = table;
      return (await fetchSplits(session, [{ oid, schema, name, bytes }], options))[String(oid)];
    });
    if (split === undefined) {
      log.info(`Table ${label} will not be split`);
      return;
    }
    log.info(`Table ${label} COPY will be split ${split.conditions.length}-ways`);
    const parts = split.conditions.map(partBounds);
    await context.stdout(settings.json ? partsJson(parts) : partsText(parts));
  },
};
