/** The commands that run one part of a stream: `stream receive`, `prefetch`, `replay`, `catchup`, `apply`. */
import type { StreamCommandOptions } from '../follow/stream-commands.js';
import type { Command, CommandContext } from './command.js';
import { controlChoices, reportChoices } from './control.js';
import { followProgress, streamChoices, streamTuning } from './stream-options.js';

/** Receives where the source is one of the ends, applies where the target is. */
export async function runStreamPart(
  ends: readonly ('source' | 'target')[],
  context: CommandContext,
  more: Pick<StreamCommandOptions, 'print' | 'input'> = {},
): Promise<void> {
  const { settings, log, signal, progress } = context;
  const { runStream } = await import('../follow/stream-commands.js');
  const receives = ends.includes('source');
  await runStream({
    source: receives ? context.source() : null,
    target: ends.includes('target') ? context.target() : null,
    directory: settings.directory,
    journalDirectory: settings.journalDirectory,
    choices: receives ? streamChoices(settings) : null,
    endpos: settings.endpos,
    tuning: streamTuning(settings),
    control: await controlChoices(context),
    report: reportChoices(context),
    log,
    signal,
    onProgress: more.print === undefined ? followProgress(progress) : undefined,
    ...more,
  });
}

/** Slot to journal, nothing else. */
export function receiveCommand({ path, summary }: Pick<Command, 'path' | 'summary'>): Command {
  return {
    path,
    group: 'T',
    summary,
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
    run: (context) =>
      runStreamPart(['source'], context, context.settings.toStdout ? { print: context.stdout } : {}),
  };
}
