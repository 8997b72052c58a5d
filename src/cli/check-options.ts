/** The run that the settings mean, for its preflight. */
import type { CheckOptions } from '../check/check.js';
import type { RunWish, StreamWish } from '../check/options.js';
import type { CloneRunOptions, Preflight } from '../follow/clone-run.js';
import { Failure } from '../failure.js';
import { defaultPlugin } from '../model/plugin.js';
import type { CommandContext } from './command.js';
import { streamChoices } from './stream-options.js';

type Context = Pick<CommandContext, 'settings' | 'environment'>;

/** Of a run's options what its preflight asks by. */
function wishOf(
  { settings, environment }: Context,
  options: Omit<CloneRunOptions, 'preflight'>,
): Omit<RunWish, 'own'> {
  const { source, target, filters, jobs, log, signal, dropIfExists } = options;
  return {
    source,
    target,
    filters,
    jobs,
    restore: options,
    dropIfExists,
    stream: options.follow === null ? null : streamWish(settings),
    environment,
    log,
    signal,
  };
}

function streamWish(settings: Context['settings']): StreamWish {
  const { plugin, slot, publication, publicationName } = streamChoices(settings);
  return {
    plugin: plugin ?? defaultPlugin,
    slot,
    publication,
    publicationName,
    maxJournalBytes: settings.maxJournalBytes,
  };
}

/** A check of the run that a clone with these settings would be. Throws `usage`. */
export async function checkOptions(
  context: Omit<CommandContext, 'stdout' | 'progress' | 'terminal'>,
): Promise<CheckOptions> {
  if (context.settings.allDatabases) {
    throw new Failure('usage', 'check looks at one database: name each in --source and --target');
  }
  const { cloneRunOptions } = await import('./clone-options.js');
  const { wantedSetup } = await import('../follow/clone-settings.js');
  const options = await cloneRunOptions(context);
  const { directory, journalDirectory, request } = options;
  const place = { directory, journalDirectory, ...request, setup: wantedSetup(options) };
  return { ...wishOf(context, options), place };
}

/** The blocking part, asked by a run right before it makes anything; undefined with --skip-check. */
export function preflightOf(
  context: Context,
  options: Omit<CloneRunOptions, 'preflight'>,
): Preflight | undefined {
  if (context.settings.skipCheck) return undefined;
  return async ({ source, target, filters, dropIfExists, log, ownStream }) => {
    const { expectReady } = await import('../check/check.js');
    const wish = wishOf(context, { ...options, source, target, filters, log });
    await expectReady({ ...wish, dropIfExists, own: { stream: ownStream, tables: false } });
  };
}
