import { formatLsn } from '../../model/lsn.js';
import type { Command } from '../command.js';
import { controlTarget } from '../control.js';
import { prettySize } from '../output.js';

/** What a running follow does by itself every few seconds, by hand and to the last file. */
export const command: Command = {
  path: 'stream prune',
  group: 'T',
  summary: 'remove the transform files that are applied',
  options: ['dir', 'dry-run', 'host', 'port'],
  needs: [],
  run: async (context) => {
    const { settings, log } = context;
    const { pruneApplied } = await import('../../follow/sentinel-commands.js');
    const { directory, journalDirectory, dryRun } = settings;
    const control = await controlTarget(context);
    const { files, bytes, applied } = await pruneApplied({
      directory,
      journalDirectory,
      dryRun,
      control,
      log,
    });
    const what = `${files.length} CDC file(s), ${dryRun ? '' : 'freed '}${prettySize(bytes)} (replay_lsn ${formatLsn(applied)})`;
    log.info(dryRun ? `DRY RUN: would remove ${what}` : `Removed ${what}`);
    for (const file of files) log.notice(file);
  },
};
