/** The commands that do one step of a clone: `copy …`, `dump schema`, `restore …`. */
import type { StepName } from '../follow/step-run.js';
import { cloneProgress } from './clone-progress.js';
import { copyChoicesOf, jobsOf, restoreChoicesOf, sayProblems } from './clone-options.js';
import { reportChoices } from './control.js';
import { filtersOf } from './filter-option.js';
import type { CommandContext } from './command.js';
import { programVersion } from './version.js';

/** Runs the step and says what was refused on the target. */
export async function runStepCommand(step: StepName, context: CommandContext): Promise<void> {
  const { settings, log, signal, progress } = context;
  const { runStep } = await import('../follow/step-run.js');
  const problems = await runStep({
    ...(await restoreChoicesOf(settings)),
    step,
    version: programVersion(),
    source: settings.source === null ? null : context.source(),
    target: settings.target === null ? null : context.target(),
    directory: settings.directory,
    request: {
      resume: settings.resume,
      restart: settings.restart,
      notConsistent: settings.notConsistent,
    },
    resumeLine: context.resumeCommand,
    jobs: jobsOf(settings),
    filters: await filtersOf(settings),
    copy: copyChoicesOf(settings),
    dropIfExists: settings.dropIfExists,
    skipVacuum: settings.skipVacuum,
    failFast: settings.failFast,
    snapshot: settings.snapshot,
    origin: settings.origin,
    report: reportChoices(context),
    log,
    signal,
    onProgress: cloneProgress(progress),
  });
  progress.hide();
  sayProblems(log, problems);
}

/** Ids of options that several of these commands show. */
export const goOnOptions = ['restart', 'resume', 'not-consistent', 'snapshot'] as const;
export const restoreOptions = ['no-owner', 'no-acl', 'no-comments', 'no-tablespaces'] as const;
