/**
 * One call of the program, from the words of the command line to the exit status:
 * words → command (dispatch) → options (parse-options) → settings and log (settings, log) → connection descriptions
 * → the command's run → exit status. Nothing heavy is loaded before the command needs it, and of the commands none but
 * the one that is called, where its first word tells which that is.
 */
import { homedir } from 'node:os';
import { asFailure, Failure, isStop } from '../failure.js';
import type { Command, CommandContext } from './command.js';
import { otherCommandLine, resumeCommandLine } from './command-line.js';
import type { LogOptions, OpenLog } from './log.js';
import { loadDirectCommand } from './direct.js';
import { parseOptions, type ParsedLine } from './parse-options.js';
import { makeProgressLine } from './progress-line.js';
import { Secrets } from './secrets.js';
import { defaultsFor, readSettings, type LogSettings } from './settings.js';
import { notBuiltSentence, readSides, sideOf } from './sides.js';
import { handleStops } from './stop.js';
import { programVersion, versionText } from './version.js';

/** The world of one call. */
export type Call = {
  /** The words after the script. */
  readonly argv: readonly string[];
  /** The script as it was called: its name decides whose defaults hold. */
  readonly script: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Ends the process without waiting for anything. */
  readonly exitNow: (status: number) => void;
};

/** Runs one call; never throws. Gives the exit status. */
export async function run(call: Call): Promise<number> {
  const program = programName(call.script);
  if (call.argv[0] === 'help') return await helpCommand(call, program);

  const [word = '', ...words] = call.argv;
  const direct = await loadDirectCommand(word);
  if (direct !== null) return runCommand(call, program, direct, word, parseOptions(direct, word, words));

  const { dispatch } = await import('./dispatch.js');
  const { commandAt, places } = await import('./tree.js');
  const meant = dispatch(call.argv, places);
  if (meant.kind === 'unknown') {
    // The word may be a connection string in the wrong place.
    const word = new Secrets().redact(meant.word);
    const { groupHelp } = await import('./help.js');
    const where = meant.path === '' ? '' : ` of "${program} ${meant.path}"`;
    call.stderr.write(`unknown command "${word}"${where}\n\n${groupHelp(program, meant.path)}`);
    return 1;
  }
  if (meant.kind === 'group') return await groupCommand(call, program, meant.path, meant.rest);
  const command = commandAt(meant.path);
  if (command === null) return refuseNotBuilt(call, program, meant.path);
  return runCommand(call, program, command, meant.path, parseOptions(command, meant.path, meant.rest));
}

/** A group of commands, or no command at all: only --help and --version make sense without one. */
async function groupCommand(
  call: Call,
  program: string,
  path: string,
  rest: readonly string[],
): Promise<number> {
  const { groupHelp, treeHelp } = await import('./help.js');
  const has = (...words: string[]) => rest.some((word) => words.includes(word));
  if (has('--help', '-h')) {
    if (path === '') call.stdout.write(treeHelp(program));
    else call.stderr.write(groupHelp(program, path));
    return 0;
  }
  if (has('--version', '-V')) {
    call.stdout.write(versionText(has('--json', '-J')));
    return 0;
  }
  const words = path === '' ? program : `${program} ${path}`;
  call.stderr.write(`a command is expected after "${words}"\n\n${groupHelp(program, path)}`);
  return 1;
}

function refuseNotBuilt(call: Call, program: string, path: string): number {
  const failure = new Failure('not-built', notBuiltSentence(`${program} ${path}`));
  call.stderr.write(`${failure.message}\n`);
  return failure.policy.exit;
}

/** `walferry`, or `pgcopydb` through a link of that name. */
function programName(script: string): 'walferry' | 'pgcopydb' {
  return /(?:^|[/\\])pgcopydb(?:\.[cm]?js)?$/.test(script) ? 'pgcopydb' : 'walferry';
}

/** `help` and `help COMMAND…`: asked for, so on stdout. */
async function helpCommand(call: Call, program: string): Promise<number> {
  const { commandHelp, groupHelp, treeHelp } = await import('./help.js');
  const { commandAt, places } = await import('./tree.js');
  const { dispatch } = await import('./dispatch.js');
  const meant = dispatch(call.argv.slice(1), places);
  if (meant.kind === 'unknown') {
    const word = new Secrets().redact(meant.word);
    call.stderr.write(`unknown command "${word}"\n\n${groupHelp(program, meant.path)}`);
    return 1;
  }
  if (meant.kind === 'group') {
    call.stdout.write(meant.path === '' ? treeHelp(program) : groupHelp(program, meant.path));
    return 0;
  }
  const command = commandAt(meant.path);
  if (command === null) return refuseNotBuilt(call, program, meant.path);
  call.stdout.write(commandHelp(program, command, meant.path));
  return 0;
}

/** How long a command may take to undo what it did, after an error that nobody caught. */
const undoneWithinMs = 90_000;

/** Runs a command whose words are known. */
export async function runCommand(
  call: Call,
  program: 'walferry' | 'pgcopydb',
  command: Command,
  path: string,
  line: ParsedLine,
): Promise<number> {
  const asked = (id: string) => line.given.some(({ option }) => option.id === id);
  if (asked('help')) {
    const { commandHelp } = await import('./help.js');
    call.stderr.write(commandHelp(program, command, path));
    return 0;
  }
  if (asked('version')) {
    call.stdout.write(versionText(asked('json')));
    return 0;
  }
  if (line.problems.length > 0) {
    const { commandHelp } = await import('./help.js');
    call.stderr.write(`${line.problems.join('\n')}\n\n${commandHelp(program, command, path)}`);
    return 1;
  }

  const read = readSettings({
    command,
    given: line.given,
    arguments: line.arguments,
    environment: call.environment,
    defaults: defaultsFor(program, call.environment, homedir()),
  });
  const secrets = new Secrets();
  for (const text of [read.settings.source, read.settings.target]) {
    if (text !== null) secrets.addConnectionString(text);
  }
  const progress = makeProgressLine(call.stderr, read.log.format === 'text' && read.log.level !== 'error');
  let log: OpenLog;
  try {
    log = await openLog(call, program, read.log, secrets, progress);
  } catch (error) {
    const { message, remedy, policy } = asFailure(error);
    call.stderr.write(`${secrets.redact(message)}\n${remedy}\n`);
    return policy.exit;
  }

  const resumeCommand = resumeCommandLine(
    { program, path, command, given: line.given, arguments: line.arguments },
    secrets,
  );
  let status = 0;
  const exit = (code: number) => {
    log.close();
    call.exitNow(code);
  };
  const stops = handleStops(log, exit, command.undoneByStop);
  const uncaught = (error: unknown) => {
    if (command.undoneByStop === undefined) return endAtOnce(error);
    // One such error may bring others: none of them ends what is being undone.
    log.error(`an error that nobody caught; stopping: ${asFailure(error).message}`);
    if (!stops.signal.aborted) stops.stop(asFailure(error));
    setTimeout(() => endAtOnce(error), undoneWithinMs).unref();
  };
  const endAtOnce = (error: unknown) => {
    status = reportFailure(log, asFailure(error), resumeCommand);
    if (command.undoneByStop !== undefined) log.error(command.undoneByStop);
    log.close();
    call.exitNow(status);
  };
  process.on('uncaughtException', uncaught).on('unhandledRejection', uncaught);
  try {
    const sides = await readSides(read, call.environment, secrets);
    log.info(`Running ${program} version ${programVersion()} from "${call.script}"`);
    for (const warning of read.warnings) log.warn(warning);
    await command.run({
      path,
      settings: read.settings,
      arguments: line.arguments,
      source: () => sideOf(sides, 'source'),
      target: () => sideOf(sides, 'target'),
      log,
      logTail: log.tail,
      signal: stops.signal,
      stdout: (text) => {
        progress.hide();
        return write(call.stdout, text);
      },
      terminal: terminalOf(call),
      progress,
      environment: call.environment,
      resumeCommand,
      otherCommand: (other) => otherCommandLine({ program, given: line.given }, other, secrets),
    } satisfies CommandContext);
  } catch (error) {
    const failure = stopped(error, stops.signal) ?? asFailure(error);
    const wanted = command.endsByStop === true && stops.signal.aborted && isStop(failure);
    if (!wanted) status = reportFailure(log, failure, resumeCommand);
  } finally {
    stops[Symbol.dispose]();
    process.off('uncaughtException', uncaught).off('unhandledRejection', uncaught);
    log.close();
  }
  return status;
}

async function openLog(
  call: Call,
  program: LogOptions['program'],
  settings: LogSettings,
  secrets: Secrets,
  progress: CommandContext['progress'],
): Promise<OpenLog> {
  const { makeLog } = await import('./log.js');
  return makeLog({
    program,
    settings,
    secrets,
    progress,
    stderr: call.stderr,
    colours: wantsColours(call.environment),
  });
}

/** https://no-color.org */
function wantsColours(environment: NodeJS.ProcessEnv): boolean {
  return (environment['NO_COLOR'] ?? '') === '';
}

const columnsWithoutTerminal = 100;

function terminalOf({ stdout, environment }: Call): CommandContext['terminal'] {
  return {
    columns: stdout.columns ?? columnsWithoutTerminal,
    colours: stdout.isTTY && wantsColours(environment),
  };
}

/** The stop behind an error: the Failure itself, or an abort that came from our signal. */
function stopped(error: unknown, signal: AbortSignal): Failure | null {
  if (!signal.aborted) return null;
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    // Stopped by an error that nobody caught: that is what happened.
    if (isStop(cause)) return isStop(signal.reason) ? (cause as Failure) : asFailure(signal.reason);
    if (cause.name === 'AbortError') return signal.reason as Failure;
  }
  return null;
}

/** Says what happened and what to do, and with --debug why. Gives the exit status. */
function reportFailure(log: OpenLog, failure: Failure, resumeCommand: string): number {
  if (isStop(failure)) {
    log.info(`${failure.message}; go on with: ${resumeCommand}`);
    return failure.policy.exit;
  }
  for (const line of failure.message.split('\n')) log.error(line, { code: failure.code });
  if (failure.remedy !== '') log.error(failure.remedy, { code: failure.code });
  for (let error: unknown = failure; error instanceof Error; error = error.cause) {
    log.debug(error.stack ?? error.message);
  }
  return failure.policy.exit;
}

/** Waits until a slow reader has taken it, so that nothing piles up here. */
function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => {
      if (error === null || error === undefined) resolve();
      // `walferry … | head`: nobody reads on, which is a way to be stopped.
      else if ('code' in error && error.code === 'EPIPE') reject(new Failure('stopped', 'stdout was closed'));
      else reject(new Failure('internal', 'stdout cannot be written', { cause: error }));
    });
  });
}
