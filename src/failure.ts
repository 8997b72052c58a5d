/**
 * What can go wrong, by name. A Failure's code decides the exit status, whether it is worth another try, and what
 * the operator is told to do; its message says what happened, on which side, to which object. Messages never hold
 * row values (key columns excepted, see `row-missing`) or passwords.
 *
 * The comment above a code is its entry in docs/failures.md, which `npm run usage` generates from here.
 */

/** Which server something happened on. */
export type Side = 'source' | 'target';

export type FailureCode =
  /** The command line, a variable or a settings file asks for something that is not possible. All problems are listed at once. */
  | 'usage'
  /** The filter file names what the source does not have, or leaves out what something that stays cannot do without. */
  | 'filter-mismatch'
  /** The command or option is known from pgcopydb, and walferry does not have it yet. */
  | 'not-built'
  /** pg_dump or pg_restore was not found. */
  | 'client-tools-missing'
  /** pg_dump and pg_restore are older than the source server: their dump would be wrong or refused. */
  | 'client-tools-old'
  /** pg_dump or pg_restore ended with an error; its own words are in the log. */
  | 'client-tool-failed'
  /** The source did not answer within the time given. */
  | 'source-unreachable'
  /** The source refused the login: user, password, database or pg_hba.conf. */
  | 'source-login'
  /** The connection to the source cannot be as safe as sslmode, sslrootcert and channel_binding demand. */
  | 'source-tls'
  /** The role on the source lacks a right that this command needs. */
  | 'source-rights'
  /** The source is not set up for logical decoding: wal_level, max_replication_slots, max_wal_senders, the plugin. */
  | 'source-setup'
  /** A statement failed on the source. */
  | 'source-statement'
  /** A replication slot of this name exists and does not belong to this work directory: --restart does not drop it either. */
  | 'slot-exists'
  /** The slot is gone, or invalidated, or belongs to another database: the changes since then cannot be had from it any more. */
  | 'slot-lost'
  /** The source was promoted from a standby since the stream began: the slot did not come along, and what was written last on the old primary may be missing on the new one. */
  | 'timeline-changed'
  /** Another process reads from the slot. */
  | 'slot-busy'
  /** The slot was moved past what this work directory and the target hold: somebody else acknowledged changes. */
  | 'slot-ahead'
  /** A publication that the stream is read through was altered since it began (one that walferry made: if only for a moment): a table was taken out of it, or it published fewer operations. What was written then is lost to the stream, so that nothing is called complete. */
  | 'publication-altered'
  /** The snapshot that the copy began with is gone, and the tables that are left cannot be copied from a later one: there is no stream, the source is a standby, or the end position lies before it. Or the one that --snapshot names is not the replication slot's. */
  | 'snapshot-lost'
  /** The connection to the source broke during a stream; it is tried again. */
  | 'source-disconnected'
  /** The target did not answer within the time given. */
  | 'target-unreachable'
  /** The target refused the login: user, password, database or pg_hba.conf. */
  | 'target-login'
  /** The connection to the target cannot be as safe as sslmode, sslrootcert and channel_binding demand. */
  | 'target-tls'
  /** The role on the target lacks a right that this command needs. */
  | 'target-rights'
  /** The target cannot be used as it is, for example a pooled connection. */
  | 'target-setup'
  /** The target has tables or rows that this run did not put there, or something with the name of an index that it is to build. */
  | 'target-not-empty'
  /** A statement failed on the target. */
  | 'target-statement'
  /** The connection to the target broke; it is tried again, and the position row tells what was committed. */
  | 'target-disconnected'
  /** A change names a row that the target does not have: somebody wrote to the target, or rows were left out of the copy. */
  | 'row-missing'
  /** A change names a table that the target does not have, or that lacks a column of it. */
  | 'relation-missing'
  /** The position row stands where this applier did not put it: another applier follows the same stream. */
  | 'position-moved'
  /** The target's position is older than the oldest transform file: it was set back (failover, restore). */
  | 'target-set-back'
  /** The table was truncated or rewritten after the snapshot was taken, so that the snapshot no longer sees its rows. */
  | 'table-rewritten'
  /** The work directory holds another, unfinished run, or a stream that was made on another server or in another database. */
  | 'work-directory-used'
  /** Another walferry process works in this directory. */
  | 'work-directory-locked'
  /** The work directory cannot be read or written, or holds something that this version does not understand. */
  | 'work-directory-broken'
  /** The disk of the work directory, or of one of the servers, is full: the message says which. */
  | 'disk-full'
  /** A transform file is damaged: its name and the offset of the first bad byte are given. */
  | 'journal-damaged'
  /** The stream sent something that walferry does not understand. Nothing after it was taken. */
  | 'message-unreadable'
  /** The slot's output plugin did not print what is needed to apply a change exactly: the message says which, and of which table; or a change is longer than one that can be passed on, half a gigabyte. Nothing after it was taken. */
  | 'plugin-limit'
  /** Nobody answers where a run was said to listen (--host, --port): it has ended, or listens elsewhere. */
  | 'control-unreachable'
  /** The remote control of a run does not do this: the token is missing or another one, or it cannot read the request. */
  | 'control-refused'
  /** Source and target differ; of a table that was compared while it was written also: it is not known to be equal. */
  | 'sides-differ'
  /** The cutover was not begun: something stands in its way, and nothing was changed. The lines above say what. */
  | 'cutover-not-ready'
  /** The cutover failed and was undone: the source takes writes as before, and the stream goes on. */
  | 'cutover-failed'
  /** A cutover was begun in this work directory and neither finished nor undone: the source may be frozen. */
  | 'cutover-unfinished'
  /** The cutover cannot be undone any more: the application may have written to the target. */
  | 'cutover-too-late'
  /** A command that the cutover was told to run failed, or took too long. */
  | 'hook-failed'
  /** `ping` could not use one side or both; the lines above say which and why. */
  | 'ping-failed'
  /** `check` found what would end a run, or a run found several such things before it began: nothing was made on either side. Each is listed with what to do. */
  | 'check-failed'
  /** Asked to stop. Everything is kept; the same command with --resume goes on. */
  | 'stopped'
  /** A mistake in walferry. */
  | 'internal';

/** What follows from a code. */
export type FailurePolicy = {
  /** Exit status of the process. */
  readonly exit: 1 | 5 | 6 | 7 | 12 | 20 | 21 | 22 | 23 | 24 | 25;
  /** Whether trying again later, with nothing changed, can succeed. */
  readonly retry: boolean;
  /** What the operator can do; printed below the message. Empty where the message says it all. */
  readonly remedy: string;
};

/** The one table of policies. A new code does not compile without its row. */
export const failurePolicies: Readonly<Record<FailureCode, FailurePolicy>> = {
  usage: { exit: 1, retry: false, remedy: '' },
  'filter-mismatch': {
    exit: 12,
    retry: false,
    remedy: 'Correct the filter file; `walferry clone --plan` shows what it leaves out.',
  },
  'not-built': { exit: 20, retry: false, remedy: '' },
  'client-tools-missing': {
    exit: 5,
    retry: false,
    remedy: 'Install the PostgreSQL client programs, or set PG_CONFIG to the pg_config of an installation.',
  },
  'client-tools-old': {
    exit: 5,
    retry: false,
    remedy:
      'Install client programs of at least the version of the source server, or set PG_CONFIG to their pg_config.',
  },
  'client-tool-failed': { exit: 12, retry: false, remedy: '' },
  'source-unreachable': { exit: 6, retry: true, remedy: 'Check host, port and firewall of the source.' },
  'source-login': { exit: 6, retry: false, remedy: 'Check user, password and database of --source.' },
  'source-tls': {
    exit: 6,
    retry: false,
    remedy: 'Check sslmode, sslrootcert and channel_binding of --source.',
  },
  'source-rights': { exit: 6, retry: false, remedy: '' },
  'source-setup': { exit: 6, retry: false, remedy: '' },
  'source-statement': { exit: 6, retry: false, remedy: '' },
  'slot-exists': {
    exit: 6,
    retry: false,
    remedy:
      'Use --slot-name for another slot, --resume in the work directory that owns it, or drop it with `walferry stream cleanup`.',
  },
  'slot-lost': {
    exit: 23,
    retry: false,
    remedy: 'Start again with --restart: the copy must be made anew from a new slot.',
  },
  'timeline-changed': {
    exit: 23,
    retry: false,
    remedy:
      'Give the server that the stream began on as --source while it still runs; else start again with --restart.',
  },
  'slot-busy': { exit: 6, retry: true, remedy: 'Stop the other process that reads from the slot.' },
  'slot-ahead': {
    exit: 23,
    retry: false,
    remedy: 'Find out who read from the slot, then start again with --restart.',
  },
  'publication-altered': {
    exit: 23,
    retry: false,
    remedy: 'Leave the publication as it is, and start again with --restart: the copy must be made anew.',
  },
  'snapshot-lost': {
    exit: 6,
    retry: false,
    remedy:
      'Start again with --restart. To be able to resume a copy without a stream, hold a snapshot with `walferry snapshot`.',
  },
  'source-disconnected': { exit: 6, retry: true, remedy: 'Run the same command with --resume.' },
  'target-unreachable': { exit: 7, retry: true, remedy: 'Check host, port and firewall of the target.' },
  'target-login': { exit: 7, retry: false, remedy: 'Check user, password and database of --target.' },
  'target-tls': {
    exit: 7,
    retry: false,
    remedy: 'Check sslmode, sslrootcert and channel_binding of --target.',
  },
  'target-rights': { exit: 7, retry: false, remedy: '' },
  'target-setup': { exit: 7, retry: false, remedy: '' },
  'target-not-empty': {
    exit: 7,
    retry: false,
    remedy: 'Empty the tables, choose another target, or drop them with --drop-if-exists.',
  },
  'target-statement': { exit: 7, retry: false, remedy: '' },
  'target-disconnected': { exit: 7, retry: true, remedy: 'Run the same command with --resume.' },
  'row-missing': {
    exit: 7,
    retry: false,
    remedy: 'Put the row back as it was on the source, then run the same command with --resume.',
  },
  'relation-missing': {
    exit: 7,
    retry: false,
    remedy: 'Create it on the target as it is on the source, then run the same command with --resume.',
  },
  'position-moved': {
    exit: 7,
    retry: false,
    remedy: 'Stop the other applier, then run the same command with --resume.',
  },
  'target-set-back': {
    exit: 7,
    retry: false,
    remedy: 'The transactions in between are gone: start again with --restart.',
  },
  'table-rewritten': {
    exit: 6,
    retry: false,
    remedy:
      'Run `clone --follow` again with --resume, without a process that holds its snapshot; start any other clone again with --restart, at a time without TRUNCATE and rewriting DDL.',
  },
  'work-directory-used': { exit: 1, retry: false, remedy: '' },
  'work-directory-locked': {
    exit: 1,
    retry: true,
    remedy: 'Wait for the other process, or use another --dir.',
  },
  'work-directory-broken': { exit: 12, retry: false, remedy: '' },
  'disk-full': { exit: 12, retry: true, remedy: 'Make room, then run the same command with --resume.' },
  'journal-damaged': {
    exit: 24,
    retry: false,
    remedy: 'Restore the file from a copy, or start again with --restart.',
  },
  'message-unreadable': {
    exit: 12,
    retry: false,
    remedy: 'Please report this with the version of the source server.',
  },
  'plugin-limit': {
    exit: 12,
    retry: false,
    remedy: 'Start again with --restart and --plugin pgoutput.',
  },
  'control-unreachable': {
    exit: 12,
    retry: true,
    remedy: 'Without --host the command works on the files of --dir, also while no run goes on.',
  },
  'control-refused': { exit: 12, retry: false, remedy: '' },
  'sides-differ': { exit: 21, retry: false, remedy: '' },
  'cutover-not-ready': {
    exit: 12,
    retry: true,
    remedy: 'Nothing was changed. Mend it, then cut over again.',
  },
  'cutover-failed': { exit: 12, retry: true, remedy: '' },
  'cutover-unfinished': {
    exit: 12,
    retry: false,
    remedy: 'Go on with `walferry cutover --resume`, or undo it with `walferry cutover --abort`.',
  },
  'cutover-too-late': {
    exit: 12,
    retry: false,
    remedy:
      'To have the source take writes again all the same, run the statements of unfreeze.sql in the work directory on it.',
  },
  'hook-failed': { exit: 12, retry: false, remedy: '' },
  'ping-failed': { exit: 12, retry: true, remedy: '' },
  'check-failed': { exit: 25, retry: false, remedy: '' },
  stopped: { exit: 22, retry: true, remedy: 'Run the same command with --resume to go on.' },
  internal: {
    exit: 12,
    retry: false,
    remedy: 'This is a mistake in walferry: please report it with the log (--debug).',
  },
};

export type FailureOptions = {
  /** The error underneath; kept for --debug, never printed otherwise. */
  readonly cause?: unknown;
  /** Replaces the remedy of the code where the situation allows a better one. */
  readonly remedy?: string;
};

/** The one error class. Everything else that is thrown is a mistake and ends as `internal`. */
export class Failure extends Error {
  readonly code: FailureCode;
  readonly remedy: string;

  constructor(code: FailureCode, message: string, options: FailureOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Failure';
    this.code = code;
    this.remedy = options.remedy ?? failurePolicies[code].remedy;
  }

  get policy(): FailurePolicy {
    return failurePolicies[this.code];
  }
}

/** Any thrown value as a Failure; what is not one becomes `internal` with its cause kept. */
export function asFailure(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new Failure('internal', message, { cause: thrown });
}

/**
 * Why the system did not let us at a file, to stand behind a sentence: ` (no such file or directory)`. Empty where the
 * error does not come from there.
 */
export function systemReason(error: unknown): string {
  const words = error instanceof Error ? /^E[A-Z0-9]+: ([^,]+)/.exec(error.message)?.[1] : undefined;
  return words === undefined ? '' : ` (${words})`;
}

/** Whether somebody asked to stop: not an error, and never retried. */
export function isStop(thrown: unknown): boolean {
  return thrown instanceof Failure && thrown.code === 'stopped';
}

/** Throws `stopped` once the signal is set: for the edges where a stop is clean. */
export function throwIfStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new Failure('stopped', 'stopped as asked');
}
