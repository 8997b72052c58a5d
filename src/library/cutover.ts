/** `cutover` as a function. */
import { command } from '../cli/commands/cutover.js';
import { cutoverOptions } from '../cli/cutover-options.js';
import type { CutoverPlan } from '../cutover/plan.js';
import type { CutoverReport } from '../cutover/report.js';
import { call, type CallOptions } from './call.js';
import type { CutoverSettings } from './settings.js';

/**
 * Switches to the target, beside a run that follows in this process or in another one. Resolves with the report of a
 * cutover that is complete, with `abort` of one that was undone; null: there was nothing to do. Rejects with a Failure
 * after whatever was begun was undone.
 */
export function cutover(settings: CutoverSettings, options: CallOptions = {}): Promise<CutoverReport | null> {
  return call(command, settings, options, async (context) => {
    const { runCutover } = await import('../cutover/run.js');
    return await runCutover(cutoverOptions(context));
  });
}

/** What a cutover would do and find, with the pause that is expected; changes nothing. */
export function planCutover(settings: CutoverSettings, options: CallOptions = {}): Promise<CutoverPlan> {
  return call(command, settings, options, async (context) => {
    const { planCutover: plan } = await import('../cutover/plan.js');
    return await plan(cutoverOptions(context));
  });
}
