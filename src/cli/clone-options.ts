/** What `clone`, `copy`, `dump` and `restore` make of their options in common. */
import type { CloneJobs, CopyChoices, Problem, RestoreChoices } from '../clone/options.js';
import type { NextCommands } from '../follow/announce.js';
import type { CloneRunOptions } from '../follow/clone-run.js';
import type { Log } from '../log.js';
import { preflightOf } from './check-options.js';
import type { CommandContext } from './command.js';
import { controlChoices, reportChoices } from './control.js';
import { filtersOf } from './filter-option.js';
import type { Settings } from './settings.js';
import { streamChoices, streamTuning } from './stream-options.js';
import { programVersion } from './version.js';

/** A run of `clone`. Reads the files that the settings name; throws `usage` when it cannot. */
export async function cloneRunOptions(
  context: Omit<CommandContext, 'stdout' | 'progress' | 'terminal'>,
): Promise<CloneRunOptions> {
  const { settings, log, signal } = context;
  const options: CloneRunOptions = {
    version: programVersion(),
    source: context.source(),
    target: context.target(),
    directory: settings.directory,
    journalDirectory: settings.journalDirectory,
    request: { resume: settings.resume, restart: settings.restart },
    notConsistent: settings.notConsistent,
    resumeLine: context.resumeCommand,
    next: nextCommands(context),
    jobs: jobsOf(settings),
    filters: await filtersOf(settings),
    copy: copyChoicesOf(settings),
    dropIfExists: settings.dropIfExists,
    skipVacuum: settings.skipVacuum,
    failFast: settings.failFast,
    ...(await restoreChoicesOf(settings)),
    snapshot: settings.snapshot,
    origin: settings.origin,
    follow: settings.follow
      ? {
          choices: streamChoices(settings),
          tuning: streamTuning(settings),
        }
      : null,
    control: await controlChoices(context),
    report: reportChoices(context),
    log,
    signal,
  };
  return { ...options, preflight: preflightOf(context, options) };
}

/** The commands that end a migration, as this call would have to make them. */
function nextCommands({ otherCommand }: Pick<CommandContext, 'otherCommand'>): NextCommands {
  return {
    cutover: otherCommand({ path: 'cutover', group: 'K' }),
    setEndpos: otherCommand({
      path: 'stream sentinel set endpos',
      group: 'S',
      words: ['--current'],
    }),
    compare: otherCommand({ path: 'compare data', group: 'C' }),
    cleanup: otherCommand({ path: 'stream cleanup', group: 'T' }),
  };
}

/** How objects are restored. Reads the file of --requirements; throws `usage` when it cannot. */
export async function restoreChoicesOf(settings: Settings): Promise<RestoreChoices> {
  const { loadRequirements } = await import('../clone/extensions.js');
  return {
    noOwner: settings.noOwner,
    noAcl: settings.noAcl,
    noComments: settings.noComments,
    noTablespaces: settings.noTablespaces,
    skipLargeObjects: settings.skipLargeObjects,
    skipExtensions: settings.skipExtensions,
    skipExtensionComments: settings.skipExtensionComments,
    skipCollations: settings.skipCollations,
    skipDatabaseProperties: settings.skipDatabaseProperties,
    largeObjectJobs: settings.largeObjectJobs,
    roles: settings.roles ? { passwords: !settings.noRolePasswords } : null,
    requirements: settings.requirements === null ? null : loadRequirements(settings.requirements),
  };
}

/** How rows are copied. */
export function copyChoicesOf({ split, estimateTableSizes, useCopyBinary }: Settings): CopyChoices {
  return { split, estimateTableSizes, useCopyBinary };
}

export function jobsOf({ tableJobs, indexJobs, restoreJobs, preDataJobs }: Settings): CloneJobs {
  return { table: tableJobs, index: indexJobs, restore: restoreJobs, preData: preDataJobs };
}

/** What the role may not do on the target, with what somebody else has to run. */
export function sayProblems(log: Log, problems: readonly Problem[]): void {
  for (const { object, message, sql } of problems) {
    log.warn(`${object}: ${message}${sql === null ? '' : `; to be run by somebody who may: ${sql}`}`);
  }
}
