/** `clone` and `follow` as functions. */
import { cloneRunOptions } from '../cli/clone-options.js';
import { command as cloneCommand } from '../cli/commands/clone.js';
import { command as followCommand } from '../cli/commands/follow.js';
import { followOptions } from '../cli/stream-options.js';
import type { CloneSummary } from '../clone/summary.js';
import { call, type CallOptions } from './call.js';
import type { CloneSettings, FollowSettings } from './settings.js';

/**
 * Copies the source to the target; with `follow`, also applies its changes until the end position. Resolves with what
 * was done, or with null when the run in the work directory was complete already. Rejects with a Failure.
 */
export function clone(settings: CloneSettings, options: CallOptions = {}): Promise<CloneSummary | null> {
  return call(cloneCommand, settings, options, async (context) => {
    const { runClone } = await import('../follow/clone-run.js');
    const result = await runClone({
      ...(await cloneRunOptions(context)),
      onClone: (progress) => context.tell({ kind: 'clone-progress', progress }),
      onFollow: (progress) => context.tell({ kind: 'follow-progress', progress }),
    });
    return result?.summary ?? null;
  });
}

/** Receives and applies changes until the end position; copies neither schema nor tables. Rejects with a Failure. */
export function follow(settings: FollowSettings, options: CallOptions = {}): Promise<void> {
  return call(followCommand, settings, options, async (context) => {
    const { runStream } = await import('../follow/stream-commands.js');
    await runStream({
      ...(await followOptions(context)),
      onProgress: (progress) => context.tell({ kind: 'follow-progress', progress }),
    });
  });
}
