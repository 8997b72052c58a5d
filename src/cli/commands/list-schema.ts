import type { Command, CommandContext } from '../command.js';
import { schemaJson, type ListedSchema } from '../list-output.js';
import { onSource } from '../source-lists.js';
import { writeWhole } from '../work-file.js';

/** Everything in one object, printed and kept as schema.json in the work directory; nothing without --json. */
export const command: Command = {
  path: 'list schema',
  group: 'L',
  summary: 'tables, indexes and sequences of the source in one object (with --json)',
  options: ['source', 'dir', 'snapshot', 'force'],
  needs: ['source'],
  run: async (context) => {
    if (!context.settings.json) {
      context.log.info('list schema prints JSON: use --json');
      return;
    }
    const text = schemaJson(await fetchSchema(context));
    await writeWhole(context.settings.directory, 'schema.json', text);
    await context.stdout(text);
  },
};

async function fetchSchema(context: CommandContext): Promise<ListedSchema> {
  const { settings } = context;
  const lists = await import('../../postgres/catalog-lists.js');
  const { describeConninfo } = await import('../../postgres/connection-string.js');
  return await onSource(context, async (session) => {
    const tables = await lists.listTables(session);
    const sequences = await lists.listSequences(session);
    return {
      setup: {
        snapshot: settings.snapshot,
        source: describeConninfo(context.source()),
        target: null,
        tableJobs: settings.tableJobs,
        indexJobs: settings.indexJobs,
      },
      filters: { type: 'SOURCE_FILTER_TYPE_NONE' },
      tables,
      columns: await lists.listColumns(session),
      withoutRows: new Set(),
      indexes: await lists.listIndexes(session),
      sequences,
      sequenceValues: await lists.listSequenceValues(session, sequences),
    };
  });
}
