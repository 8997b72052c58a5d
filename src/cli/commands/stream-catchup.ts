import type { Command } from '../command.js';
import { followProgress, streamTuning } from '../stream-options.js';
import { controlChoices, reportChoices } from '../control.js';

/** Journal to target, up to the end of the journal or the end position. */
export const command: Command = {
  path: 'stream catchup',
  group: 'T',
  summary: 'apply what the transform files hold, then end',
  options: ['source', 'target', 'dir', 'resume', 'origin', 'endpos', 'monitor', 'host', 'port'],
  needs: ['target'],
  run: async (context) => {
    const { settings, log, signal, progress } = context;
    const { runStream } = await import('../../follow/stream-commands.js');
    await runStream({
      source: null,
      target: context.target(),
      directory: settings.directory,
      journalDirectory: settings.journalDirectory,
      choices: null,
      endpos: settings.endpos,
      tuning: streamTuning(settings),
      control: await controlChoices(context),
      report: reportChoices(context),
      log,
      signal,
      onProgress: followProgress(progress),
    });
  },
};
