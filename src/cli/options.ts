/**
 * Every option there is, pgcopydb's and ours, one row each (reference: pgcopydb 2.1 and 1.3). The parser, the help
 * and the settings are made from this table; an option that is missing here does not exist.
 */
import { takesValue, type Group, type Option, type Spelling, type ValueKind } from './option.js';

const port: ValueKind = { type: 'integer', min: 1, max: 65_535 };
const jobs: ValueKind = { type: 'integer', min: 1, max: 128 };
const text = (placeholder: string): ValueKind => ({ type: 'text', placeholder });
const word = (words: readonly string[]): ValueKind => ({ type: 'word', words });

/** The same spelling in several groups. */
function all(spelling: Spelling, groups: string): Readonly<Partial<Record<Group, Spelling>>> {
  return Object.fromEntries(Array.from(groups, (group) => [group, spelling]));
}

/** A row: a flag of no group unless told. */
type Row = Partial<Omit<Option, 'names' | 'description'>> & { readonly about: string };

function option(names: readonly [string, ...string[]], { about, ...row }: Row): Option {
  return {
    id: names[0],
    names,
    groups: {},
    value: { type: 'flag' },
    noEffect: null,
    description: about,
    ...row,
  };
}

/** In the order in which help shows them. */
export const options: readonly Option[] = [
  // The two sides and the place where a run is kept.
  option(['source'], {
    groups: all('-S', 'KDRLNCTSP'),
    commands: ['monitor'],
    value: text('uri'),
    variable: 'SOURCE_PGURI',
    about: 'the server to copy from: a URI or "key=value …"',
  }),
  option(['target'], {
    groups: all('-T', 'KDRCTP'),
    value: text('uri'),
    variable: 'TARGET_PGURI',
    about: 'the server to copy to: a URI or "key=value …"',
  }),
  option(['dir'], {
    groups: all('-D', 'KDRLNCTS'),
    commands: ['monitor'],
    value: text('path'),
    default: '${XDG_DATA_HOME:-~/.local/share}/walferry',
    peerDefault: '${TMPDIR:-/tmp}/pgcopydb',
    about: 'work directory',
  }),

  // How much at a time.
  option(['table-jobs', 'jobs'], {
    groups: { K: '-J', C: '-j' },
    value: jobs,
    default: '4',
    variable: 'TABLE_JOBS',
    about: 'tables handled at the same time',
  }),
  option(['index-jobs'], {
    groups: { K: '-I' },
    value: jobs,
    default: '4',
    variable: 'INDEX_JOBS',
    about: 'indexes built at the same time, over all tables',
  }),
  option(['restore-jobs'], {
    groups: all('-j', 'KR'),
    value: jobs,
    default: 'as --index-jobs, for tables as both jobs together',
    variable: 'RESTORE_JOBS',
    about: 'sessions that restore the schema side by side, and foreign keys validated at the same time',
  }),
  option(['large-objects-jobs'], {
    groups: { K: '-b' },
    value: jobs,
    default: '4',
    variable: 'LARGE_OBJECTS_JOBS',
    about: 'large objects handled at the same time',
  }),
  option(['split-tables-larger-than', 'split-at'], {
    groups: all('-L', 'KL'),
    value: { type: 'size' },
    variable: 'SPLIT_TABLES_LARGER_THAN',
    about: 'copy tables of this size or more in parts, side by side; 0: none',
  }),
  option(['split-max-parts'], {
    groups: all('-u', 'KL'),
    value: { type: 'integer', min: 1, max: 1_000_000 },
    variable: 'SPLIT_MAX_PARTS',
    about: 'at most this many parts per table',
  }),
  option(['estimate-table-sizes'], {
    groups: all('-m', 'KL'),
    variable: 'ESTIMATE_TABLE_SIZES',
    about: 'table sizes from the statistics of the source',
  }),

  // What is copied, and how.
  option(['drop-if-exists'], {
    groups: all('-c', 'KR'),
    variable: 'DROP_IF_EXISTS',
    about: 'drop the tables on the target first',
  }),
  option(['roles'], { groups: { K: '-A' }, about: 'copy roles too' }),
  option(['no-role-passwords'], {
    groups: all('-P', 'KD'),
    about: 'copy roles without their passwords',
  }),
  option(['no-owner'], { groups: all('-O', 'KR'), about: 'do not set ownership on the target' }),
  option(['no-comments'], { groups: all('-X', 'KR'), about: 'do not copy comments' }),
  option(['no-acl'], { groups: all('-x', 'KR'), about: 'do not copy privileges (GRANT, REVOKE)' }),
  option(['no-tablespaces'], {
    groups: { K: '-y', R: 'long' },
    variable: 'SKIP_TABLESPACES',
    about: 'do not set tablespaces',
  }),
  option(['skip-large-objects', 'skip-blobs'], { groups: { K: '-B' }, about: 'do not copy large objects' }),
  option(['skip-extensions'], { groups: all('-e', 'KDR'), about: 'do not create extensions' }),
  option(['skip-ext-comments', 'skip-ext-comment'], {
    groups: { K: '-M', R: '-E' },
    about: 'do not copy comments on extensions',
  }),
  option(['skip-collations'], { groups: { K: '-l' }, about: 'do not create collations' }),
  option(['skip-vacuum'], {
    groups: { K: '-U' },
    variable: 'SKIP_VACUUM',
    about: 'do not vacuum and analyze the copied tables, and take no statistics from the source',
  }),
  option(['skip-analyze'], {
    groups: { K: '-a' },
    variable: 'SKIP_ANALYZE',
    about: 'accepted for compatibility: the source is never analyzed',
  }),
  option(['skip-db-properties'], {
    groups: { K: '-g' },
    variable: 'SKIP_DB_PROPERTIES',
    about: 'do not copy ALTER DATABASE … SET',
  }),
  option(['skip-split-by-ctid'], {
    groups: all('-k', 'KL'),
    variable: 'SKIP_CTID_SPLIT',
    about: 'split only tables with a key of one integer column',
  }),
  option(['use-copy-binary'], {
    groups: { K: '-n' },
    variable: 'USE_COPY_BINARY',
    about: "COPY in binary format wherever the types have one, extensions' included",
  }),
  option(['filters', 'filter'], {
    groups: { K: '-F', D: 'long', R: '-F', L: '-F' },
    value: text('file'),
    about: 'copy only what this file selects',
  }),
  option(['requirements'], {
    groups: { K: '-Q' },
    value: text('file'),
    about: 'JSON file: extension versions to create',
  }),
  option(['requirements'], {
    id: 'list-requirements',
    groups: { L: '-r' },
    about:
      'the versions that the source offers of its extensions; with --json a file for clone --requirements',
  }),
  option(['all-databases'], {
    groups: { K: 'long' },
    about: 'every database of the source',
  }),
  option(['all-databases'], {
    id: 'compare-all-databases',
    groups: { C: '-a' },
    about: 'every database of the source, each with that of its name on the target',
  }),
  option(['no-comments'], {
    id: 'compare-no-comments',
    groups: { C: 'long' },
    about: 'schema: do not compare comments',
  }),
  option(['no-sequence-values'], {
    groups: { C: 'long' },
    about: 'schema: do not compare where sequences stand',
  }),
  option(['owners'], { groups: { C: 'long' }, about: 'schema: compare owners too' }),
  option(['privileges'], { groups: { C: 'long' }, about: 'schema: compare privileges (GRANT, REVOKE) too' }),
  option(['rows'], {
    groups: { C: 'long' },
    about: 'data: where tables differ, name the rows that differ by their keys',
  }),
  option(['fail-fast'], {
    groups: { K: '-i' },
    variable: 'FAIL_FAST',
    about: 'stop everything at the first error',
  }),

  // Going on, starting again, and the state of the source that is copied.
  option(['restart'], {
    groups: all('-r', 'KDRT'),
    about: 'forget the earlier run in the work directory and start again',
  }),
  option(['resume'], { groups: all('-R', 'KDRLT'), about: 'go on with the run in the work directory' }),
  option(['not-consistent'], {
    groups: { K: '-C', D: '-C', R: '-C', L: '-I' },
    about:
      'go on with another snapshot when that of the beginning is gone: tables are then of different times',
  }),
  option(['not-consistent'], {
    id: 'stream-not-consistent',
    groups: { T: '-C' },
    about: 'resume with another snapshot',
    noEffect: 'a stream goes on from its slot and the position row, whatever became of the snapshot',
  }),
  option(['snapshot'], {
    groups: { K: '-N', D: 'long', R: '-N', L: '-N', T: '-N' },
    value: text('id'),
    variable: 'SNAPSHOT',
    about: 'use a snapshot that another session holds',
  }),

  // The stream of changes.
  option(['follow'], {
    groups: all('-f', 'KN'),
    about: 'with a replication slot, so that changes can be followed',
  }),
  option(['plugin'], {
    groups: all('-p', 'KNT'),
    value: word(['pgoutput', 'wal2json', 'test_decoding']),
    default: 'pgoutput',
    variable: 'OUTPUT_PLUGIN',
    about: 'output plugin of the slot',
  }),
  option(['wal2json-numeric-as-string'], {
    groups: all('-w', 'KNT'),
    variable: 'WAL2JSON_NUMERIC_AS_STRING',
    about: 'refuse a wal2json that cannot print numbers as strings; one that can does so anyway',
  }),
  option(['slot-name'], {
    groups: all('-s', 'KNT'),
    value: { type: 'slot-name' },
    default: 'walferry',
    peerDefault: 'pgcopydb',
    about: 'replication slot on the source',
  }),
  option(['create-slot'], {
    groups: { K: '-t' },
    about: 'accepted for compatibility: the slot is made when it is missing',
  }),
  option(['origin'], {
    groups: all('-o', 'KT'),
    value: text('name'),
    default: 'walferry',
    peerDefault: 'pgcopydb',
    about: 'name of the stream: its row of progress on the target',
  }),
  option(['publication'], {
    groups: all('long', 'KNT'),
    value: text('name'),
    default: 'made and dropped by the run',
    about: 'use a publication that exists already',
  }),
  option(['endpos'], {
    groups: all('-E', 'KT'),
    value: { type: 'lsn' },
    about: 'end position: stop after the last transaction that ends at or before it',
  }),
  option(['ack'], {
    groups: all('long', 'KT'),
    value: word(['durable', 'applied']),
    default: 'durable',
    variable: 'ACK',
    about: 'what the source is told it may forget: what is on disk here, or what the target has',
  }),
  option(['max-journal-size'], {
    groups: all('long', 'KT'),
    value: { type: 'size' },
    variable: 'MAX_JOURNAL_SIZE',
    default: '80 % of the room that is free at the start',
    about:
      'stop reading from the slot, or from standard input, while the transform files take more room than this; 0: no limit',
  }),
  option(['heartbeat'], {
    groups: all('long', 'KT'),
    value: { type: 'integer', min: 0, max: 3600 },
    variable: 'HEARTBEAT',
    default: '10',
    about: 'seconds after which an idle source gets a message of ours, so that the lag is known; 0: never',
  }),
  option(['monitor'], {
    groups: all('long', 'KT'),
    value: { type: 'optional-text', placeholder: 'host:port' },
    about: 'listen, and serve the monitor page, from the beginning of the run (127.0.0.1:5442 unless told)',
  }),
  option(['interval'], {
    commands: ['monitor'],
    value: { type: 'integer', min: 1, max: 3600 },
    default: '1',
    about: 'seconds between two looks',
  }),
  option(['web'], { commands: ['monitor'], about: 'serve the page, instead of showing it in the terminal' }),
  option(['listen'], {
    commands: ['monitor'],
    value: text('host:port'),
    default: '127.0.0.1:5443',
    about: 'where --web listens',
  }),
  option(['replay-no-op-updates'], {
    groups: all('long', 'KT'),
    variable: 'REPLAY_NO_OP_UPDATES',
    about: 'apply updates that change nothing',
    noEffect:
      'updates that change nothing are applied like all others, and no trigger of the target fires at any',
  }),
  option(['max-replaydb-size'], {
    groups: { T: 'long' },
    value: { type: 'size' },
    about: 'size at which a file of changes is closed',
    noEffect:
      'a transform file is closed with each WAL segment of the source; what all of them may take is --max-journal-size',
  }),
  option(['host'], {
    groups: all('long', 'KT'),
    value: text('address'),
    default: '127.0.0.1 with --port, else none',
    variable: 'HOST',
    about: 'listen here for the sentinel commands (stream prune: ask the run that listens there)',
  }),
  option(['port'], {
    groups: all('long', 'KT'),
    value: port,
    default: '5442 with --host',
    variable: 'PORT',
    about: 'port to listen on, or to ask',
  }),
  // The peer's clients do not read its variables, which tell where to listen; ours read WALFERRY_HOST and WALFERRY_PORT.
  option(['host'], {
    id: 'coordinator-host',
    groups: { S: '-H' },
    commands: ['monitor'],
    value: text('address'),
    default: 'WALFERRY_HOST, else the files of --dir',
    about: 'ask the run that listens here',
  }),
  option(['port'], {
    id: 'coordinator-port',
    groups: { S: '-P' },
    commands: ['monitor'],
    value: port,
    default: 'WALFERRY_PORT, else 5442 with --host',
    about: 'port of that run',
  }),
  option(['dry-run'], { groups: { T: 'long' }, about: 'say what would be removed, and leave it' }),
  option(['to-stdout'], {
    groups: { T: '-O' },
    about: 'also print the lines of the transform files, from the oldest on, as they are written',
  }),
  option(['from-stdin'], {
    groups: { T: '-I' },
    about:
      'read the lines of the transform files from standard input, as `stream receive --to-stdout` prints them',
  }),

  // One field of the sentinel, and the end position of now.
  ...['startpos', 'endpos', 'apply', 'write-lsn', 'flush-lsn', 'transform-lsn', 'replay-lsn'].map((field) =>
    option([field], {
      id: `show-${field}`,
      commands: ['stream sentinel get'],
      about: `print only ${field.replace('-', '_')}`,
    }),
  ),
  option(['current'], {
    commands: ['stream sentinel set endpos'],
    about: 'the position where the source stands now',
  }),

  option(['plan'], {
    commands: ['clone'],
    about: 'print what would be copied and what left out, and do nothing',
  }),

  option(['skip-check'], {
    commands: ['clone'],
    about: 'begin without asking first for what would end the run later (see check)',
  }),

  // The cutover's own.
  option(['freeze'], {
    commands: ['cutover'],
    value: word(['read-only', 'revoke', 'none']),
    default: 'read-only',
    about: 'how writes on the source are stopped: database default and ended sessions, privileges, or by you',
  }),
  option(['verify'], {
    commands: ['cutover'],
    value: word(['full', 'touched', 'counts', 'none']),
    default: 'full',
    about: 'what is compared before the target takes writes',
  }),
  option(['max-pause'], {
    commands: ['cutover'],
    value: { type: 'integer', min: 1, max: 86_400 },
    default: '60',
    about: 'seconds that the source may be frozen; then everything is undone',
  }),
  option(['max-lag'], {
    commands: ['cutover'],
    value: { type: 'size' },
    default: '16 MB',
    about: 'how far the target may be behind at the start, in WAL',
  }),
  option(['sequence-headroom'], {
    commands: ['cutover'],
    value: { type: 'integer', min: 0, max: 1_000_000_000 },
    default: '0',
    about: 'set every sequence so many steps ahead of the source',
  }),
  option(['accept-missing'], {
    commands: ['cutover'],
    about: 'open a target that lacks what the source has, and that no clone completes',
  }),
  option(['copy-again'], {
    commands: ['cutover'],
    about:
      'in the pause, copy tables again whose changes no stream carries: without replica identity, unlogged',
  }),
  option(['before-freeze'], {
    commands: ['cutover'],
    value: text('command'),
    about: 'run this before writes are stopped; if it fails nothing is frozen',
  }),
  option(['after'], {
    commands: ['cutover'],
    value: text('command'),
    about: 'run this once the target takes writes, to point the application there',
  }),
  option(['on-undo'], {
    commands: ['cutover'],
    value: text('command'),
    about: 'run this after an undo, to start the application on the source again',
  }),
  option(['hook-timeout'], {
    commands: ['cutover'],
    value: { type: 'integer', min: 1, max: 86_400 },
    default: '60',
    about: 'seconds that each of these commands may take',
  }),
  option(['abort'], {
    commands: ['cutover'],
    about: 'undo a cutover that was begun and not finished',
  }),
  option(['dry-run'], {
    id: 'cutover-dry-run',
    commands: ['cutover'],
    about: 'check, print the plan and the expected pause, and change nothing',
  }),

  // The list commands' own.
  option(['schema-name'], {
    groups: { L: '-s' },
    value: text('name'),
    about: 'only this schema',
  }),
  option(['table-name'], {
    groups: { L: '-t' },
    value: text('name'),
    about: 'only this table',
  }),
  option(['list-skipped'], { groups: { L: '-x' }, about: 'what the filters leave out' }),
  option(['without-pkey'], { groups: { L: '-P' }, about: 'tables without a primary key' }),
  option(['available-versions'], { groups: { L: '-a' }, about: 'every version that the source offers' }),
  option(['force'], {
    groups: { L: '-f' },
    about: 'accepted for compatibility: every list is fetched from the source, and nothing is removed',
  }),
  option(['summary'], { groups: { L: '-y' }, about: 'the steps and their durations' }),

  // Everywhere.
  option(['json'], { everywhere: '-J', about: 'JSON on stdout, where the command has JSON output' }),
  option(['log-format'], {
    everywhere: 'long',
    value: word(['text', 'json']),
    default: 'text',
    about: 'log lines for people or for programs; WALFERRY_LOG_JSON=true is json',
  }),
  option(['verbose', 'notice'], {
    everywhere: '-v',
    about: 'log each table and each file too; twice: everything',
  }),
  option(['debug'], { everywhere: '-d', about: 'log everything, with causes of errors' }),
  option(['trace'], { everywhere: '-z', about: 'the same as --debug' }),
  option(['quiet'], { everywhere: '-q', about: 'log errors only' }),
  option(['version'], { everywhere: '-V', about: 'print the version' }),
  option(['help'], { everywhere: '-h', about: 'print this help' }),
];

/** An option as one command knows it. */
export type KnownOption = { readonly option: Option; readonly letter: string | null };

/** What a command of this group and path accepts, in the order of the table; letters are without the dash. */
export function optionsOf(group: Group, path: string): KnownOption[] {
  const letterOf = (spelling: Spelling) => (spelling === 'long' ? null : spelling.slice(1));
  const taken = new Set(options.map((option) => letterOf(option.groups[group] ?? 'long')));
  const known: KnownOption[] = [];
  for (const option of options) {
    const spelling = option.groups[group];
    if (spelling !== undefined) {
      known.push({ option, letter: letterOf(spelling) });
    } else if (option.commands?.includes(path) === true) {
      known.push({ option, letter: null });
    } else if (option.everywhere !== undefined) {
      const letter = letterOf(option.everywhere);
      known.push({ option, letter: letter !== null && taken.has(letter) ? null : letter });
    }
  }
  return known;
}

/**
 * Whether the value of this option is the next word: `--dir`, `--di`, `-D`, `-cD`, but not `--dir=x` nor `-Dx`. A name
 * that several options have, or begin with, counts as that of one that takes a value.
 */
export function valueFollows(word: string, known: readonly KnownOption[]): boolean {
  if (word.startsWith('--')) {
    if (word.includes('=')) return false;
    const name = word.slice(2);
    const exact = known.filter(({ option }) => option.names.includes(name));
    const begun = known.filter(({ option }) => option.names.some((candidate) => candidate.startsWith(name)));
    return (exact.length > 0 ? exact : begun).some(({ option }) => takesValue(option));
  }
  if (!word.startsWith('-')) return false;
  const takers = new Set(known.filter(({ option }) => takesValue(option)).map(({ letter }) => letter));
  const letters = Array.from(word.slice(1));
  const first = letters.findIndex((letter) => takers.has(letter));
  return first !== -1 && first === letters.length - 1;
}
