import type { Command } from '../command.js';
import { followProgress, streamTuning } from '../stream-options.js';
import { controlChoices, reportChoices } from '../control.js';

/** Journal to target; with `--target -` SQL on stdout instead. */
export const command: Command = {
  path: 'stream apply',
  group: 'T',
  summary: 'apply transform files to the target (--target - prints SQL)',
  options: ['source', 'target', 'dir', 'resume', 'origin', 'endpos', 'monitor', 'host', 'port'],
  needs: ['target'],
  run: async (context) => {
    const { settings, log, signal, progress } = context;
    if (settings.target === '-') {
      const { printJournal } = await import('../../follow/print-stream.js');
      await printJournal(settings.journalDirectory, context.stdout, signal);
      return;
    }
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
