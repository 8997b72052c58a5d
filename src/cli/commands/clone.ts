import type { FilterFile } from '../../filter/parse.js';
import type { Command, CommandContext } from '../command.js';
import { cloneProgress } from '../clone-progress.js';
import { cloneSummary } from '../output.js';
import { followProgress, streamChoices, streamTuning } from '../stream-options.js';
import { controlChoices } from '../control.js';
import { saveSummary } from '../summary-output.js';
import { programVersion } from '../version.js';

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
    'drop-if-exists',
    'filters',
    'plan',
    'no-owner',
    'no-acl',
    'no-comments',
    'no-tablespaces',
    'skip-large-objects',
    'skip-vacuum',
    'skip-analyze',
    'fail-fast',
    'restart',
    'resume',
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
    'host',
    'port',
  ],
  needs: ['source', 'target'],
  run: async (context) => {
    const { settings, log, signal, progress } = context;
    const { loadFilterFile } = await import('../../filter/load.js');
    const filters = settings.filters === null ? null : await loadFilterFile(settings.filters);
    if (settings.plan) return printPlan(context, filters);
    const { runClone } = await import('../../follow/clone-run.js');
    const result = await runClone({
      version: programVersion(),
      source: context.source(),
      target: context.target(),
      directory: settings.directory,
      journalDirectory: settings.journalDirectory,
      request: { resume: settings.resume, restart: settings.restart },
      resumeLine: context.resumeCommand,
      jobs: { table: settings.tableJobs, index: settings.indexJobs, restore: settings.restoreJobs },
      filters,
      dropIfExists: settings.dropIfExists,
      skipVacuum: settings.skipVacuum,
      failFast: settings.failFast,
      noOwner: settings.noOwner,
      noAcl: settings.noAcl,
      noComments: settings.noComments,
      noTablespaces: settings.noTablespaces,
      snapshot: settings.snapshot,
      origin: settings.origin,
      follow: settings.follow
        ? {
            choices: streamChoices(settings),
            tuning: streamTuning(settings),
            control: controlChoices(context),
          }
        : null,
      log,
      signal,
      onClone: cloneProgress(progress),
      onFollow: settings.follow ? followProgress(progress) : undefined,
    });
    progress.hide();
    if (result === null) return;
    const { tables, steps, problems } = result.summary;
    for (const { object, message, sql } of problems) {
      log.warn(`${object}: ${message}${sql === null ? '' : `; to be run by somebody who may: ${sql}`}`);
    }
    await saveSummary(settings.directory);
    await context.stdout(cloneSummary(tables, steps));
  },
};

/** `--plan`: looks at the source alone, and leaves no trace, not even a work directory. */
async function printPlan(context: CommandContext, filters: FilterFile | null): Promise<void> {
  const { settings, log, signal } = context;
  const { describeClone } = await import('../../clone/describe.js');
  const { planJson, planText } = await import('../plan-output.js');
  const plan = await describeClone({
    source: context.source(),
    snapshot: settings.snapshot,
    filters,
    log,
    signal,
  });
  await context.stdout(settings.json ? planJson(plan) : planText(plan));
}
