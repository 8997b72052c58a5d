import { describe, expect, test } from 'vitest';
import type { Command, CommandContext } from '../../src/cli/command.js';
import { parseOptions } from '../../src/cli/parse-options.js';
import { runCommand } from '../../src/cli/run.js';
import { Failure, throwIfStopped } from '../../src/failure.js';

/** Runs a command made for the test, with its options, and gathers what it printed. */
async function runWith(
  run: Command['run'],
  {
    words = [],
    command = {},
    stdout,
    environment = {},
    exitNow = () => {},
  }: {
    words?: string[];
    command?: Partial<Command>;
    stdout?: unknown;
    environment?: NodeJS.ProcessEnv;
    exitNow?: () => void;
  } = {},
) {
  let stderr = '';
  const sink = (write: (text: string) => void) =>
    ({
      write: (text: string, done?: (error?: Error | null) => void) => {
        write(text);
        done?.();
      },
    }) as unknown as NodeJS.WriteStream;
  const tested: Command = {
    path: 'follow',
    group: 'K',
    summary: 'a test',
    options: [],
    needs: [],
    ...command,
    run,
  };
  const status = await runCommand(
    {
      argv: words,
      script: '/usr/bin/walferry',
      environment: { HOME: '/home/me', ...environment },
      stdout: (stdout as NodeJS.WriteStream | undefined) ?? sink(() => {}),
      stderr: sink((text) => {
        stderr += text;
      }),
      exitNow,
    },
    'walferry',
    tested,
    tested.path,
    parseOptions(tested, tested.path, words),
  );
  const lines = stderr.split('\n').map((line) => line.replace(/^[\d-]+ [\d:.]+ \d+ /, ''));
  return { status, stderr, lines };
}

const stopItself = (context: CommandContext) => {
  process.emit('SIGTERM', 'SIGTERM');
  throwIfStopped(context.signal);
};

test('an error that nobody caught stops a command that undoes, and is what it ends with', async () => {
  let undone = false;
  const { status, lines } = await runWith(
    async ({ signal }) => {
      const caughtByNobody = process.listeners('uncaughtException').at(-1);
      caughtByNobody?.(new Error('a bug'), 'uncaughtException');
      // What it brings with it ends nothing either.
      caughtByNobody?.(new Error('another one'), 'uncaughtException');
      undone = signal.aborted;
      throwIfStopped(signal);
    },
    { command: { undoneByStop: 'the source may be frozen' }, exitNow: () => expect.unreachable() },
  );
  expect(undone).toBe(true);
  expect(lines.join('\n')).toContain('another one');
  expect(status).toBe(new Failure('internal', '').policy.exit);
  expect(lines.slice(1).join('\n')).toContain('a bug');
});

describe('the end of a command', () => {
  test('by returning is 0', async () => {
    const { status, lines } = await runWith(async (context) => context.log.info('done'));
    expect(status).toBe(0);
    expect(lines).toEqual([
      expect.stringMatching(/^INFO {3}Running walferry version .* from "/),
      'INFO   done',
      '',
    ]);
  });

  test('by a failure is its exit status, its sentence and its remedy', async () => {
    const { status, lines } = await runWith(async () => {
      throw new Failure('slot-lost', 'the slot walferry is gone');
    });
    expect(status).toBe(23);
    expect(lines.slice(1)).toEqual([
      'ERROR  the slot walferry is gone',
      'ERROR  Start again with --restart: the copy must be made anew from a new slot.',
      '',
    ]);
  });

  test('by anything else is a mistake of ours, 12', async () => {
    const { status, lines } = await runWith(async () => {
      throw new TypeError('x is undefined');
    });
    expect(status).toBe(12);
    expect(lines).toContain('ERROR  x is undefined');
    expect(lines.join('\n')).toContain('This is a mistake in walferry');
    expect(lines.join('\n')).not.toContain('run-command.test.ts');
  });

  test('with --debug tells the causes, without passwords', async () => {
    const cause = new Error('refused: canary', { cause: new Error('deep postgres://u:other@h') });
    const { stderr } = await runWith(
      async () => {
        throw new Failure('target-login', 'the target refused the login', { cause });
      },
      { words: ['--debug', '--target', 'postgres://u:canary@h/d'] },
    );
    expect(stderr).toMatch(/DEBUG {2}Error: refused: \*\*\*\*\n/);
    expect(stderr).toMatch(/DEBUG {2}Error: deep postgres:\/\/u:\*\*\*\*@h\n/);
    expect(stderr).toContain('run-command.test.ts');
    expect(stderr).not.toMatch(/canary|other/);
  });
});

describe('a stop', () => {
  test('is 22 and tells how to go on', async () => {
    const { status, lines } = await runWith(async (context) => stopItself(context), {
      words: ['--restart', '--slot-name', 's'],
    });
    expect(status).toBe(22);
    expect(lines.slice(1)).toEqual([
      'INFO   stopping; send SIGTERM again to stop at once',
      'INFO   stopped as asked; go on with: walferry follow --slot-name s --resume',
      '',
    ]);
  });

  test('that comes back as an AbortError, or wrapped, is the same', async () => {
    const aborted = await runWith(async (context) => {
      process.emit('SIGTERM', 'SIGTERM');
      throw new Error('sleep', {
        cause: new DOMException('aborted', context.signal.aborted ? 'AbortError' : 'x'),
      });
    });
    expect(aborted.status).toBe(22);
  });

  test('of a command that is meant to be stopped is 0', async () => {
    const { status } = await runWith(async (context) => stopItself(context), {
      command: { endsByStop: true },
    });
    expect(status).toBe(0);
  });

  test('does not hide another failure', async () => {
    const { status } = await runWith(async () => {
      process.emit('SIGTERM', 'SIGTERM');
      throw new Failure('journal-damaged', 'damaged');
    });
    expect(status).toBe(24);
  });

  test('is not made of an AbortError that nobody asked for', async () => {
    const { status } = await runWith(async () => {
      throw new DOMException('aborted', 'AbortError');
    });
    expect(status).toBe(12);
  });

  test('is also a reader of stdout that went away', async () => {
    const closed = {
      write: (_text: string, done: (error: Error) => void) =>
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })),
    };
    const { status, stderr } = await runWith(async (context) => context.stdout('x'), { stdout: closed });
    expect(status).toBe(22);
    expect(stderr).toContain('stdout was closed');
  });
});

describe('the sides', () => {
  test('are read once, for every command that was given them', async () => {
    await runWith(
      async (context) => {
        expect(context.source()).toMatchObject({ host: 'h', user: 'u', database: 'd' });
        expect(() => context.target()).toThrow('Option --target is mandatory');
      },
      { words: ['--source', 'postgres://u@h/d'] },
    ).then(({ status }) => expect(status).toBe(0));
  });

  test('`--target -` is no server', async () => {
    const { status } = await runWith(
      async (context) => {
        expect(context.settings.target).toBe('-');
        expect(() => context.target()).toThrow(Failure);
      },
      { words: ['--target', '-'] },
    );
    expect(status).toBe(0);
  });

  test('that cannot be read are reported with everything else', async () => {
    const { status, stderr } = await runWith(async () => {}, {
      words: ['--source', 'postgres://u:canary@h:port/d', '--table-jobs', '0'],
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/--table-jobs[^]*--source: /);
    expect(stderr).not.toContain('canary');
  });

  test('are named by the variable that they stand in', async () => {
    const variable = { PGCOPYDB_TARGET_PGURI: 'mysql://u:canary@h/d' };
    const { status, stderr } = await runWith(async () => {}, {
      words: ['--restore-jobs', '0'],
      environment: variable,
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/PGCOPYDB_TARGET_PGURI: the connection string cannot be read/);
    // And what is wrong with one option is said once.
    expect(stderr.match(/--restore-jobs/g)).toHaveLength(1);
    expect(stderr).not.toContain('canary');
  });
});
