/**
 * Settings → what the rooms below follow/ take. The one place of the program that names concrete plugins.
 */
import type { Plugin, PluginName } from '../model/plugin.js';
import type { FollowProgress, StreamTuning } from '../follow/stream-run.js';
import type { StreamChoices } from '../follow/stream-setup.js';
import type { StreamCommandOptions } from '../follow/stream-commands.js';
import type { CommandContext } from './command.js';
import { controlChoices, reportChoices } from './control.js';
import { filtersOf } from './filter-option.js';
import { prettySize } from './output.js';
import type { ProgressLine } from './progress-line.js';
import type { Settings } from './settings.js';

/** What decides which stream is meant. Our publications are named as the slot. */
export function streamChoices(settings: Settings): StreamChoices {
  return {
    plugin: settings.plugin,
    slot: settings.slotName,
    origin: settings.origin,
    publication: settings.publication,
    publicationName: settings.slotName,
    endpos: settings.endpos,
  };
}

/** How a stream is run. */
export function streamTuning(settings: Settings): StreamTuning {
  return {
    loadPlugin: (name) => loadPlugin(name, settings),
    acknowledge: settings.acknowledge,
    maxJournalBytes: settings.maxJournalBytes,
    heartbeatMs: settings.heartbeatSeconds * 1000,
  };
}

/** Asked for by every command that receives: which stream it is. */
export const streamChoiceOptions = [
  'plugin',
  'wal2json-numeric-as-string',
  'slot-name',
  'origin',
  'publication',
] as const;

/** The ends of a stream: received from the source, applied to the target. */
export type StreamEnds = readonly ('source' | 'target')[];

/** A run between these ends. */
export async function streamRunOptions(
  context: Omit<CommandContext, 'stdout' | 'progress' | 'terminal'>,
  ends: StreamEnds,
): Promise<StreamCommandOptions> {
  const { settings, log, signal } = context;
  const receives = ends.includes('source');
  return {
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
  };
}

/** A run of `follow`. Reads the files that the settings name; throws `usage` when it cannot. */
export async function followOptions(
  context: Omit<CommandContext, 'stdout' | 'progress' | 'terminal'>,
): Promise<StreamCommandOptions> {
  const filters = await filtersOf(context.settings);
  return { ...(await streamRunOptions(context, ['source', 'target'])), filters };
}

async function loadPlugin(name: PluginName, settings: Settings): Promise<Plugin> {
  switch (name) {
    case 'pgoutput':
      return (await import('../../plugins/pgoutput/plugin.js')).pgoutput;
    case 'wal2json':
      return (await import('../../plugins/wal2json/plugin.js')).wal2json({
        required: settings.wal2jsonNumericAsString,
      });
    case 'test_decoding':
      return (await import('../../plugins/test_decoding/plugin.js')).testDecoding;
  }
}

/** Shows how far the stream is behind. */
export function followProgress(line: ProgressLine): (progress: FollowProgress) => void {
  return ({ source, durable, applied, endpos }) => {
    const behind = (lsn: bigint) => prettySize(Number(source > lsn ? source - lsn : 0n));
    const end =
      endpos === 0n
        ? ''
        : `, ${prettySize(Number(endpos > applied ? endpos - applied : 0n))} to the end position`;
    line.show(`following: received ${behind(durable)} behind, applied ${behind(applied)} behind${end}`);
  };
}
