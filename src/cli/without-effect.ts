/**
 * Options that a command accepts, as the peer's parsers do, and that nothing comes of in this call: told, since whoever
 * names an end position and forgets --follow would otherwise find out when the writes since the copy are missing. Only
 * those of the command line: variables are set for many commands. Pure.
 */
import { longName } from './option.js';
import type { Settings, SettingsInput } from './settings.js';

const ofStreams = [
  'follow',
  'plugin',
  'wal2json-numeric-as-string',
  'slot-name',
  'publication',
  'endpos',
  'ack',
  'max-journal-size',
  'heartbeat',
];
const ofParts = ['split-max-parts', 'skip-split-by-ctid'];

/** One sentence for each, in the order of the line. */
export function withoutEffect(
  { command: { path }, given, arguments: words }: SettingsInput,
  { follow, plan, split, fromStdin }: Pick<Settings, 'follow' | 'plan' | 'split' | 'fromStdin'>,
): string[] {
  const rules: readonly (readonly [applies: boolean, ids: readonly string[], why: string])[] = [
    // A plan shows what a publication carries.
    [(path === 'clone' || path === 'snapshot') && !follow && !plan, ofStreams, 'without --follow'],
    [path.startsWith('copy '), ofStreams, `${path} follows no changes (clone --follow does)`],
    [
      path === 'follow' || path.startsWith('stream '),
      ['snapshot'],
      'a stream begins at its slot, whatever its rows were copied from',
    ],
    // These apply what others have received; only a pipe is put in files first.
    [
      path === 'stream apply' && !fromStdin && words[0] !== '-',
      ['max-journal-size'],
      'without "-" or --from-stdin',
    ],
    [path === 'stream catchup', ['max-journal-size'], `${path} receives nothing (stream receive does)`],
    [split === null, ofParts, 'without --split-tables-larger-than'],
  ];
  const said = given.flatMap(({ option }) =>
    rules
      .filter(([applies, ids]) => applies && ids.includes(option.id))
      .map(([, , why]) =>
        why.startsWith('without')
          ? `${longName(option)} has no effect ${why}`
          : `${longName(option)} has no effect: ${why}`,
      ),
  );
  return [...new Set(said)];
}
