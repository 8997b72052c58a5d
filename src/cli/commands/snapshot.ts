import type { Command } from '../command.js';
import { streamChoices } from '../stream-options.js';

/** Exports a snapshot (with --follow: the one of a new slot), prints its id, holds it until it is stopped. */
export const command: Command = {
  path: 'snapshot',
  group: 'N',
  summary: 'hold a snapshot of the source until stopped',
  options: ['source', 'dir', 'follow', 'plugin', 'wal2json-numeric-as-string', 'slot-name', 'publication'],
  needs: ['source'],
  endsByStop: true,
  run: async ({ settings, source, log, signal, stdout }) => {
    const { holdSnapshot } = await import('../../follow/snapshot-run.js');
    await holdSnapshot({
      source: source(),
      directory: settings.directory,
      follow: settings.follow ? streamChoices(settings) : null,
      log,
      signal,
      onSnapshot: (snapshot) => stdout(`${snapshot}\n`),
    });
  },
};
