import type { Command, CommandContext } from '../command.js';
import { schemaJson, type ListedSchema, type ListedSplit } from '../list-output.js';
import type { ListedTable } from '../../postgres/catalog-lists.js';
import type { Session } from '../../postgres/connect.js';
import type { Settings } from '../settings.js';
import { chooseListed, onSource } from '../source-lists.js';
import { writeWhole } from '../work-file.js';

/** Everything in one object, printed and kept as schema.json in the work directory; nothing without --json. */
export const command: Command = {
  path: 'list schema',
  group: 'L',
  summary: 'tables, indexes and sequences of the source in one object (with --json)',
  options: [
    'source',
    'dir',
    'snapshot',
    'filters',
    'split-tables-larger-than',
    'split-max-parts',
    'skip-split-by-ctid',
    'estimate-table-sizes',
    'force',
  ],
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
    const all = await lists.listTables(session, undefined, settings.estimateTableSizes);
    const tables = all.filter(({ oid }) => shows((chosen) => chosen.decideRelation(oid).schema));
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
        splitLargerThan: settings.split?.largerThanBytes ?? 0,
        tableJobs: settings.tableJobs,
        indexJobs: settings.indexJobs,
      },
      filters,
      tables,
      splits: await fetchSplits(session, tables, settings.split),
      columns: await lists.listColumns(session),
      withoutRows: new Set(withoutRows.map(({ oid }) => oid)),
      indexes,
      sequences,
      sequenceValues: await lists.listSequenceValues(session, sequences),
    };
  });
}

async function fetchSplits(
  session: Session,
  tables: readonly ListedTable[],
  options: Settings['split'],
): Promise<Map<number, ListedSplit>> {
  if (options === null) return new Map();
  const splits = await import('../../postgres/table-splits.js');
  const named = tables.map(({ oid, rawSchema, rawName, bytes }) => ({
    oid,
    schema: rawSchema,
    name: rawName,
    bytes,
  }));
  const found = Object.entries(await splits.fetchSplits(session, named, options));
  return new Map(
    found.map(([oid, { column, conditions }]) => [
      Number(oid),
      { key: column ?? 'ctid', parts: conditions.map(splits.partBounds) },
    ]),
  );
}
