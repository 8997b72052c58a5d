/** The remote control beside a run: open from the moment there is something to be set. */
import { ControlServer, type ControlOptions, type ControlPlan } from '../control/server.js';

/** Opens it where one was asked for; otherwise, and where it cannot be, disposing of it does nothing. */
export async function openControl(
  options: Omit<ControlOptions, 'plan'> & { readonly plan: ControlPlan | null },
): Promise<AsyncDisposable> {
  const { plan, directory, journalDirectory, source, log } = options;
  const control =
    plan === null ? null : await ControlServer.open({ plan, directory, journalDirectory, source, log });
  return { [Symbol.asyncDispose]: async () => control?.close() };
}
