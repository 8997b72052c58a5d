import { describe, expect, test } from 'vitest';
import { parseOptions } from '../../src/cli/parse-options.js';
import { defaultsFor, readSettings, type Settings } from '../../src/cli/settings.js';
import { commandAt } from '../../src/cli/tree.js';

const both = ['--source', 'postgres://a/b', '--target', 'postgres://c/d'];

function read(path: string, words: readonly string[], environment: Record<string, string> = {}) {
  const command = commandAt(path);
  if (command === null) throw new Error(`no command ${path}`);
  const line = parseOptions(command, path, words);
  expect(line.problems).toEqual([]);
  return readSettings({
    command,
    given: line.given,
    arguments: line.arguments,
    environment,
    defaults: defaultsFor('walferry', environment, '/home/me'),
  });
}

/** What clone makes of variables and options. */
const clone = (words: readonly string[], environment: Record<string, string> = {}) =>
  read('clone', [...both, ...words], environment);

describe('without any option', () => {
  test('the defaults hold', () => {
    const { settings, problems, warnings } = clone([]);
    expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
    expect(settings).toEqual({
      source: 'postgres://a/b',
      target: 'postgres://c/d',
      directory: '/home/me/.local/share/walferry',
      journalDirectory: '/home/me/.local/share/walferry/cdc',
      tableJobs: 4,
      indexJobs: 4,
      restoreJobs: 4,
      preDataJobs: 8,
      dropIfExists: false,
      noOwner: false,
      noAcl: false,
      noComments: false,
      noTablespaces: false,
      skipLargeObjects: false,
      largeObjectJobs: 4,
      roles: false,
      noRolePasswords: false,
      skipExtensions: false,
      skipExtensionComments: false,
      skipCollations: false,
      skipDatabaseProperties: false,
      requirements: null,
      allDatabases: false,
      rows: false,
      sequenceValues: true,
      compareOwners: false,
      comparePrivileges: false,
      skipVacuum: false,
      split: null,
      estimateTableSizes: false,
      useCopyBinary: false,
      skipAnalyze: false,
      failFast: false,
      filters: null,
      plan: false,
      skipCheck: false,
      restart: false,
      resume: false,
      notConsistent: false,
      snapshot: null,
      follow: false,
      plugin: null,
      wal2jsonNumericAsString: false,
      slotName: 'walferry',
      origin: 'walferry',
      defaultName: 'walferry',
      publication: null,
      endpos: null,
      acknowledge: 'durable',
      maxJournalBytes: null,
      control: null,
      monitor: false,
      heartbeatSeconds: 10,
      intervalSeconds: 1,
      web: false,
      listen: { host: '127.0.0.1', port: 5443 },
      sentinelField: null,
      current: false,
      summary: false,
      schemaName: null,
      tableName: null,
      listSkipped: false,
      withoutPrimaryKey: false,
      availableVersions: false,
      requirementsList: false,
      dryRun: false,
      cutover: {
        request: 'begin',
        dryRun: false,
        choices: {
          freeze: null,
          verify: null,
          maxPauseMs: null,
          maxLagBytes: null,
          sequenceHeadroom: null,
          acceptMissing: null,
          copyAgain: null,
        },
        hooks: { beforeFreeze: null, after: null, onUndo: null, timeoutMs: 60_000 },
      },
      json: false,
      toStdout: false,
      fromStdin: false,
    } satisfies Settings);
  });

  test.each([
    ['walferry', {}, '/home/me/.local/share/walferry', null],
    ['walferry', { XDG_DATA_HOME: '/data', TMPDIR: '/t' }, '/data/walferry', null],
    ['walferry', { XDG_DATA_HOME: 'relative' }, '/home/me/.local/share/walferry', null],
    ['pgcopydb', {}, '/tmp/pgcopydb', '/home/me/.local/share/pgcopydb'],
    ['pgcopydb', { TMPDIR: '/t', XDG_DATA_HOME: '/data' }, '/t/pgcopydb', '/data/pgcopydb'],
    ['pgcopydb', { TMPDIR: '' }, '/tmp/pgcopydb', '/home/me/.local/share/pgcopydb'],
  ] as const)(
    'called as %s with %j the directories are %s and %s',
    (name, environment, directory, journalDirectory) => {
      expect(defaultsFor(name, environment, '/home/me')).toEqual({ name, directory, journalDirectory });
    },
  );

  test('called as pgcopydb its names hold, and --dir brings the transform files back under it', () => {
    const command = commandAt('clone');
    if (command === null) throw new Error('no clone');
    const defaults = defaultsFor('pgcopydb', {}, '/home/me');
    const of = (words: readonly string[]) =>
      readSettings({ command, ...parseOptions(command, 'clone', words), environment: {}, defaults }).settings;
    expect(of([])).toMatchObject({
      slotName: 'pgcopydb',
      origin: 'pgcopydb',
      defaultName: 'pgcopydb',
      directory: '/tmp/pgcopydb',
      journalDirectory: '/home/me/.local/share/pgcopydb',
    });
    expect(of(['--dir', '/work'])).toMatchObject({ directory: '/work', journalDirectory: '/work/cdc' });
  });
});

describe('every built option reaches its setting', () => {
  test.each<[string, readonly string[], Partial<Settings>]>([
    ['clone', ['--source', 'x'], { source: 'x' }],
    ['clone', ['--target', 'x'], { target: 'x' }],
    ['clone', ['--dir', '/x'], { directory: '/x', journalDirectory: '/x/cdc' }],
    ['clone', ['--table-jobs', '7'], { tableJobs: 7 }],
    ['clone', ['--index-jobs', '7'], { indexJobs: 7, restoreJobs: 7, preDataJobs: 11 }],
    ['clone', ['--restore-jobs', '7'], { indexJobs: 4, restoreJobs: 7, preDataJobs: 7 }],
    ['clone', ['--drop-if-exists'], { dropIfExists: true }],
    ['clone', ['--no-owner'], { noOwner: true }],
    ['clone', ['--no-acl'], { noAcl: true }],
    ['clone', ['--no-comments'], { noComments: true }],
    ['clone', ['--no-tablespaces'], { noTablespaces: true }],
    ['clone', ['--skip-large-objects'], { skipLargeObjects: true }],
    ['clone', ['--skip-blobs'], { skipLargeObjects: true }],
    ['clone', ['--large-objects-jobs', '2'], { largeObjectJobs: 2 }],
    ['clone', ['--roles', '--no-role-passwords'], { roles: true, noRolePasswords: true }],
    ['clone', ['--skip-extensions'], { skipExtensions: true }],
    ['clone', ['--skip-ext-comments'], { skipExtensionComments: true }],
    ['clone', ['--skip-collations'], { skipCollations: true }],
    ['clone', ['--skip-db-properties'], { skipDatabaseProperties: true }],
    ['clone', ['--requirements', 'r.json'], { requirements: 'r.json' }],
    ['clone', ['--all-databases'], { allDatabases: true }],
    ['clone', ['--skip-vacuum'], { skipVacuum: true }],
    [
      'clone',
      ['--split-at', '10 GB'],
      { split: { largerThanBytes: 10 * 1024 ** 3, maxParts: null, byCtid: true } },
    ],
    [
      'clone',
      ['-L', '10kB', '-u', '7', '-k'],
      { split: { largerThanBytes: 10240, maxParts: 7, byCtid: false } },
    ],
    ['clone', ['--split-tables-larger-than', '0'], { split: null }],
    ['clone', ['-m', '-n'], { estimateTableSizes: true, useCopyBinary: true }],
    ['clone', ['--skip-analyze'], { skipAnalyze: true }],
    ['clone', ['--fail-fast'], { failFast: true }],
    ['clone', ['--restart'], { restart: true }],
    ['clone', ['--resume'], { resume: true }],
    ['clone', ['--resume', '--not-consistent'], { resume: true, notConsistent: true }],
    ['list tables', ['--source', 'x', '--without-pkey'], { withoutPrimaryKey: true }],
    ['list tables', ['--source', 'x', '-F', 'f', '-x'], { filters: 'f', listSkipped: true }],
    ['clone', ['--plan', '--source', 'x', '--filter', 'f'], { filters: 'f', plan: true }],
    ['list tables', ['--source', 'x', '-s', 'a', '-t', 'b'], { schemaName: 'a', tableName: 'b' }],
    ['list extensions', ['--source', 'x', '--available-versions'], { availableVersions: true }],
    ['list extensions', ['--source', 'x', '--requirements'], { requirementsList: true }],
    ['list tables', ['--source', 'x', '--force'], { restart: false }],
    ['clone', ['--snapshot', '00000003-1'], { snapshot: '00000003-1' }],
    ['clone', ['--follow'], { follow: true }],
    ['clone', ['-f', '--plugin', 'pgoutput'], { plugin: 'pgoutput' }],
    ['clone', ['-f', '-p', 'test_decoding'], { plugin: 'test_decoding' }],
    ['follow', ['-p', 'wal2json', '-w'], { plugin: 'wal2json', wal2jsonNumericAsString: true }],
    ['clone', ['-f', '--slot-name', 's'], { slotName: 's', origin: 'walferry' }],
    ['clone', ['--create-slot'], {}],
    ['clone', ['--origin', 'o'], { origin: 'o' }],
    ['clone', ['-f', '--publication', 'p'], { publication: 'p' }],
    ['clone', ['-f', '--endpos', '1/0'], { endpos: 0x1_0000_0000n as NonNullable<Settings['endpos']> }],
    ['clone', ['-f', '--ack', 'applied'], { acknowledge: 'applied' }],
    ['clone', ['--json'], { json: true }],
    ['clone', ['--no-owner', '--table-jobs', '2', '--table-jobs', '3'], { noOwner: true, tableJobs: 3 }],
    ['clone', ['--host', 'h'], { control: { host: 'h', port: 5442 } }],
    ['clone', ['--port', '7'], { control: { host: '127.0.0.1', port: 7 } }],
    ['stream prune', ['--host', 'h', '--port', '7'], { control: { host: 'h', port: 7 } }],
    ['clone', ['--monitor'], { control: { host: '127.0.0.1', port: 5442 }, monitor: true }],
    ['clone', ['--monitor', '[::1]:7'], { control: { host: '::1', port: 7 }, monitor: true }],
    [
      'clone',
      ['-f', '--monitor=7', '--heartbeat', '0'],
      { control: { host: '127.0.0.1', port: 7 }, heartbeatSeconds: 0 },
    ],
    ['clone', ['--monitor', '--host', 'h'], { control: { host: 'h', port: 5442 }, monitor: true }],
    [
      'monitor',
      ['--host', 'h', '--interval', '5'],
      { control: { host: 'h', port: 5442 }, intervalSeconds: 5 },
    ],
    ['monitor', ['--web', '--listen', 'h:7'], { control: null, web: true, listen: { host: 'h', port: 7 } }],
    ['monitor', ['--web', '--listen', '7'], { listen: { host: '127.0.0.1', port: 7 } }],
    ['stream sentinel get', ['-H', 'h'], { control: { host: 'h', port: 5442 } }],
    ['stream sentinel set apply', ['-H', 'h', '-P', '7'], { control: { host: 'h', port: 7 } }],
    ['stream sentinel get', [], { sentinelField: null }],
    ['stream sentinel get', ['--startpos'], { sentinelField: 'startpos' }],
    ['stream sentinel get', ['--endpos'], { sentinelField: 'endpos', endpos: null }],
    ['stream sentinel get', ['--apply'], { sentinelField: 'apply' }],
    ['stream sentinel get', ['--write-lsn'], { sentinelField: 'writeLsn' }],
    ['stream sentinel get', ['--flush-lsn'], { sentinelField: 'flushLsn' }],
    ['stream sentinel get', ['--transform-lsn'], { sentinelField: 'transformLsn' }],
    ['stream sentinel get', ['--replay-lsn'], { sentinelField: 'replayLsn' }],
    ['stream sentinel set endpos', ['--current', '--source', 'x'], { current: true }],
  ])('%s %j', (path, words, expected) => {
    const { settings, warnings } = path === 'clone' ? clone(words) : read(path, words);
    expect(settings).toMatchObject(expected);
    expect(warnings).toEqual([]);
  });
});

describe('a variable', () => {
  test.each<[Record<string, string>, Partial<Settings>]>([
    [{ PGCOPYDB_TABLE_JOBS: '9' }, { tableJobs: 9 }],
    [{ WALFERRY_TABLE_JOBS: '9' }, { tableJobs: 9 }],
    [{ PGCOPYDB_INDEX_JOBS: '9' }, { indexJobs: 9, restoreJobs: 9 }],
    [{ PGCOPYDB_RESTORE_JOBS: '9' }, { restoreJobs: 9 }],
    [{ PGCOPYDB_LARGE_OBJECTS_JOBS: '9' }, { largeObjectJobs: 9 }],
    [
      { PGCOPYDB_SPLIT_TABLES_LARGER_THAN: '10 MB', PGCOPYDB_SPLIT_MAX_PARTS: '3' },
      { split: { largerThanBytes: 10 * 1024 ** 2, maxParts: 3, byCtid: true } },
    ],
    [
      { PGCOPYDB_SPLIT_TABLES_LARGER_THAN: '1', PGCOPYDB_SKIP_CTID_SPLIT: 'yes' },
      { split: { largerThanBytes: 1, maxParts: null, byCtid: false } },
    ],
    [{ PGCOPYDB_ESTIMATE_TABLE_SIZES: 'on' }, { estimateTableSizes: true }],
    [{ PGCOPYDB_USE_COPY_BINARY: '1' }, { useCopyBinary: true }],
    [{ PGCOPYDB_SKIP_DB_PROPERTIES: 'true' }, { skipDatabaseProperties: true }],
    [{ PGCOPYDB_DROP_IF_EXISTS: 'yes' }, { dropIfExists: true }],
    [{ PGCOPYDB_FAIL_FAST: 'on' }, { failFast: true }],
    [{ PGCOPYDB_SKIP_VACUUM: '1' }, { skipVacuum: true }],
    [{ PGCOPYDB_SKIP_ANALYZE: 'TRUE' }, { skipAnalyze: true }],
    [{ PGCOPYDB_SKIP_TABLESPACES: 'true' }, { noTablespaces: true }],
    [{ PGCOPYDB_SKIP_VACUUM: 'false' }, { skipVacuum: false }],
    [{ PGCOPYDB_SKIP_VACUUM: '' }, { skipVacuum: false }],
    [{ PGCOPYDB_SNAPSHOT: 'id' }, { snapshot: 'id' }],
    [{ PGCOPYDB_OUTPUT_PLUGIN: 'pgoutput' }, { plugin: 'pgoutput' }],
    [
      { PGCOPYDB_OUTPUT_PLUGIN: 'wal2json', PGCOPYDB_WAL2JSON_NUMERIC_AS_STRING: 'on' },
      { plugin: 'wal2json', wal2jsonNumericAsString: true },
    ],
    [{ WALFERRY_ACK: 'applied' }, { acknowledge: 'applied' }],
  ])('%j is heard', (environment, expected) => {
    const { settings, problems, warnings } = clone([], environment);
    expect(settings).toMatchObject(expected);
    expect([problems, warnings]).toEqual([[], []]);
  });

  test.each([
    ['follow', { PGCOPYDB_HOST: 'h' }, { host: 'h', port: 5442 }],
    ['follow', { WALFERRY_PORT: '7' }, { host: '127.0.0.1', port: 7 }],
    ['stream prune', { PGCOPYDB_HOST: 'h', PGCOPYDB_PORT: '7' }, null],
    ['stream prune', { WALFERRY_HOST: 'h', PGCOPYDB_PORT: '7' }, { host: 'h', port: 5442 }],
    ['stream sentinel get', { PGCOPYDB_HOST: 'h' }, null],
    ['stream sentinel get', { WALFERRY_HOST: 'h', WALFERRY_PORT: '7' }, { host: 'h', port: 7 }],
  ])('of %s tells where to listen, or whom to ask: %j', (path, environment, control) => {
    expect(read(path, [], environment as Record<string, string>).settings.control).toEqual(control);
  });

  test('gives the connection strings', () => {
    const environment = { WALFERRY_SOURCE_PGURI: 'postgres://a', PGCOPYDB_TARGET_PGURI: 'postgres://b' };
    const { settings, problems } = read('clone', [], environment);
    expect(settings).toMatchObject({ source: 'postgres://a', target: 'postgres://b' });
    expect(problems).toEqual([]);
  });

  test('is weaker than the option, and ours is stronger than the peer’s', () => {
    const environment = { WALFERRY_TABLE_JOBS: '2', PGCOPYDB_TABLE_JOBS: '3' };
    expect(clone(['--table-jobs', '1'], environment).settings.tableJobs).toBe(1);
    expect(clone([], environment).settings.tableJobs).toBe(2);
  });

  test('that differs from its twin is warned about, once and without the values', () => {
    const differ = { WALFERRY_TARGET_PGURI: 'postgres://u:secret@a', PGCOPYDB_TARGET_PGURI: 'postgres://b' };
    expect(read('clone', ['--source', 'x'], differ).warnings).toEqual([
      'WALFERRY_TARGET_PGURI and PGCOPYDB_TARGET_PGURI are both set and differ: WALFERRY_TARGET_PGURI is used',
    ]);
    expect(clone([], differ).warnings).toEqual([]);
    expect(clone([], { WALFERRY_TABLE_JOBS: '2', PGCOPYDB_TABLE_JOBS: '2' }).warnings).toEqual([]);
  });

  test.each([
    [
      { PGCOPYDB_TABLE_JOBS: '129' },
      'Failed to parse "PGCOPYDB_TABLE_JOBS": "129", expected an integer >= 1 and <= 128',
    ],
    [
      { WALFERRY_INDEX_JOBS: 'x' },
      'Failed to parse "WALFERRY_INDEX_JOBS": "x", expected an integer >= 1 and <= 128',
    ],
    [
      { PGCOPYDB_SKIP_VACUUM: 'maybe' },
      'Failed to parse "PGCOPYDB_SKIP_VACUUM": "maybe", expected true, yes, on or 1, or false, no, off or 0',
    ],
    [
      { PGCOPYDB_OUTPUT_PLUGIN: 'decoderbufs' },
      'Failed to parse "PGCOPYDB_OUTPUT_PLUGIN": "decoderbufs", expected pgoutput, wal2json, test_decoding',
    ],
    [
      { PGCOPYDB_LOG_JSON: 'maybe' },
      'Failed to parse "PGCOPYDB_LOG_JSON": "maybe", expected true, yes, on or 1, or false, no, off or 0',
    ],
    [
      { PGCOPYDB_USE_COPY_BINARY: 'maybe' },
      'Failed to parse "PGCOPYDB_USE_COPY_BINARY": "maybe", expected true, yes, on or 1, or false, no, off or 0',
    ],
  ])('with a bad value is refused: %j', (environment, problem) => {
    expect(clone([], environment).problems).toEqual([problem]);
  });
});

describe('what has no effect here', () => {
  test.each([
    [
      'clone',
      '--replay-no-op-updates',
      null,
      /^--replay-no-op-updates has no effect: updates that change nothing are applied/,
    ],
    [
      'stream apply',
      '--max-replaydb-size',
      '1 GB',
      /^--max-replaydb-size has no effect: .* --max-journal-size$/,
    ],
    [
      'stream replay',
      '--not-consistent',
      null,
      /^--not-consistent has no effect: a stream goes on from its slot/,
    ],
  ] as const)('%s %s is accepted, and it is said why', (path, name, value, warning) => {
    const { problems, warnings } = read(path, [...both, name, ...(value === null ? [] : [value])]);
    expect([problems, warnings]).toEqual([[], [expect.stringMatching(warning)]]);
  });

  test.each([
    [
      'clone',
      ['--endpos', '0/1', '-s', 'x'],
      ['--endpos has no effect without --follow', '--slot-name has no effect without --follow'],
    ],
    ['clone', ['--endpos', '0/1', '-f', '--split-at', '1 GB', '-u', '2'], []],
    ['clone', ['--publication', 'p', '--plan'], []],
    [
      'clone',
      ['--skip-split-by-ctid'],
      ['--skip-split-by-ctid has no effect without --split-tables-larger-than'],
    ],
    ['snapshot', ['--publication', 'p'], ['--publication has no effect without --follow']],
    [
      'copy data',
      ['--follow'],
      ['--follow has no effect: copy data follows no changes (clone --follow does)'],
    ],
    [
      'follow',
      ['--snapshot', 'x'],
      [expect.stringMatching(/^--snapshot has no effect: a stream begins at its slot/)],
    ],
    ['stream setup', ['-N', 'x', '-s', 'y'], [expect.stringMatching(/^--snapshot has no effect/)]],
    [
      'stream apply',
      ['--max-journal-size', '1 GB'],
      ['--max-journal-size has no effect without "-" or --from-stdin'],
    ],
    ['stream apply', ['--max-journal-size', '1 GB', '-'], []],
    ['stream apply', ['--max-journal-size', '1 GB', '--from-stdin'], []],
    [
      'stream catchup',
      ['--max-journal-size', '1 GB'],
      ['--max-journal-size has no effect: stream catchup receives nothing (stream receive does)'],
    ],
    ['stream replay', ['--max-journal-size', '1 GB'], []],
    ['cutover', ['-s', 'y'], []],
  ] as const)('%s %j: what nothing comes of is told', (path, words, told) => {
    const sides = path === 'snapshot' ? both.slice(0, 2) : both;
    const { problems, warnings } = read(path, [...sides, ...words]);
    expect([problems, warnings]).toEqual([[], told]);
  });

  test('of a variable is not told: it is set for many commands', () => {
    expect(clone([], { PGCOPYDB_OUTPUT_PLUGIN: 'wal2json' })).toMatchObject({ problems: [], warnings: [] });
  });

  test.each(['PGCOPYDB_REPLAY_NO_OP_UPDATES', 'WALFERRY_REPLAY_NO_OP_UPDATES'])('also as %s', (variable) => {
    expect(clone([], { [variable]: 'yes' })).toMatchObject({
      problems: [],
      warnings: [expect.stringMatching(new RegExp(`^${variable} has no effect`))],
    });
    expect(clone([], { [variable]: 'no' })).toMatchObject({ problems: [], warnings: [] });
  });

  test('is read all the same', () => {
    expect(read('stream apply', [...both, '--max-replaydb-size', 'much']).problems).toEqual([
      expect.stringMatching(/^Failed to parse --max-replaydb-size: "much"/),
    ]);
  });

  test('does not matter to a command that has no such option', () => {
    const variables = { PGCOPYDB_REPLAY_NO_OP_UPDATES: 'yes', PGCOPYDB_TABLE_JOBS: 'x' };
    expect(read('ping', both, variables)).toMatchObject({ problems: [], warnings: [] });
  });
});

test.each([
  ['stream receive', '--from-stdin', 'Option --from-stdin is for stream apply and stream transform'],
  ['stream apply', '--to-stdout', 'Option --to-stdout is for stream receive and stream prefetch'],
])('%s %s is refused', (path, option, problem) => {
  expect(read(path, [...both, option]).problems).toEqual([problem]);
});

describe('problems', () => {
  test('are reported all together', () => {
    const words = ['--resume', '--restart', '--jobs', '0', '--endpos', 'x', '--slot-name', 'Ä'];
    const { problems } = read('clone', words, { PGCOPYDB_INDEX_JOBS: 'many' });
    expect(problems).toEqual([
      'Failed to parse "PGCOPYDB_INDEX_JOBS": "many", expected an integer >= 1 and <= 128',
      'Failed to parse --table-jobs: "0", expected an integer >= 1 and <= 128',
      'Failed to parse --slot-name: "Ä", expected up to 63 lower-case letters, digits and underscores',
      'Failed to parse --endpos: "x", expected an LSN, as 16/B374D848',
      'Options --resume and --restart exclude each other',
      'Options --source and --target are mandatory',
    ]);
  });

  test.each([
    ['clone', ['--source', 'a'], ['Options --source and --target are mandatory']],
    ['ping', [], ['Options --source and --target are mandatory']],
    ['snapshot', [], ['Option --source is mandatory']],
    ['stream apply', [], ['Option --target is mandatory']],
    ['stream sentinel get', [], []],
    ['stream sentinel get', ['--apply', '--endpos'], ['Options --endpos and --apply exclude each other']],
    [
      'stream sentinel setup',
      ['0/1', 'x'],
      ['Failed to parse <endpos>: "x", expected an LSN, as 16/B374D848'],
    ],
    ['stream sentinel set endpos', [], ['Give either an LSN or --current']],
    ['stream sentinel set endpos', ['0/1'], []],
    ['stream sentinel set endpos', ['0/1', '--current'], ['Give either an LSN or --current']],
    ['stream sentinel set endpos', ['--current'], ['Option --source is mandatory with --current']],
    ['clone', [...both, '--dir', ''], ['Failed to parse --dir: "", expected a value that is not empty']],
  ])('of %s %j', (path, words, problems) => {
    expect(read(path, words).problems).toEqual(problems);
  });
});

describe('the log', () => {
  test.each([
    [[], 'info'],
    [['-v'], 'notice'],
    [['--notice'], 'notice'],
    [['-vv'], 'debug'],
    [['--debug'], 'debug'],
    [['--trace'], 'debug'],
    [['--quiet'], 'error'],
    [['--quiet', '--debug'], 'debug'],
  ])('with %j has the level %s', (words, level) => {
    expect(clone(words).log.level).toBe(level);
  });

  test.each([
    [[], {}, 'text'],
    [['--log-format', 'json'], {}, 'json'],
    [[], { PGCOPYDB_LOG_JSON: 'yes' }, 'json'],
    [[], { WALFERRY_LOG_JSON: 'no', PGCOPYDB_LOG_JSON: 'yes' }, 'text'],
    [['--log-format', 'text'], { PGCOPYDB_LOG_JSON: 'yes' }, 'text'],
  ])('with %j and %j has the format %s', (words, environment, format) => {
    expect(clone(words, environment as Record<string, string>).log.format).toBe(format);
  });

  test('goes to a file as well', () => {
    const environment = {
      PGCOPYDB_LOG_FILENAME: '/tmp/x.log',
      PGCOPYDB_LOG_JSON_FILE: 'on',
      PGCOPYDB_LOG_TIME_FORMAT: '%s',
    };
    expect(clone([], environment).log).toEqual({
      level: 'info',
      format: 'text',
      timeFormat: '%s',
      file: '/tmp/x.log',
      fileFormat: 'json',
    });
  });
});

describe('where a run listens', () => {
  test.each<[string, string[], RegExp]>([
    ['clone', ['--monitor', 'h:99999'], /Failed to parse --monitor: "h:99999", expected host:port/],
    ['clone', ['--monitor', 'http://h:1/'], /Failed to parse --monitor: .*, expected host:port/],
    ['clone', ['--monitor', 'h:1', '--port', '2'], /--monitor names another address than --host and --port/],
    ['clone', ['--monitor', '--all-databases'], /Options --all-databases and --monitor exclude each other/],
    ['monitor', ['--listen', 'a b'], /Failed to parse --listen: "a b", expected host:port/],
    [
      'monitor',
      ['--web', '--host', 'h'],
      /--web and --host, --port exclude each other: that run serves its page itself/,
    ],
    ['monitor', ['--interval', '0'], /Failed to parse --interval: "0", expected an integer >= 1/],
  ])('%s %j is refused in one sentence', (path, words, sentence) => {
    const { problems } = path === 'clone' ? clone(words) : read(path, words);
    expect(problems).toEqual([expect.stringMatching(sentence)]);
  });
});

describe('a cutover', () => {
  const cutover = (...words: string[]) => read('cutover', [...both, ...words]);

  test('is told what to do; what is not told is left open for --resume', () => {
    const words = ['--freeze', 'revoke', '--max-pause', '30', '--max-lag', '1 MB', '--after', 'true'];
    expect(cutover(...words).settings.cutover).toEqual({
      request: 'begin',
      dryRun: false,
      choices: {
        freeze: 'revoke',
        verify: null,
        maxPauseMs: 30_000,
        maxLagBytes: 1024 * 1024,
        sequenceHeadroom: null,
        acceptMissing: null,
        copyAgain: null,
      },
      hooks: { beforeFreeze: null, after: 'true', onUndo: null, timeoutMs: 60_000 },
    });
    expect(cutover('--abort').settings.cutover.request).toBe('abort');
    expect(cutover('--resume').settings.cutover.request).toBe('resume');
  });

  test.each<[string[], RegExp]>([
    [['--resume', '--abort'], /--resume and --abort exclude each other/],
    [['--dry-run', '--abort'], /--dry-run is for a cutover that is not begun yet/],
    [['--freeze', 'hard'], /Failed to parse --freeze: "hard", expected read-only, revoke, none/],
    [['--max-pause', '0'], /Failed to parse --max-pause: "0", expected an integer >= 1/],
  ])('%j is refused in one sentence', (words, sentence) => {
    expect(cutover(...words).problems).toEqual([expect.stringMatching(sentence)]);
  });
});
