import type { DatabasePair } from '../../compare/all-databases.js';
import type { SchemaComparison } from '../../compare/schema-difference.js';
import type { Command, CommandContext } from '../command.js';
import { compareSchemaOptions } from '../compare-options.js';

/** Compares what both databases are made of. */
export const command: Command = {
  path: 'compare schema',
  group: 'C',
  summary: 'compare the schemas, object by object (exit 21 when they differ)',
  options: [
    'source',
    'target',
    'dir',
    'compare-no-comments',
    'owners',
    'privileges',
    'no-sequence-values',
    'compare-all-databases',
  ],
  needs: ['source', 'target'],
  run: async (context) => {
    const { settings, log, signal, stdout } = context;
    const { schemasDiffer, schemaSentence } = await import('../../compare/schema-difference.js');
    const report = await import('../../compare/schema-report.js');
    const sides = { source: context.source(), target: context.target(), directory: settings.directory };

    if (!settings.allDatabases) {
      const comparison = await compareOne(context, sides);
      await stdout(settings.json ? report.schemaJson(comparison) : report.schemaText(comparison));
      return conclude(context, [comparison], schemasDiffer(comparison));
    }
    const { compareEachDatabase } = await import('../../compare/all-databases.js');
    const comparisons = await compareEachDatabase({ ...sides, log, signal }, (pair) =>
      compareOne(context, pair),
    );
    const text = report.countsTable(comparisons) + comparisons.map(report.schemaText).join('');
    await stdout(settings.json ? report.allSchemasJson(comparisons) : text);
    for (const { database, differences } of comparisons) {
      for (const difference of differences) log.notice(`${database}: ${schemaSentence(difference)}`);
    }
    return conclude(context, comparisons, schemasDiffer(...comparisons));
  },
};

async function compareOne(context: CommandContext, pair: DatabasePair): Promise<SchemaComparison> {
  const { compareSchema } = await import('../../compare/schema.js');
  const { LockWatch } = await import('../../follow/lock-watch.js');
  await using _locks = new LockWatch({ ...pair, log: context.log });
  return await compareSchema(await compareSchemaOptions(context, pair));
}

function conclude(
  { log }: CommandContext,
  comparisons: readonly SchemaComparison[],
  failure: Error | null,
): void {
  if (failure !== null) throw failure;
  const objects = comparisons.flatMap(({ counts }) => counts).reduce((sum, { source }) => sum + source, 0);
  log.info(`both schemas are equal: ${objects} objects`);
}
