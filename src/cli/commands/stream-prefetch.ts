import type { Command } from '../command.js';
import { followProgress, streamChoices, streamTuning } from '../stream-options.js';
import { controlChoices, reportChoices } from '../control.js';

/** Receives like `stream receive`, while the sentinel asks for it. */
export const command: Command = {
  path: 'stream prefetch',
  group: 'T',
  summary: 'receive changes ahead of applying them',
  options: [
    'source',
    'dir',
    'restart',
    'resume',
    'plugin',
    'wal2json-numeric-as-string',
    'slot-name',
    'origin',
    'publication',
    'endpos',
    'ack',
    'max-journal-size',
    'heartbeat',
    'to-stdout',
    'monitor',
    'host',
    'port',
  ],
  needs: ['source'],
  run: async (context) => {
    const { settings, log, signal, progress } = context;
    const { runStream } = await import('../../follow/stream-commands.js');
    await runStream({
      source: context.source(),
      target: null,
      directory: settings.directory,
      journalDirectory: settings.journalDirectory,
      choices: streamChoices(settings),
      endpos: settings.endpos,
      tuning: streamTuning(settings),
      control: await controlChoices(context),
      report: reportChoices(context),
      log,
      signal,
      onProgress: settings.toStdout ? undefined : followProgress(progress),
      print: settings.toStdout ? context.stdout : undefined,
    });
  },
};
