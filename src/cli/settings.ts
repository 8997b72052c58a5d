/**
 * Options and variables → settings. One parser for all commands: it looks at everything, reports every problem it
 * finds, and decides nothing else. An option is stronger than WALFERRY_*, which is stronger than PGCOPYDB_*.
 *
 * Pure: the environment and the home directory are handed in.
 */
import { join, resolve } from 'node:path';
import type { Lsn } from '../model/lsn.js';
import { pluginNames, type PluginName } from '../model/plugin.js';
import type { Sentinel } from '../model/progress.js';
import type { CutoverHooks, FreezeKind, GivenChoices, VerifyMode } from '../cutover/choices.js';
import type { CutoverRequest } from '../cutover/decisions.js';
import type { Command } from './command.js';
import { pageAddress, readControl } from './control-settings.js';
import { longName, variablesOf, type Option } from './option.js';
import { optionsOf } from './options.js';
import type { GivenOption } from './parse-options.js';
import {
  readAddress,
  readBoolean,
  readInteger,
  readLsnOption,
  readSize,
  readSlotName,
  readText,
  type Address,
  type Read,
} from './values.js';
import { withoutEffect } from './without-effect.js';

/** What a command was asked to do, checked. Values without a meaning for a command hold their defaults. */
export type Settings = {
  /** The connection strings as they were given; commands use `context.source()` and `context.target()`. */
  readonly source: string | null;
  readonly target: string | null;
  /** Work directory, absolute. */
  readonly directory: string;
  /** Where the transform files lie: `<work directory>/cdc`, but the peer's own place when called as pgcopydb. */
  readonly journalDirectory: string;

  readonly tableJobs: number;
  readonly indexJobs: number;
  readonly restoreJobs: number;
  /** Of these, for what comes before the rows: nothing else uses the target then. */
  readonly preDataJobs: number;
  readonly dropIfExists: boolean;
  readonly noOwner: boolean;
  readonly noAcl: boolean;
  readonly noComments: boolean;
  readonly noTablespaces: boolean;
  readonly skipLargeObjects: boolean;
  readonly largeObjectJobs: number;
  readonly roles: boolean;
  readonly noRolePasswords: boolean;
  readonly skipExtensions: boolean;
  readonly skipExtensionComments: boolean;
  readonly skipCollations: boolean;
  readonly skipDatabaseProperties: boolean;
  /** A JSON file with the versions of extensions. */
  readonly requirements: string | null;
  readonly allDatabases: boolean;
  /** `compare data`: down to the rows. */
  readonly rows: boolean;
  /** `compare schema`: what is looked at. */
  readonly sequenceValues: boolean;
  readonly compareOwners: boolean;
  readonly comparePrivileges: boolean;
  readonly skipVacuum: boolean;
  /** Large tables in parts; null: every table whole. */
  readonly split: {
    readonly largerThanBytes: number;
    readonly maxParts: number | null;
    readonly byCtid: boolean;
  } | null;
  readonly estimateTableSizes: boolean;
  readonly useCopyBinary: boolean;
  readonly skipAnalyze: boolean;
  readonly failFast: boolean;

  /** The filter file. */
  readonly filters: string | null;
  /** `clone --plan`: only say what would be done. */
  readonly plan: boolean;
  /** `clone --skip-check`: without the preflight. */
  readonly skipCheck: boolean;

  readonly restart: boolean;
  readonly resume: boolean;
  /** Go on with another snapshot than the run began with. */
  readonly notConsistent: boolean;
  /** A snapshot that somebody else holds. */
  readonly snapshot: string | null;

  readonly follow: boolean;
  /** Null: that of the stream, or pgoutput for a new one. */
  readonly plugin: PluginName | null;
  readonly wal2jsonNumericAsString: boolean;
  readonly slotName: string;
  /** The stream's name. */
  readonly origin: string;
  /** The name that slot, stream and publication have unless told: `walferry`, or `pgcopydb` when called so. */
  readonly defaultName: string;
  /** A publication made by somebody else; null: ours. */
  readonly publication: string | null;
  /** `--endpos`; null: not given. */
  readonly endpos: Lsn | null;
  readonly acknowledge: 'durable' | 'applied';
  /** Bytes of transform files at which the slot is not read on; 0: no limit, null: by the free space. */
  readonly maxJournalBytes: number | null;

  /** Where a run listens for the sentinel commands, or where those ask; null: nowhere, the files of --dir are used. */
  readonly control: Address | null;
  /** Whether the run listens from its very beginning, for its page. */
  readonly monitor: boolean;
  /** Seconds without a commit after which the source gets a heartbeat; 0: never. */
  readonly heartbeatSeconds: number;
  /** `monitor`: seconds between two looks; serve the page, and where. */
  readonly intervalSeconds: number;
  readonly web: boolean;
  readonly listen: Address;

  /** `stream sentinel get`: the one field to print; null: all. */
  readonly sentinelField: keyof Sentinel | null;
  /** `stream sentinel set endpos --current`. */
  readonly current: boolean;
  /** `list progress --summary`. */
  readonly summary: boolean;
  /** `list …`: only of this schema, only of this table. */
  readonly schemaName: string | null;
  readonly tableName: string | null;
  /** `list …`: what the filters leave out, not what they keep. */
  readonly listSkipped: boolean;
  /** `list tables --without-pkey`. */
  readonly withoutPrimaryKey: boolean;
  /** `list extensions --available-versions`, `--requirements`. */
  readonly availableVersions: boolean;
  readonly requirementsList: boolean;
  /** `stream prune --dry-run`. */
  readonly dryRun: boolean;
  /** `cutover`: what it is told. */
  readonly cutover: {
    readonly request: CutoverRequest;
    readonly dryRun: boolean;
    readonly choices: GivenChoices;
    readonly hooks: CutoverHooks;
  };
  /** JSON on stdout. */
  readonly json: boolean;
  /** The lines of the transform files are printed as well. */
  readonly toStdout: boolean;
  /** The lines of the transform files come from standard input. */
  readonly fromStdin: boolean;
};

/** How much is logged. */
export type LogLevel = 'error' | 'info' | 'notice' | 'debug';

export type LogSettings = {
  readonly level: LogLevel;
  readonly format: 'text' | 'json';
  /** strftime format of the time column; null: by the kind of stderr. */
  readonly timeFormat: string | null;
  /** A file that gets the log too. */
  readonly file: string | null;
  readonly fileFormat: 'text' | 'json';
};

/** Where things lie and are called when nothing is said. */
export type Defaults = {
  readonly name: string;
  readonly directory: string;
  /** Only where it does not follow from the directory. */
  readonly journalDirectory: string | null;
};

export type SettingsInput = {
  readonly command: Command;
  readonly given: readonly GivenOption[];
  readonly arguments: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly defaults: Defaults;
};

export type SettingsResult = {
  /** Usable only when `problems` is empty. */
  readonly settings: Settings;
  readonly log: LogSettings;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  /** Where the connection strings are from: `--source`, `PGCOPYDB_SOURCE_PGURI`. */
  readonly from: Readonly<Record<'source' | 'target', string>>;
};

/** The names and places of walferry, or the peer's when called through a link of its name (DESIGN 10). */
export function defaultsFor(
  program: 'walferry' | 'pgcopydb',
  environment: NodeJS.ProcessEnv,
  home: string,
): Defaults {
  // The XDG specification: a relative path is to be ignored.
  const xdg = environment['XDG_DATA_HOME'];
  const data = xdg?.startsWith('/') === true ? xdg : join(home, '.local', 'share');
  if (program === 'walferry') {
    return { name: 'walferry', directory: join(data, 'walferry'), journalDirectory: null };
  }
  const temporary =
    environment['TMPDIR'] === undefined || environment['TMPDIR'] === '' ? '/tmp' : environment['TMPDIR'];
  return {
    name: 'pgcopydb',
    directory: join(temporary, 'pgcopydb'),
    journalDirectory: join(data, 'pgcopydb'),
  };
}

/** Where a value came from, for messages. */
type Found = { readonly text: string; readonly from: string; readonly variable: boolean };

/** Finds the texts of options and collects what is wrong. */
class Reader {
  readonly problems: string[] = [];
  readonly warnings: string[] = [];
  readonly #known: ReadonlyMap<string, Option>;
  readonly #given: ReadonlyMap<string, string | null>;
  readonly #environment: NodeJS.ProcessEnv;

  constructor(input: SettingsInput) {
    const known = optionsOf(input.command.group, input.command.path);
    this.#known = new Map(known.map(({ option }) => [option.id, option]));
    // The last one counts, as with getopt.
    this.#given = new Map(input.given.map(({ option, value }) => [option.id, value]));
    this.#environment = input.environment;
  }

  /** A variable that is set to nothing counts as not set (docker compose hands such ones on). */
  #variable(name: string): string | null {
    const text = this.#environment[name];
    return text === undefined || text === '' ? null : text;
  }

  given(id: string): boolean {
    return this.#given.has(id);
  }

  /** The first of these variables that is set; says so when a weaker one says something else. */
  strongest(names: readonly string[]): Found | null {
    const set = names.flatMap((name) => {
      const text = this.#variable(name);
      return text === null ? [] : [{ text, from: name, variable: true }];
    });
    const [first, second] = set;
    if (first === undefined) return null;
    if (second !== undefined && first.text !== second.text) {
      const warning = `${first.from} and ${second.from} are both set and differ: ${first.from} is used`;
      if (!this.warnings.includes(warning)) this.warnings.push(warning);
    }
    return first;
  }

  #find(id: string): { option: Option; found: Found } | null {
    const option = this.#known.get(id);
    if (option === undefined) return null;
    const text = this.#given.get(id);
    const found =
      text === undefined
        ? this.strongest(variablesOf(option))
        : { text: text ?? 'true', from: longName(option), variable: false };
    return found === null ? null : { option, found };
  }

  #read<T>(id: string, absent: T, read: (text: string, option: Option) => Read<T>): T {
    const entry = this.#find(id);
    if (entry === null) return absent;
    const result = read(entry.found.text, entry.option);
    if ('value' in result) return result.value;
    this.problems.push(`Failed to parse ${show(entry.found)}, expected ${result.expected}`);
    return absent;
  }

  from(id: string): string {
    return this.#find(id)?.found.from ?? `--${id}`;
  }

  flag(id: string): boolean {
    return this.#read(id, false, readBoolean);
  }

  text(id: string): string | null {
    return this.#read<string | null>(id, null, readText);
  }

  /** Whether the option stands there without the value that it may have. */
  givenBare(id: string): boolean {
    const value = this.#given.get(id);
    return value === null || value === 'true';
  }

  integer<T extends number | null>(id: string, absent: T): number | T {
    return this.#read<number | T>(id, absent, (text, { value }) =>
      value.type === 'integer' ? readInteger(text, value.min, value.max) : { expected: 'an integer' },
    );
  }

  size(id: string): number | null {
    return this.#read<number | null>(id, null, readSize);
  }

  address<A extends Address | null>(id: string, absent: A): Address | A {
    return this.#read<Address | A>(id, absent, (text) => readAddress(text, absent ?? pageAddress));
  }

  lsn(id: string): Lsn | null {
    return this.#read<Lsn | null>(id, null, readLsnOption);
  }

  slotName(id: string, absent: string): string {
    return this.#read(id, absent, readSlotName);
  }

  /** One of a few words; `absent` is what it is unless told. */
  word<T extends string, A extends T | null>(id: string, words: readonly T[], absent: A): T | A {
    const entry = this.#find(id);
    if (entry === null) return absent;
    const { found } = entry;
    const word = words.find((one) => one === found.text);
    if (word !== undefined) return word;
    this.problems.push(`Failed to parse ${show(found)}, expected ${words.join(', ')}`);
    return absent;
  }

  /** Options without effect are told, unless they are set to what happens anyway. Their values are read all the same. */
  tellNoEffect(): void {
    for (const option of this.#known.values()) {
      if (option.noEffect === null) continue;
      const entry = this.#find(option.id);
      if (entry === null || this.#isOff(option)) continue;
      this.warnings.push(`${entry.found.from} has no effect: ${option.noEffect}`);
    }
  }

  #isOff(option: Option): boolean {
    const { type } = option.value;
    if (type === 'flag') return !this.flag(option.id);
    return type === 'size' && this.size(option.id) === 0;
  }
}

/** A value and where it is from, the way the peer says it. Connection strings are never read by these readers. */
function show(found: Found): string {
  return found.variable ? `"${found.from}": "${found.text}"` : `${found.from}: "${found.text}"`;
}

const sentinelFields: Readonly<Record<string, keyof Sentinel>> = {
  'show-startpos': 'startpos',
  'show-endpos': 'endpos',
  'show-apply': 'apply',
  'show-write-lsn': 'writeLsn',
  'show-flush-lsn': 'flushLsn',
  'show-transform-lsn': 'transformLsn',
  'show-replay-lsn': 'replayLsn',
};

/** Reads everything a command was given. */
export function readSettings(input: SettingsInput): SettingsResult {
  const reader = new Reader(input);
  const { defaults } = input;
  const log = readLogSettings(reader, input.given);
  const directory = reader.text('dir');
  const workDirectory = resolve(directory ?? defaults.directory);
  const indexJobs = reader.integer('index-jobs', 4);
  const tableJobs = reader.integer('table-jobs', 4);
  const asked = Object.keys(sentinelFields).filter((id) => reader.given(id));

  const settings: Settings = {
    source: reader.text('source'),
    target: reader.text('target'),
    directory: workDirectory,
    journalDirectory:
      directory === null && defaults.journalDirectory !== null
        ? defaults.journalDirectory
        : join(workDirectory, 'cdc'),
    tableJobs,
    indexJobs,
    restoreJobs: reader.integer('restore-jobs', indexJobs),
    preDataJobs: reader.integer('restore-jobs', tableJobs + indexJobs),
    dropIfExists: reader.flag('drop-if-exists'),
    noOwner: reader.flag('no-owner'),
    noAcl: reader.flag('no-acl'),
    noComments: reader.flag('no-comments') || reader.flag('compare-no-comments'),
    noTablespaces: reader.flag('no-tablespaces'),
    skipLargeObjects: reader.flag('skip-large-objects'),
    largeObjectJobs: reader.integer('large-objects-jobs', 4),
    roles: reader.flag('roles'),
    noRolePasswords: reader.flag('no-role-passwords'),
    skipExtensions: reader.flag('skip-extensions'),
    skipExtensionComments: reader.flag('skip-ext-comments'),
    skipCollations: reader.flag('skip-collations'),
    skipDatabaseProperties: reader.flag('skip-db-properties'),
    requirements: reader.text('requirements'),
    allDatabases: reader.flag('all-databases') || reader.flag('compare-all-databases'),
    rows: reader.flag('rows'),
    sequenceValues: !reader.flag('no-sequence-values'),
    compareOwners: reader.flag('owners'),
    comparePrivileges: reader.flag('privileges'),
    skipVacuum: reader.flag('skip-vacuum'),
    split: readSplit(reader),
    estimateTableSizes: reader.flag('estimate-table-sizes'),
    useCopyBinary: reader.flag('use-copy-binary'),
    skipAnalyze: reader.flag('skip-analyze'),
    failFast: reader.flag('fail-fast'),
    filters: reader.text('filters'),
    plan: reader.given('plan'),
    skipCheck: reader.given('skip-check'),
    restart: reader.flag('restart'),
    resume: reader.flag('resume'),
    notConsistent: reader.flag('not-consistent'),
    snapshot: reader.text('snapshot'),
    follow: reader.flag('follow'),
    plugin: reader.word('plugin', pluginNames, null),
    wal2jsonNumericAsString: reader.flag('wal2json-numeric-as-string'),
    slotName: reader.slotName('slot-name', defaults.name),
    origin: reader.text('origin') ?? defaults.name,
    defaultName: defaults.name,
    publication: reader.text('publication'),
    endpos: reader.lsn('endpos'),
    acknowledge: reader.word('ack', ['durable', 'applied'], 'durable'),
    maxJournalBytes: reader.size('max-journal-size'),
    control: readControl(reader, input.command),
    monitor: reader.given('monitor'),
    heartbeatSeconds: reader.integer('heartbeat', 10),
    intervalSeconds: reader.integer('interval', 1),
    web: reader.given('web'),
    listen: reader.address('listen', pageAddress),
    sentinelField: sentinelFields[asked[0] ?? ''] ?? null,
    current: reader.given('current'),
    summary: reader.flag('summary'),
    schemaName: reader.text('schema-name'),
    tableName: reader.text('table-name'),
    listSkipped: reader.flag('list-skipped'),
    withoutPrimaryKey: reader.flag('without-pkey'),
    availableVersions: reader.flag('available-versions'),
    requirementsList: reader.flag('list-requirements'),
    dryRun: reader.flag('dry-run'),
    cutover: readCutover(reader),
    json: reader.given('json'),
    toStdout: reader.flag('to-stdout'),
    fromStdin: reader.flag('from-stdin'),
  };

  if (settings.resume && settings.restart) {
    reader.problems.push('Options --resume and --restart exclude each other');
  }
  if (settings.resume && settings.cutover.request === 'abort') {
    reader.problems.push('Options --resume and --abort exclude each other');
  }
  if (settings.cutover.dryRun && settings.cutover.request !== 'begin') {
    reader.problems.push('Option --dry-run is for a cutover that is not begun yet');
  }
  if (settings.notConsistent && settings.follow) {
    reader.problems.push('Options --not-consistent and --follow exclude each other');
  }
  if (settings.wal2jsonNumericAsString && settings.plugin !== 'wal2json') {
    reader.problems.push('Option --wal2json-numeric-as-string needs --plugin wal2json');
  }
  const { path } = input.command;
  if (settings.toStdout && path !== 'stream receive' && path !== 'stream prefetch') {
    reader.problems.push('Option --to-stdout is for stream receive and stream prefetch');
  }
  if (settings.fromStdin && path !== 'stream apply' && path !== 'stream transform') {
    reader.problems.push('Option --from-stdin is for stream apply and stream transform');
  }
  if (settings.allDatabases) reader.problems.push(...badWithAllDatabases(settings));
  if (settings.listSkipped && settings.filters === null) {
    reader.problems.push('Option --list-skipped needs --filters');
  }
  if (asked.length > 1) {
    const names = asked.map((id) => `--${id.replace('show-', '')}`).join(' and ');
    reader.problems.push(`Options ${names} exclude each other`);
  }
  reader.problems.push(...missingSides(input.command, settings), ...badArguments(input, settings));
  if (settings.web && (reader.given('coordinator-host') || reader.given('coordinator-port'))) {
    reader.problems.push(
      'Options --web and --host, --port exclude each other: that run serves its page itself',
    );
  }
  reader.tellNoEffect();
  return {
    settings,
    log,
    // Two settings may come from one option.
    problems: [...new Set(reader.problems)],
    warnings: [...reader.warnings, ...withoutEffect(input, settings)],
    from: { source: reader.from('source'), target: reader.from('target') },
  };
}

/** The three options that say how tables are split; without a size none is. */
function readSplit(reader: Reader): Settings['split'] {
  const largerThanBytes = reader.size('split-tables-larger-than');
  const maxParts = reader.integer('split-max-parts', null);
  const byCtid = !reader.flag('skip-split-by-ctid');
  return largerThanBytes === null || largerThanBytes === 0 ? null : { largerThanBytes, maxParts, byCtid };
}

function readCutover(reader: Reader): Settings['cutover'] {
  const milliseconds = (id: string) => {
    const seconds = reader.integer(id, null);
    return seconds === null ? null : seconds * 1000;
  };
  return {
    request: reader.given('abort') ? 'abort' : reader.given('resume') ? 'resume' : 'begin',
    dryRun: reader.flag('cutover-dry-run'),
    choices: {
      freeze: reader.word<FreezeKind, null>('freeze', ['read-only', 'revoke', 'none'], null),
      verify: reader.word<VerifyMode, null>('verify', ['full', 'touched', 'counts', 'none'], null),
      maxPauseMs: milliseconds('max-pause'),
      maxLagBytes: reader.size('max-lag'),
      sequenceHeadroom: reader.integer('sequence-headroom', null),
      acceptMissing: reader.flag('accept-missing') ? true : null,
      copyAgain: reader.flag('copy-again') ? true : null,
    },
    hooks: {
      beforeFreeze: reader.text('before-freeze'),
      after: reader.text('after'),
      onUndo: reader.text('on-undo'),
      timeoutMs: milliseconds('hook-timeout') ?? 60_000,
    },
  };
}

/** One stream follows one database, and a snapshot or a plan is of one. */
function badWithAllDatabases(settings: Settings): string[] {
  const excluded: readonly (readonly [boolean, string])[] = [
    [settings.follow, '--follow'],
    [settings.snapshot !== null, '--snapshot'],
    [settings.plan, '--plan'],
    [settings.monitor, '--monitor'],
  ];
  return excluded.flatMap(([on, name]) =>
    on ? [`Options --all-databases and ${name} exclude each other`] : [],
  );
}

function readLogSettings(reader: Reader, given: readonly GivenOption[]): LogSettings {
  const verbose = given.filter(({ option }) => option.id === 'verbose').length;
  const level = (): LogLevel => {
    if (reader.given('debug') || reader.given('trace')) return 'debug';
    if (reader.given('quiet')) return 'error';
    if (verbose === 0) return 'info';
    return verbose === 1 ? 'notice' : 'debug';
  };
  const variable = (name: string) => reader.strongest([`WALFERRY_${name}`, `PGCOPYDB_${name}`]);
  const boolean = (name: string): boolean => {
    const found = variable(name);
    if (found === null) return false;
    const result = readBoolean(found.text);
    if ('value' in result) return result.value;
    reader.problems.push(`Failed to parse ${show(found)}, expected ${result.expected}`);
    return false;
  };
  return {
    level: level(),
    format: reader.word('log-format', ['text', 'json'], boolean('LOG_JSON') ? 'json' : 'text'),
    timeFormat: variable('LOG_TIME_FORMAT')?.text ?? null,
    file: variable('LOG_FILENAME')?.text ?? null,
    fileFormat: boolean('LOG_JSON_FILE') ? 'json' : 'text',
  };
}

function missingSides(command: Command, settings: Settings): string[] {
  // A plan is made of the source alone.
  const needs = settings.plan ? command.needs.filter((side) => side === 'source') : command.needs;
  const missing = needs.filter((side) => settings[side] === null);
  if (missing.length === 0) return [];
  return needs.length === 2
    ? ['Options --source and --target are mandatory']
    : [`Option --${missing[0]} is mandatory`];
}

function badArguments(input: SettingsInput, settings: Settings): string[] {
  const problems: string[] = [];
  for (const [index, argument] of (input.command.arguments ?? []).entries()) {
    const text = input.arguments[index];
    if (text === undefined || argument.kind === 'text') continue;
    const result = readLsnOption(text);
    if ('expected' in result) {
      problems.push(`Failed to parse <${argument.name}>: "${text}", expected ${result.expected}`);
    }
  }
  // `set endpos` takes a position or --current; the latter asks the source.
  if (input.command.path === 'stream sentinel set endpos') {
    if (settings.current === input.arguments.length > 0) {
      problems.push('Give either an LSN or --current');
    } else if (settings.current && settings.source === null) {
      problems.push('Option --source is mandatory with --current');
    }
  }
  return problems;
}
