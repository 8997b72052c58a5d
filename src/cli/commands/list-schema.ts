import type { Command, CommandContext } from '../command.js';
import { schemaJson, type ListedSchema } from '../list-output.js';
import { chooseListed, onSource } from '../source-lists.js';
import { writeWhole } from '../work-file.js';

/** Everything in one object, printed and kept as schema.json in the work directory; nothing without --json. */
export const command: Command = {
  path: 'list schema',
  group: 'L',
  summary: 'tables, indexes and sequences of the source in one object (with --json)',
  options: ['source', 'dir', 'snapshot', 'filters', 'force'],
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
    const { filter, filters, shows } = await chooseListed(context, session);
    const tables = (await lists.listTables(session)).filter(({ oid }) =>
      shows((chosen) => chosen.decideRelation(oid).schema),
    );
    const sequences = (await lists.listSequences(session)).filter(({ rawSchema, rawName }) =>
      shows((chosen) => chosen.decideSequence({ schema: rawSchema, name: rawName }).kept),
    );
    const indexes = (await lists.listIndexes(session)).filter(({ oid }) =>
      shows((chosen) => chosen.decideIndex(oid).kept),
    );
    const withoutRows = tables.filter(({ oid }) => filter?.decideRelation(oid).data === false);
    return {
      setup: {
        snapshot: settings.snapshot,
        source: describeConninfo(context.source()),
        target: null,
        tableJobs: settings.tableJobs,
        indexJobs: settings.indexJobs,
      },
      filters,
      tables,
      columns: await lists.listColumns(session),
      withoutRows: new Set(withoutRows.map(({ oid }) => oid)),
      indexes,
      sequences,
      sequenceValues: await lists.listSequenceValues(session, sequences),
    };
  });
}
