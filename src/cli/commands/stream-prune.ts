import { formatLsn } from '../../model/lsn.js';
import type { Command } from '../command.js';
import { prettySize } from '../output.js';

/** What a running follow does by itself every few seconds, by hand and to the last file. */
export const command: Command = {
  path: 'stream prune',
  group: 'T',
  summary: 'remove the transform files that are applied',
  options: ['dir', 'dry-run'],
  needs: [],
  run: async ({ settings, log }) => {
    const { pruneApplied } = await import('../../follow/stream-commands.js');
    const { directory, journalDirectory, dryRun } = settings;
    const { files, bytes, applied } = await pruneApplied({ directory, journalDirectory, dryRun });
    const what = `${files.length} CDC file(s), ${dryRun ? '' : 'freed '}${prettySize(bytes)} (replay_lsn ${formatLsn(applied)})`;
    log.info(dryRun ? `DRY RUN: would remove ${what}` : `Removed ${what}`);
    for (const file of files) log.notice(file);
  },
};
