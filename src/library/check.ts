/** `check` as a function. */
import type { CheckReport } from '../check/check.js';
import { checkOptions } from '../cli/check-options.js';
import { command } from '../cli/commands/check.js';
import { call, type CallOptions } from './call.js';
import type { CloneSettings } from './settings.js';

/**
 * Looks for what would end a clone with these settings, and changes nothing. Resolves with every finding, also where
 * some of them fail; rejects with a Failure when the check itself could not be done.
 */
export function check(settings: CloneSettings, options: CallOptions = {}): Promise<CheckReport> {
  return call(command, settings, options, async (context) => {
    const { check } = await import('../check/check.js');
    return await check(await checkOptions(context));
  });
}
