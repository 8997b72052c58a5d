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
