import type { Command } from '../command.js';

/** Counts and sums up every table on both sides. */
export const command: Command = {
  path: 'compare data',
  group: 'C',
  summary: 'compare row counts and checksums of all tables (exit 21 when they differ)',
  options: ['source', 'target', 'dir', 'table-jobs'],
  needs: ['source', 'target'],
  run: async ({ settings, source, target, log, signal, stdout, progress }) => {
    const { compareData } = await import('../../compare/data.js');
    const { differenceSentence, sidesDiffer } = await import('../../compare/comparison.js');
    const { loadComparedTables } = await import('../../compare/scope.js');
    const { comparisonJson, comparisonTable } = await import('../../compare/report.js');
    const { relationLabel } = await import('../../model/relation.js');

    const keeps = loadComparedTables(settings.directory, source(), target());
    if (keeps !== null) log.info(`only the tables that the run in ${settings.directory} copies are compared`);
    const comparison = await compareData({
      source: source(),
      target: target(),
      jobs: settings.tableJobs,
      keeps,
      log,
      signal,
      onProgress: ({ done, total, last }) => {
        const name = last === null ? '' : `, last ${relationLabel(last)}`;
        progress.show(`compared ${done} of ${total} tables${name}`);
      },
    });
    progress.hide();
    await stdout(settings.json ? comparisonJson(comparison) : comparisonTable(comparison));

    for (const table of comparison.onlyOnTarget)
      log.warn(`${relationLabel(table)} exists only on the target`);
    const failure = sidesDiffer(comparison);
    if (failure === null) {
      const rows = comparison.tables.reduce((sum, table) => sum + (table.source?.rows ?? 0n), 0n);
      log.info(`both sides are equal: ${comparison.tables.length} tables, ${rows} rows`);
      return;
    }
    for (const table of comparison.tables) {
      if (table.difference !== null) log.notice(differenceSentence(table));
    }
    throw failure;
  },
};
