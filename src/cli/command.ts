/**
 * What a command is, and what its `run` is given. One file in commands/ per command exports one `command`; tree.ts
 * lists them.
 *
 * A command file must cost nothing to load, because the whole tree is loaded for every call: it imports only cli
 * files, model/, failure.ts and types, and its `run` loads the rooms it needs:
 *
 *     run: async (context) => {
 *       const { clone } = await import('../../clone/clone-run.js');
 *       await clone({ source: context.source(), …, signal: context.signal, log: context.log });
 *     }
 *
 * `test/cli/tree.test.ts` checks that.
 */
import type { Log, LogTail } from '../log.js';
import type { Conninfo } from '../postgres/connection-string.js';
import type { OtherCommand } from './command-line.js';
import type { Group } from './option.js';
import type { ProgressLine } from './progress-line.js';
import type { Settings } from './settings.js';

/** A word after the command. */
export type CommandArgument = {
  readonly name: string;
  /** An LSN is checked before `run`; read it with readLsn. */
  readonly kind: 'text' | 'lsn';
  readonly required: boolean;
};

export type Command = {
  /** The words of the command, for example `stream sentinel get`. */
  readonly path: string;
  /** Other paths of the same command (`fork`, `copy db`). */
  readonly aliases?: readonly string[];
  /** The peer's option parser: which options are accepted, by which letters. */
  readonly group: Group;
  /** One line, lower case, without a full stop. */
  readonly summary: string;
  /** Ids of the options that help shows; the rest of the group is accepted too. Global options are added. */
  readonly options: readonly string[];
  readonly arguments?: readonly CommandArgument[];
  /** Sides that must be given, by option or variable. Optional ones are simply asked for in `run`. */
  readonly needs: readonly ('source' | 'target')[];
  /** The command is meant to be stopped (`snapshot`): stopping it is success, exit 0. */
  readonly endsByStop?: boolean;
  /**
   * The command undoes what it did when it is stopped (`cutover`): an error that nobody caught stops it too, instead of
   * ending the process at once. What to do after a process that was ended at once.
   */
  readonly undoneByStop?: string;
  /** Does the work. Returning is exit 0; everything else is a thrown Failure, whose code decides the exit status. */
  readonly run: (context: CommandContext) => Promise<void>;
};

/** What `run` works with. */
export type CommandContext = {
  /** The command as it was called, for example `fork`. */
  readonly path: string;
  /** Options and variables, read and checked. */
  readonly settings: Settings;
  /** The words after the command; required ones are there, LSNs are LSNs. */
  readonly arguments: readonly string[];
  /** The source; throws `usage` when it was not given. */
  readonly source: () => Conninfo;
  /** The target; throws `usage` when it was not given. */
  readonly target: () => Conninfo;
  readonly log: Log;
  /** The end of what was logged, for whoever looks on from elsewhere. */
  readonly logTail: LogTail;
  /**
   * Aborted by the first SIGINT, SIGTERM or SIGHUP; its reason is the Failure `stopped`, so that throwIfStopped and
   * signal.throwIfAborted both end the command with exit 22. End within two seconds.
   */
  readonly signal: AbortSignal;
  /** Writes data (not log lines) to stdout; resolves when it is taken. Includes no newline of its own. */
  readonly stdout: (text: string) => Promise<void>;
  /** What stdout is: how wide, and whether colours are wanted there. */
  readonly terminal: { readonly columns: number; readonly colours: boolean };
  /** The line on a terminal that shows how far a run is; does nothing where stderr is not a terminal. */
  readonly progress: ProgressLine;
  /** Where libpq's variables are looked up, and PG_CONFIG; hand it down instead of process.env. */
  readonly environment: NodeJS.ProcessEnv;
  /** The command line that goes on with this run, for messages: `walferry clone --follow --resume`. No passwords. */
  readonly resumeCommand: string;
  /** The command line of another command for the same run, for messages. No passwords. */
  readonly otherCommand: (other: OtherCommand) => string;
};
