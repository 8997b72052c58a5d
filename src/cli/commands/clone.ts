import type { FilterFile } from '../../filter/parse.js';
import type { Command, CommandContext } from '../command.js';
import { cloneRunOptions } from '../clone-options.js';
import { filtersOf } from '../filter-option.js';
import { spareMemoryAndCompiler } from '../engine.js';
import { cloneProgress } from '../clone-progress.js';
import type { Problem } from '../../clone/options.js';
import type { CloneRunOptions } from '../../follow/clone-run.js';
import { allDatabasesSummary, cloneSummary } from '../output.js';
import { followProgress } from '../stream-options.js';
import { saveSummary } from '../summary-output.js';

/** Copies the schema and the data; with --follow also the changes, from the same snapshot on. */
export const command: Command = {
  path: 'clone',
  aliases: ['fork', 'copy db'],
  group: 'K',
  summary: 'copy a database to the target, and with --follow its changes until the end position',
  options: [
    'source',
    'target',
    'dir',
    'table-jobs',
    'index-jobs',
    'restore-jobs',
    'split-tables-larger-than',
    'split-max-parts',
    'skip-split-by-ctid',
    'estimate-table-sizes',
    'use-copy-binary',
    'drop-if-exists',
    'filters',
    'plan',
    'skip-check',
    'no-owner',
    'no-acl',
    'no-comments',
    'no-tablespaces',
    'skip-large-objects',
    'large-objects-jobs',
    'roles',
    'no-role-passwords',
    'requirements',
    'skip-extensions',
    'skip-ext-comments',
    'skip-collations',
    'skip-db-properties',
    'all-databases',
    'skip-vacuum',
    'skip-analyze',
    'fail-fast',
    'restart',
    'resume',
    'not-consistent',
    'snapshot',
    'follow',
    'plugin',
    'wal2json-numeric-as-string',
    'slot-name',
    'create-slot',
    'origin',
    'publication',
    'endpos',
    'ack',
    'max-journal-size',
    'heartbeat',
    'monitor',
    'host',
    'port',
  ],
  needs: ['source', 'target'],
  run: async (context) => {
    const { settings, progress } = context;
    if (settings.plan) return printPlan(context, await filtersOf(settings));
    // A stream's memory is bounded by itself, and should not wait for the collector.
    if (!settings.follow) spareMemoryAndCompiler();
    const { runClone } = await import('../../follow/clone-run.js');
    const options = {
      ...(await cloneRunOptions(context)),
      onClone: cloneProgress(progress),
      onFollow: settings.follow ? followProgress(progress) : undefined,
    };
    if (settings.allDatabases) return cloneAll(context, options);
    const result = await runClone(options);
    progress.hide();
    if (result === null) return;
    const { tables, steps, problems } = result.summary;
    await tellProblems(context, settings.directory, problems);
    await saveSummary(settings.directory, result);
    await context.stdout(cloneSummary(tables, steps));
  },
};

async function cloneAll(context: CommandContext, options: CloneRunOptions): Promise<void> {
  const { cloneAllDatabases } = await import('../../follow/all-databases.js');
  const { databases, problems } = await cloneAllDatabases(options);
  context.progress.hide();
  await tellProblems(context, options.directory, problems);
  for (const { directory, summary } of databases) {
    await tellProblems(context, directory, summary.problems);
    await saveSummary(directory);
  }
  await context.stdout(allDatabasesSummary(databases));
}

const problemsShown = 30;

/** What was refused, once, and where the statements lie. */
async function tellProblems(
  { log }: CommandContext,
  directory: string,
  problems: readonly Problem[],
): Promise<void> {
  if (problems.length === 0) return;
  const { refusedSqlFile } = await import('../../clone/problems.js');
  const many = problems.length === 1 ? '1 thing was' : `${problems.length} things were`;
  log.warn(
    `${many} refused on the target; the rest was done. To be run by somebody who may: ${refusedSqlFile(directory)}`,
  );
  for (const { object, message, sql } of problems.slice(0, problemsShown)) {
    const statement = sql === null || sql.length > 500 ? '' : `; SQL: ${sql.trim()}`;
    log.warn(`${object}: ${message}${statement}`);
  }
  if (problems.length > problemsShown) log.warn(`and ${problems.length - problemsShown} more, see the file`);
}

/** `--plan`: looks at the source alone, and leaves no trace, not even a work directory. */
async function printPlan(context: CommandContext, filters: FilterFile | null): Promise<void> {
  const { settings, log, signal } = context;
  const { describeClone } = await import('../../clone/describe.js');
  const { planJson, planText } = await import('../plan-output.js');
  const plan = await describeClone({
    source: context.source(),
    snapshot: settings.snapshot,
    filters,
    publication: settings.publication,
    split: settings.split,
    estimateTableSizes: settings.estimateTableSizes,
    log,
    signal,
  });
  await context.stdout(settings.json ? planJson(plan) : planText(plan));
}
