/**
 * The program's log: pino decides what is logged and makes the lines, every line goes through the redaction and then
 * at once to stderr (and to a file when asked), so that nothing is lost when the process ends.
 *
 * Levels and field names are the peer's (reference 1.4): JSON lines hold timestamp, pid, error_level, error_severity
 * and message, and the fields of the message.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { pino } from 'pino';
import { Failure, systemReason } from '../failure.js';
import { KeptLog, type Log, type LogFields, type LogTail } from '../log.js';
import { printableLines } from './printable.js';
import type { ProgressLine } from './progress-line.js';
import type { Secrets } from './secrets.js';
import type { LogSettings } from './settings.js';

/** The peer's numbers of the levels (0 is its TRACE, 2 its SQL, 7 its FATAL). */
const levels = { debug: 1, notice: 3, info: 4, warn: 5, error: 6 } as const;

const severities = ['TRACE', 'DEBUG', 'SQL', 'NOTICE', 'INFO', 'WARN', 'ERROR', 'FATAL'];

/** What the lines on stderr look like: the colours of a level, none where they are not wanted. */
const colours: Readonly<Record<string, string>> = {
  DEBUG: '\u001b[90m',
  NOTICE: '\u001b[36m',
  INFO: '\u001b[32m',
  WARN: '\u001b[33m',
  ERROR: '\u001b[31m',
};
const plain = '\u001b[0m';

export type LogOptions = {
  /** As the program was called: commands in messages (`` `walferry …` ``) are to be called so too, for the defaults differ. */
  readonly program: 'walferry' | 'pgcopydb';
  readonly settings: LogSettings;
  readonly secrets: Secrets;
  readonly progress: ProgressLine;
  /** process.stderr: writes to it are synchronous on files, terminals and pipes. */
  readonly stderr: { readonly isTTY?: boolean | undefined; write(text: string): unknown };
  readonly colours: boolean;
  readonly now?: () => Date;
};

/** A log that can be closed: after `close` its file is complete. */
export type OpenLog = Log & { readonly tail: LogTail; close(): void };

/** A line as pino made it. */
type Line = {
  readonly timestamp: string;
  readonly pid: number;
  readonly error_level: number;
  readonly error_severity: string;
  readonly message: string;
};

/** Makes the log. Throws `usage` when the log file cannot be opened. */
export function makeLog(options: LogOptions): OpenLog {
  const { program, settings, secrets, progress, stderr } = options;
  const now = options.now ?? (() => new Date());
  const terminal = stderr.isTTY === true;
  const timeFormat = settings.timeFormat ?? (terminal ? '%H:%M:%S' : '%Y-%m-%d %H:%M:%S');
  const file = openLogFile(settings.file);

  const tail = new KeptLog((text) => secrets.redact(text));

  // A disk that is full must stop nothing that is about to put a source back.
  let fileIsWhole = true;
  const toStderr = (text: string) => {
    try {
      stderr.write(text);
    } catch {
      // There is nobody to tell.
    }
  };
  const print = (text: string) => {
    const line = JSON.parse(text) as Line;
    if (line.error_level >= levels.info) {
      tail.keep({ atMs: Date.parse(line.timestamp), severity: line.error_severity, message: line.message });
    }
    progress.hide();
    toStderr(settings.format === 'json' ? text : humanLine(line, timeFormat, options.colours && terminal));
    if (file === null) return;
    try {
      writeSync(file, settings.fileFormat === 'json' ? text : humanLine(line, '%Y-%m-%d %H:%M:%S', false));
    } catch (error) {
      if (fileIsWhole) toStderr(`the log file "${settings.file}" is not complete: ${String(error)}\n`);
      fileIsWhole = false;
    }
  };
  const logger = pino(
    {
      level: settings.level,
      customLevels: levels,
      useOnlyCustomLevels: true,
      base: { pid: process.pid },
      messageKey: 'message',
      timestamp: () => `,"timestamp":"${now().toISOString()}"`,
      formatters: {
        level: (_label, number) => ({ error_level: number, error_severity: severities[number] }),
      },
    },
    { write: print },
  );

  const at =
    (level: keyof typeof levels) =>
    (message: string, fields?: LogFields): void => {
      if (!logger.isLevelEnabled(level)) return;
      logger[level](
        fields === undefined ? {} : secrets.redactFields(fields),
        calledAs(program, secrets.redact(message)),
      );
    };
  return {
    tail,
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    notice: at('notice'),
    debug: at('debug'),
    close: () => {
      progress.hide();
      if (file !== null) closeSync(file);
    },
  };
}

/** Names the commands of a message by the program that was called: another name has other defaults, another directory too. */
function calledAs(program: LogOptions['program'], message: string): string {
  return program === 'walferry' ? message : message.replaceAll('`walferry ', `\`${program} `);
}

function openLogFile(path: string | null): number | null {
  if (path === null) return null;
  try {
    return openSync(path, 'w', 0o600);
  } catch (error) {
    throw new Failure('usage', `the log file "${path}" cannot be written${systemReason(error)}`, {
      cause: error,
      remedy: 'Name another one in WALFERRY_LOG_FILENAME or PGCOPYDB_LOG_FILENAME, or none.',
    });
  }
}

/** `2026-11-22 21:31:55.123 4711 INFO   message`, the level coloured on a terminal. */
function humanLine(line: Line, timeFormat: string, coloured: boolean): string {
  const time = new Date(line.timestamp);
  const milliseconds = String(time.getMilliseconds()).padStart(3, '0');
  const level = line.error_severity.padEnd(6);
  const colour = coloured ? (colours[line.error_severity] ?? '') : '';
  const shown = colour === '' ? level : `${colour}${level}${plain}`;
  return `${formatTime(time, timeFormat)}.${milliseconds} ${line.pid} ${shown} ${printableLines(line.message)}\n`;
}

/** The part of strftime that makes sense in front of a log line; anything else stays as it is. */
export function formatTime(time: Date, format: string): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const parts: Readonly<Record<string, () => string>> = {
    Y: () => String(time.getFullYear()),
    m: () => two(time.getMonth() + 1),
    d: () => two(time.getDate()),
    H: () => two(time.getHours()),
    M: () => two(time.getMinutes()),
    S: () => two(time.getSeconds()),
    y: () => two(time.getFullYear() % 100),
    j: () => String(Math.floor((Number(time) - Number(new Date(time.getFullYear(), 0, 1))) / 86_400_000) + 1),
    s: () => String(Math.floor(Number(time) / 1000)),
    F: () => formatTime(time, '%Y-%m-%d'),
    T: () => formatTime(time, '%H:%M:%S'),
    '%': () => '%',
  };
  return format.replace(/%([A-Za-z%])/g, (all, letter: string) => parts[letter]?.() ?? all);
}
