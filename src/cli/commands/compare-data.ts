import type { CompareProgress } from '../../compare/options.js';
import type { DataComparison } from '../../compare/comparison.js';
import type { DatabasePair } from '../../compare/all-databases.js';
import { prettySize } from '../output.js';
import type { Command, CommandContext } from '../command.js';
import { compareDataOptions } from '../compare-options.js';

/** Counts and sums up every table on both sides. */
export const command: Command = {
  path: 'compare data',
  group: 'C',
  summary: 'compare row counts and checksums of all tables (exit 21 when they differ)',
  options: ['source', 'target', 'dir', 'table-jobs', 'rows', 'compare-all-databases'],
  needs: ['source', 'target'],
  run: async (context) => {
    const { settings, log, signal, stdout } = context;
    const { relationLabel } = await import('../../model/relation.js');
    const { differenceSentence, momentsSentence, sidesDiffer } = await import('../../compare/comparison.js');
    const { allComparisonsJson, comparisonJson, comparisonTable } = await import('../../compare/report.js');
    const sides = { source: context.source(), target: context.target(), directory: settings.directory };

    let comparisons: readonly DataComparison[];
    if (settings.allDatabases) {
      const { compareEachDatabase } = await import('../../compare/all-databases.js');
      comparisons = await compareEachDatabase({ ...sides, log, signal }, (pair) => compareOne(context, pair));
      const text = comparisons.map(comparisonTable).join('');
      await stdout(settings.json ? allComparisonsJson(comparisons) : text);
    } else {
      const comparison = await compareOne(context, sides);
      comparisons = [comparison];
      await stdout(settings.json ? comparisonJson(comparison) : comparisonTable(comparison));
    }

    const label = (comparison: DataComparison) => (settings.allDatabases ? `${comparison.database}: ` : '');
    for (const comparison of comparisons) {
      for (const table of comparison.onlyOnTarget) {
        log.warn(`${label(comparison)}${relationLabel(table)} exists only on the target`);
      }
      for (const table of comparison.tables) {
        if (table.difference !== null) log.notice(`${label(comparison)}${differenceSentence(table)}`);
      }
    }
    const tables = comparisons.flatMap((comparison) => comparison.tables);
    const moments = momentsSentence(tables);
    if (moments !== null) log.info(moments);
    const failure = sidesDiffer(...comparisons);
    if (failure !== null) throw failure;
    const busy = tables.filter((table) => (table.moving?.changing ?? 0) > 0);
    for (const table of busy) {
      log.warn(
        `${relationLabel(table)}: ${table.moving?.changing} rows were being written and were not compared: compare again, at the latest when nobody writes any more`,
      );
    }
    const rows = tables.reduce((sum, table) => sum + (table.source?.rows ?? 0n), 0n);
    const but = busy.length === 0 ? '' : ', but for rows that change all the time';
    log.info(`both sides are equal: ${tables.length} tables, ${rows} rows${but}`);
  },
};

async function compareOne(context: CommandContext, pair: DatabasePair): Promise<DataComparison> {
  const { settings, progress, log } = context;
  const { compareData } = await import('../../compare/data.js');
  const { relationLabel } = await import('../../model/relation.js');
  const { LockWatch } = await import('../../follow/lock-watch.js');
  await using _locks = new LockWatch({ ...pair, log });
  const where = settings.allDatabases ? `${pair.source.database}: ` : '';
  const show = ({ done, total, last, bytesDone, bytesTotal, settling }: CompareProgress) => {
    const name =
      settling !== null
        ? `, rows of ${relationLabel(settling.table)} that were written meanwhile: ${settling.rows} looked at`
        : last === null
          ? ''
          : `, last ${relationLabel(last)}`;
    const bytes = `${prettySize(bytesDone)} of ${prettySize(bytesTotal)}`;
    progress.show(`${where}compared ${done} of ${total} tables, ${bytes}${name}`);
  };
  const comparison = await compareData({ ...(await compareDataOptions(context, pair)), onProgress: show });
  progress.hide();
  return comparison;
}
