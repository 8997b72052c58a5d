/** --restart into another target than the run before: what is to be dropped is not there, and what is there is not ours. */
import type { Catalog } from '../catalog/database.js';
import { loadSetup } from '../catalog/setup.js';
import { runTask } from '../clone/options.js';
import type { Log } from '../log.js';
import { connect } from '../postgres/connect.js';
import { describeConninfo, type Conninfo } from '../postgres/connection-string.js';
import { holdsTask } from '../postgres/task-table.js';

/**
 * The target of the run in this directory, without its password, where that is another database; null where it is this
 * one, or nothing was begun. One that is called differently, or as another role, holds the run's own mark.
 */
export async function fetchOtherTarget(
  catalog: Catalog,
  { target, log, signal }: { readonly target: Conninfo; readonly log: Log; readonly signal: AbortSignal },
): Promise<string | null> {
  const recorded = loadSetup(catalog);
  if (recorded === null || recorded.target === null) return null;
  if (recorded.target === describeConninfo(target)) return null;
  const { run } = recorded.settings;
  if (typeof run === 'string') {
    await using session = await connect(target, {
      side: 'target',
      applicationName: 'walferry setup',
      log,
      signal,
    });
    if (await holdsTask(session, `${runTask}${run}`)) return null;
  }
  return recorded.target;
}

/** Says what --restart leaves where it is. */
export function sayWhatStays(log: Log, directory: string, other: string, target: Conninfo): void {
  log.warn(
    `--restart: the earlier run in ${directory} was into ${other}. What it left there stays, its tables and the ` +
      `schema walferry; and in ${describeConninfo(target)} nothing is dropped, unless --drop-if-exists asks for it`,
  );
}
