/** From a library call's settings to what a command's run works with. */
import { homedir } from 'node:os';
import type { Command, CommandContext } from '../cli/command.js';
import { otherCommandLine, resumeCommandLine } from '../cli/command-line.js';
import { options as allOptions, optionsOf } from '../cli/options.js';
import type { GivenOption } from '../cli/parse-options.js';
import { readSides, sideOf } from '../cli/sides.js';
import { Secrets } from '../cli/secrets.js';
import { defaultsFor, readSettings } from '../cli/settings.js';
import { asFailure, Failure, isStop } from '../failure.js';
import { KeptLog } from '../log.js';
import { formatLsn, lsnFromBigInt } from '../model/lsn.js';
import { eventLog, type Listener } from './events.js';
import { optionName, type SettingValue } from './settings.js';

/** How a call runs; nothing here changes its outcome. */
export type CallOptions = {
  /** Aborting it stops the run at its next clean edge: the call rejects with the Failure `stopped`, resumable. */
  readonly signal?: AbortSignal;
  readonly onEvent?: Listener;
  /** Where WALFERRY_*, PGCOPYDB_* and libpq's variables are looked up; `process.env` unless told. */
  readonly environment?: NodeJS.ProcessEnv;
};

/** What an operator sees of a log. */
const keptLevels: readonly string[] = ['error', 'warn', 'info'];

/** A command's context without a terminal. */
export type CallContext = Omit<CommandContext, 'stdout' | 'progress' | 'terminal'> & {
  readonly tell: Listener;
};

/**
 * Runs `work` as the command would be run with these settings. Rejects with a Failure, whatever went wrong: `usage`
 * with everything that is wrong with the settings.
 */
export async function call<T>(
  command: Command,
  settings: Readonly<Record<string, SettingValue | undefined>>,
  options: CallOptions & { readonly arguments?: readonly string[] },
  work: (context: CallContext) => Promise<T>,
): Promise<T> {
  const { signal, onEvent, environment = process.env, arguments: words = [] } = options;
  const given = givenOptions(command, settings);
  const read = readSettings({
    command,
    given,
    arguments: words,
    environment,
    defaults: defaultsFor('walferry', environment, homedir()),
  });
  const secrets = new Secrets();
  for (const text of [read.settings.source, read.settings.target]) {
    if (text !== null) secrets.addConnectionString(text);
  }
  const sides = await readSides(read, environment, secrets);
  const logTail = new KeptLog((text) => secrets.redact(text));
  const stop = new AbortController();
  const listen: Listener = (event) => {
    try {
      onEvent?.(event);
    } catch (error) {
      // It may be in the middle of anything: the run stops at its next edge, and the caller gets to know why.
      const message = `stopped, since the listener of events threw: ${secrets.redact(asFailure(error).message)}`;
      stop.abort(new Failure('stopped', message, { cause: error }));
    }
  };
  const tell: Listener = (event) => {
    if (event.kind !== 'log') return listen(event);
    const message = secrets.redact(event.message);
    if (keptLevels.includes(event.level)) {
      logTail.keep({ atMs: Date.now(), severity: event.level.toUpperCase(), message });
    }
    listen({ ...event, message, fields: secrets.redactFields(event.fields) });
  };
  const abort = () => stop.abort(new Failure('stopped', 'stopped as asked'));
  if (signal?.aborted === true) abort();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const log = eventLog(tell);
    for (const warning of read.warnings) log.warn(warning);
    return await work({
      path: command.path,
      settings: read.settings,
      arguments: words,
      source: () => sideOf(sides, 'source'),
      target: () => sideOf(sides, 'target'),
      log,
      logTail,
      signal: stop.signal,
      environment,
      resumeCommand: resumeCommandLine(
        { program: 'walferry', path: command.path, command, given, arguments: words },
        secrets,
      ),
      otherCommand: (other) => otherCommandLine({ program: 'walferry', given }, other, secrets),
      tell,
    });
  } catch (error) {
    if (stop.signal.aborted && isAbort(error)) throw stop.signal.reason;
    const { code, message, remedy, cause } = asFailure(error);
    throw new Failure(code, secrets.redact(message), { cause, remedy: secrets.redact(remedy) });
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

function isAbort(error: unknown): boolean {
  return isStop(error) || (error instanceof Error && error.name === 'AbortError');
}

/**
 * Settings → options. Throws `usage` for a name that no option has: a typing mistake must not be a default. An option of
 * other commands is passed over, so that one object of settings can serve several calls.
 */
function givenOptions(
  command: Command,
  settings: Readonly<Record<string, SettingValue | undefined>>,
): GivenOption[] {
  const known = optionsOf(command.group, command.path);
  const wrong: string[] = [];
  const given = Object.entries(settings).flatMap(([name, value]) => {
    if (value === undefined) return [];
    const long = optionName(name);
    const option = known.find(({ option }) => option.names[0] === long)?.option;
    if (option !== undefined) return [{ option, value: optionText(value) }];
    if (!allOptions.some(({ names }) => names[0] === long)) wrong.push(name);
    return [];
  });
  if (wrong.length === 0) return given;
  throw new Failure('usage', wrong.map((name) => `there is no setting "${name}"`).join('\n'));
}

/** An LSN is a bigint here, and `X/Y` on the command line. */
function optionText(value: SettingValue): string {
  return typeof value === 'bigint' ? formatLsn(lsnFromBigInt(value)) : String(value);
}
