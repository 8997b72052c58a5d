/**
 * Settings → the remote control: where a run listens, and where the sentinel commands ask.
 */
import type { ControlChoices } from '../control/server.js';
import type { CommandContext } from './command.js';
import type { ControlTarget } from '../control/client.js';

type Asked = Pick<CommandContext, 'settings' | 'environment'>;

function sharedToken(environment: NodeJS.ProcessEnv): string | null {
  const token = environment['WALFERRY_TOKEN'];
  return token === undefined || token === '' ? null : token;
}

/** Where this run is to listen; null: nowhere. */
export function controlChoices({ settings, environment }: Asked): ControlChoices | null {
  return settings.control === null ? null : { ...settings.control, token: sharedToken(environment) };
}

/** The run to ask, with the token that both sides were given, or that of the work directory; null: use the files. */
export async function controlTarget({ settings, environment }: Asked): Promise<ControlTarget | null> {
  if (settings.control === null) return null;
  const { loadToken } = await import('../control/token.js');
  return { ...settings.control, token: sharedToken(environment) ?? loadToken(settings.directory) };
}
