/** Settings → a cutover. */
import type { CutoverOptions } from '../cutover/run.js';
import type { CommandContext } from './command.js';

/** What the plan of a cutover and the cutover itself are told. */
export function cutoverOptions(
  context: Omit<CommandContext, 'stdout' | 'progress' | 'terminal'>,
): CutoverOptions {
  const { settings, log, signal, environment } = context;
  const { request, choices, hooks } = settings.cutover;
  return {
    source: context.source(),
    target: context.target(),
    directory: settings.directory,
    journalDirectory: settings.journalDirectory,
    request,
    choices,
    hooks,
    jobs: settings.tableJobs,
    environment,
    log,
    signal,
  };
}
