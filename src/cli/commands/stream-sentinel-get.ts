import type { Command } from '../command.js';
import { controlTarget } from '../control.js';
import { sentinelField, sentinelJson, sentinelText } from '../sentinel-output.js';

/** Prints the sentinel: all of it, or one field (`settings.sentinelField`), see sentinel-output.ts. */
export const command: Command = {
  path: 'stream sentinel get',
  group: 'S',
  summary: 'print the positions of the stream',
  options: [
    'dir',
    'coordinator-host',
    'coordinator-port',
    'show-startpos',
    'show-endpos',
    'show-apply',
    'show-write-lsn',
    'show-flush-lsn',
    'show-transform-lsn',
    'show-replay-lsn',
  ],
  needs: [],
  run: async (context) => {
    const { settings, log, stdout } = context;
    const { fetchSentinel } = await import('../../follow/sentinel-commands.js');
    const control = await controlTarget(context);
    const sentinel = await fetchSentinel({ directory: settings.directory, control, log });
    if (settings.sentinelField !== null) {
      await stdout(`${sentinelField(sentinel, settings.sentinelField)}\n`);
      return;
    }
    await stdout(settings.json ? sentinelJson(sentinel) : sentinelText(sentinel));
  },
};
