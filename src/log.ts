/**
 * Logging, as the rest of the program sees it. `cli/` makes the real logger (pino, human lines or JSON on stderr)
 * and hands it down; the library's default says nothing. There is no module-level logger.
 *
 * The hot loops log nothing. Row values and passwords are never logged.
 */

/** Facts that go with a message, as fields in JSON logs. */
export type LogFields = Readonly<Record<string, string | number | boolean | null>>;

export interface Log {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  /** What an operator may want to see with --verbose: each table, each file. */
  notice(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
}

const nothing = () => {};

/** Says nothing. */
export const silentLog: Log = {
  error: nothing,
  warn: nothing,
  info: nothing,
  notice: nothing,
  debug: nothing,
};

/** A line as it was logged: redacted, and of a level that an operator sees. */
export type LogLine = {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** `ERROR`, `WARN`, `INFO`. */
  readonly severity: string;
  readonly message: string;
};

/** The end of the log, for whoever shows it elsewhere. */
export interface LogTail {
  /** Lines behind the first `count` of all that were ever logged, as far as they are kept; and how many there are now. */
  linesAfter(count: number): { readonly lines: readonly LogLine[]; readonly count: number };
  /** Any text as it would be logged: without passwords. */
  redact(text: string): string;
}

/** How many of the last lines are kept. */
const keptLines = 300;

/** Keeps the end of a log. */
export class KeptLog implements LogTail {
  readonly #lines: LogLine[] = [];
  #count = 0;
  readonly redact: (text: string) => string;

  /** Lines are kept as they are given: `redact` is for other texts. */
  constructor(redact: (text: string) => string) {
    this.redact = redact;
  }

  keep(line: LogLine): void {
    this.#lines.push(line);
    this.#count += 1;
    if (this.#lines.length > keptLines) this.#lines.shift();
  }

  linesAfter(count: number): { readonly lines: readonly LogLine[]; readonly count: number } {
    const lines = count >= this.#count ? [] : this.#lines.slice(-(this.#count - count));
    return { lines, count: this.#count };
  }
}
