/**
 * Settings → the remote control: where a run listens, and where the sentinel commands and `monitor` ask.
 */
import type { ControlChoices } from '../control/server.js';
import type { CommandContext } from './command.js';
import type { ControlTarget } from '../control/client.js';
import type { ReportChoices } from '../follow/run-reporter.js';

type Asked = Pick<CommandContext, 'settings' | 'environment'>;

/** WALFERRY_TOKEN; null when it is not set. */
export function sharedToken(environment: NodeJS.ProcessEnv): string | null {
  const token = environment['WALFERRY_TOKEN'];
  return token === undefined || token === '' ? null : token;
}

/** Where this run is to listen, and what it shows there; null: nowhere. */
export async function controlChoices({ settings, environment }: Asked): Promise<ControlChoices | null> {
  if (settings.control === null) return null;
  const { monitorPages } = await import('../monitor/pages.js');
  const token = sharedToken(environment);
  return { ...settings.control, token, pages: monitorPages, fromStart: settings.monitor };
}

/** What a run tells to whoever looks on, besides how far it is. */
export function reportChoices({
  path,
  settings,
  logTail,
}: Pick<CommandContext, 'path' | 'settings' | 'logTail'>): ReportChoices {
  return { command: settings.follow ? `${path} --follow` : path, tail: logTail };
}

/** The run to ask, with the token that both sides were given, or that of the work directory; null: use the files. */
export async function controlTarget({ settings, environment }: Asked): Promise<ControlTarget | null> {
  if (settings.control === null) return null;
  const { loadToken } = await import('../control/token.js');
  return { ...settings.control, token: sharedToken(environment) ?? loadToken(settings.directory) };
}
