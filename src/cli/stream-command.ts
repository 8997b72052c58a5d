/** The commands that run one part of a stream: `stream receive`, `prefetch`, `replay`, `catchup`, `apply`. */
import type { StreamCommandOptions } from '../follow/stream-commands.js';
import type { Command, CommandContext } from './command.js';
import { followProgress, streamChoiceOptions, streamRunOptions, type StreamEnds } from './stream-options.js';

/** Receives where the source is one of the ends, applies where the target is. */
export async function runStreamPart(
  ends: StreamEnds,
  context: CommandContext,
  more: Pick<StreamCommandOptions, 'print' | 'input'> = {},
): Promise<void> {
  const { runStream } = await import('../follow/stream-commands.js');
  await runStream({
    ...(await streamRunOptions(context, ends)),
    onProgress: more.print === undefined ? followProgress(context.progress) : undefined,
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
      ...streamChoiceOptions,
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
