import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatTime, makeLog, type LogOptions } from '../../src/cli/log.js';
import { makeProgressLine } from '../../src/cli/progress-line.js';
import { Secrets } from '../../src/cli/secrets.js';
import type { LogSettings } from '../../src/cli/settings.js';
import { Failure } from '../../src/failure.js';

const defaults: LogSettings = {
  level: 'info',
  format: 'text',
  timeFormat: null,
  file: null,
  fileFormat: 'text',
};

/** A log and what it wrote. */
function capture(settings: Partial<LogSettings>, more: Partial<LogOptions> & { tty?: boolean } = {}) {
  const written: string[] = [];
  const stderr = { isTTY: more.tty === true, write: (text: string) => written.push(text) };
  const log = makeLog({
    program: 'walferry',
    settings: { ...defaults, ...settings },
    secrets: new Secrets(),
    progress: makeProgressLine({ write: () => {} }, false),
    colours: true,
    now: () => new Date(2026, 10, 22, 9, 5, 7, 45),
    stderr,
    ...more,
  });
  return { log, written, text: () => written.join('').replaceAll(String(process.pid), 'PID') };
}

test('a log that cannot be written stops nobody, and the file is told of once', () => {
  const full = capture({ file: '/dev/full' });
  full.log.info('first');
  full.log.info('second');
  expect(full.text().match(/the log file "\/dev\/full" is not complete: .*ENOSPC/g)).toHaveLength(1);
  expect(full.text()).toContain('second');

  const broken = () => {
    throw new Error('ENOSPC');
  };
  const { log } = capture({}, { stderr: { write: broken } });
  expect(() => log.error('failed')).not.toThrow();
});

test('commands in messages are called as the program was: by another name they look elsewhere', () => {
  const message = 'Undo it with `walferry cutover --abort`; walferry is at work';
  const called = (program: LogOptions['program']) => {
    const { log, text } = capture({}, { program });
    log.error(message);
    return text();
  };
  expect(called('walferry')).toContain(message);
  expect(called('pgcopydb')).toContain('Undo it with `pgcopydb cutover --abort`; walferry is at work');
});

describe('a line', () => {
  test('for a file has the date, the process and the level', () => {
    const { log, text } = capture({});
    log.info('copying');
    log.error('failed');
    expect(text()).toBe(
      '2026-11-22 09:05:07.045 PID INFO   copying\n2026-11-22 09:05:07.045 PID ERROR  failed\n',
    );
  });

  test('for a terminal has the time only, and colours', () => {
    const { log, text } = capture({}, { tty: true });
    log.warn('slow');
    expect(text()).toBe('09:05:07.045 PID \u001b[33mWARN  \u001b[0m slow\n');
  });

  test('for a terminal has no colours where they are not wanted', () => {
    const { log, text } = capture({}, { tty: true, colours: false });
    log.warn('slow');
    expect(text()).toBe('09:05:07.045 PID WARN   slow\n');
  });

  test('gives no orders to the terminal', () => {
    const { log, text } = capture({}, { tty: true, colours: false });
    log.info('table a\u001b[2Jb\r\nDETAIL: more');
    expect(text()).toBe('09:05:07.045 PID INFO   table a\\x1b[2Jb\\r\nDETAIL: more\n');
  });

  test('has its time as asked', () => {
    const { log, text } = capture({ timeFormat: '%d.%m.%y %T' });
    log.info('x');
    expect(text()).toBe('22.11.26 09:05:07.045 PID INFO   x\n');
  });

  test('as JSON has the peer’s names and the fields of the message', () => {
    const { log, written } = capture({ format: 'json', level: 'debug' });
    log.notice('a "table"', { table: 'public.t', rows: 3, done: true, error: null });
    log.debug('x');
    expect(written.map((line) => JSON.parse(line) as unknown)).toEqual([
      {
        timestamp: new Date(2026, 10, 22, 9, 5, 7, 45).toISOString(),
        pid: process.pid,
        error_level: 3,
        error_severity: 'NOTICE',
        message: 'a "table"',
        table: 'public.t',
        rows: 3,
        done: true,
        error: null,
      },
      expect.objectContaining({ error_level: 1, error_severity: 'DEBUG', message: 'x' }),
    ]);
  });
});

test.each([
  ['error', ['ERROR']],
  ['info', ['ERROR', 'WARN', 'INFO']],
  ['notice', ['ERROR', 'WARN', 'INFO', 'NOTICE']],
  ['debug', ['ERROR', 'WARN', 'INFO', 'NOTICE', 'DEBUG']],
] as const)('the level %s lets %j through', (level, severities) => {
  const { log, written } = capture({ level, format: 'json' });
  for (const at of ['error', 'warn', 'info', 'notice', 'debug'] as const) log[at]('x');
  expect(written.map((line) => (JSON.parse(line) as { error_severity: string }).error_severity)).toEqual(
    severities,
  );
});

test('no password passes, in the message or in a field', () => {
  const secrets = new Secrets();
  secrets.add('can"ary');
  for (const format of ['text', 'json'] as const) {
    const { log, text } = capture({ format }, { secrets });
    log.error('login with can"ary failed', { uri: 'postgres://u:other@h', password: 'can"ary' });
    expect(text()).toContain('login with **** failed');
    expect(text()).not.toMatch(/ary|other/);
  }
});

test('the progress line is taken away before a log line', () => {
  const written: string[] = [];
  const terminal = { isTTY: true, columns: 80, write: (text: string) => written.push(text) };
  const progress = makeProgressLine(terminal, true);
  const { log } = capture({}, { progress, stderr: terminal });
  progress.show('3 of 4 tables');
  log.info('x');
  log.info('y');
  expect(written).toEqual([
    '\r\u001b[K3 of 4 tables',
    '\r\u001b[K',
    expect.stringContaining('x\n'),
    expect.stringContaining('y\n'),
  ]);
});

describe('a log file', () => {
  test('gets the lines as well, in its own format, and is made anew', () => {
    const directory = mkdtempSync(join(tmpdir(), 'walferry-log-'));
    const file = join(directory, 'x.log');
    try {
      for (const message of ['first', 'second']) {
        const { log, text } = capture({ file, fileFormat: 'json' });
        log.info(message);
        log.close();
        expect(text()).toMatch(/^2026-.*INFO/);
      }
      expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ message: 'second' });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('that cannot be written is refused', () => {
    expect(() => capture({ file: '/nowhere/at/all' })).toThrow(Failure);
  });
});

test('times are printed as strftime does', () => {
  const time = new Date(2026, 1, 3, 4, 5, 6);
  expect(formatTime(time, '%Y-%m-%d %H:%M:%S|%F %T|%y %j %% %Q')).toBe(
    '2026-02-03 04:05:06|2026-02-03 04:05:06|26 34 % %Q',
  );
});

describe('the end of the log that is kept for whoever looks on', () => {
  test('holds what an operator sees, without passwords, and each line once', () => {
    const secrets = new Secrets();
    secrets.add('hunter22');
    const { log } = capture({ level: 'debug' }, { secrets });
    log.info('connecting as me:hunter22');
    log.notice('a table');
    log.warn('slow');
    const first = log.tail.linesAfter(0);
    expect(first.lines.map(({ severity, message }) => [severity, message])).toEqual([
      ['INFO', 'connecting as me:****'],
      ['WARN', 'slow'],
    ]);
    expect(log.tail.linesAfter(first.count).lines).toEqual([]);
    log.error('failed');
    expect(log.tail.linesAfter(first.count).lines.map(({ message }) => message)).toEqual(['failed']);
    expect(log.tail.redact('hunter22')).toBe('****');
  });

  test('is bounded: who has not looked for long gets the last three hundred', () => {
    const { log } = capture({});
    for (let nth = 1; nth <= 1000; nth += 1) log.info(`line ${nth}`);
    const { lines, count } = log.tail.linesAfter(5);
    expect([lines.length, lines.at(0)?.message, lines.at(-1)?.message, count]).toEqual([
      300,
      'line 701',
      'line 1000',
      1000,
    ]);
  });
});
