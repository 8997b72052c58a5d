import { expect, test } from 'vitest';
import { run } from '../../src/cli/run.js';

/** Runs a command line inside this process. */
async function call(line: string, environment: Record<string, string> = {}, script = '/usr/bin/walferry') {
  const output = { stdout: '', stderr: '' };
  const into = (name: 'stdout' | 'stderr') =>
    ({
      write: (text: string, done?: (error?: Error | null) => void) => {
        output[name] += text;
        done?.();
        return true;
      },
    }) as unknown as NodeJS.WriteStream;
  const status = await run({
    argv: line.split(' ').filter((word) => word !== ''),
    script,
    environment: { HOME: '/home/me', ...environment },
    stdout: into('stdout'),
    stderr: into('stderr'),
    exitNow: () => {},
  });
  return { status, ...output };
}

const sides = '--source postgres://u:canary@h/d --target postgres://u:canary@h/d';

test.each([
  // Help: the tree is data, a command's help belongs to the log.
  ['help', 0, /^walferry: moves/, /^$/],
  ['help --dir x list tables --json', 0, /^walferry list tables: /, /^$/],
  ['help list --dir x', 0, /^walferry list: /, /^$/],
  ['--help', 0, /^walferry: moves/, /^$/],
  ['help stream sentinel', 0, /^walferry stream sentinel: /, /^$/],
  ['help clone', 0, /^walferry clone: [^]*--follow/, /^$/],
  ['clone --help', 0, /^$/, /^walferry clone: [^\n]+\nusage: walferry clone \[options\]\n\n[^]*--follow/],
  ['-h clone', 0, /^$/, /^walferry clone: /],
  ['clone --bogus --help', 0, /^$/, /^walferry clone: /],
  ['stream --help', 0, /^$/, /^walferry stream: /],
  [
    'stream sentinel set startpos --help',
    0,
    /^$/,
    /usage: walferry stream sentinel set startpos \[options\] <lsn>\n/,
  ],
  // Version.
  ['version', 0, /^walferry version \d+\.\d+\.\d+\n/, /Running/],
  ['--version', 0, /^walferry version [^]*compatible with Postgres 14, 15, 16, 17, and 18\n$/, /^$/],
  ['clone --version', 0, /^walferry version/, /^$/],
  ['--version --json', 0, /^\{\n {4}"walferry": "/, /^$/],
  ['-q version --json', 0, /^\{\n {4}"walferry": "/, /^$/],
  // Not a command.
  ['', 1, /^$/, /^a command is expected after "walferry"\n[^]*clone/],
  [
    'stream sentinel',
    1,
    /^$/,
    /^a command is expected after "walferry stream sentinel"\n[^]*stream sentinel get/,
  ],
  ['clnoe', 1, /^$/, /^unknown command "clnoe"\n[^]*clone/],
  ['help clnoe', 1, /^$/, /^unknown command "clnoe"\n/],
  ['stream clone', 1, /^$/, /^unknown command "clone" of "walferry stream"\n/],
  ['postgres://u:canary@h/d', 1, /^$/, /^unknown command "postgres:\/\/u:\*\*\*\*@h\/d"\n/],
  // Not its form.
  ['clone --bogus=canary', 1, /^$/, /^unknown option --bogus\n\nwalferry clone: /],
  ['ping postgres://u:canary@h/d', 1, /^$/, /^1 argument\(s\) given, the command takes no argument\n\n/],
  // Not its values.
  ['clone', 1, /^$/, /ERROR {2}Options --source and --target are mandatory\n$/],
  [
    `clone ${sides} --resume --restart`,
    1,
    /^$/,
    /ERROR {2}Options --resume and --restart exclude each other\n$/,
  ],
  ['clone --source postgres://u:canary@h:x/d --jobs 0', 1, /^$/, /table-jobs[^]*mandatory[^]*--source: /],
  [`clone ${sides} --plugin wal2jsom`, 1, /^$/, /expected pgoutput, wal2json, test_decoding\n/],
  [`clone ${sides} -w`, 1, /^$/, /Option --wal2json-numeric-as-string needs --plugin wal2json\n/],
])('"%s" ends with %i', async (line, status, stdout, stderr) => {
  const result = await call(line);
  expect(result.stdout).toMatch(stdout);
  expect(result.stderr).toMatch(stderr);
  expect(result.status).toBe(status);
  expect(result.stdout + result.stderr).not.toContain('canary');
});

test('called through a link named pgcopydb, help speaks of pgcopydb', async () => {
  const { stderr } = await call('clone --help', {}, '/usr/local/bin/pgcopydb');
  expect(stderr).toMatch(/^pgcopydb clone: /);
  expect(stderr).toContain('default: ${TMPDIR:-/tmp}/pgcopydb');
});

test('log lines are JSON when asked for, errors in settings too', async () => {
  const { stderr, status } = await call('clone --log-format json');
  expect(JSON.parse(stderr)).toMatchObject({
    error_severity: 'ERROR',
    code: 'usage',
    message: 'Options --source and --target are mandatory',
  });
  expect(status).toBe(1);
});

test('a log file that cannot be written ends with 1', async () => {
  const { stderr, status } = await call(`clone ${sides}`, { WALFERRY_LOG_FILENAME: '/nowhere/at/all' });
  expect(stderr).toBe(
    'the log file "/nowhere/at/all" cannot be written (no such file or directory)\n' +
      'Name another one in WALFERRY_LOG_FILENAME or PGCOPYDB_LOG_FILENAME, or none.\n',
  );
  expect(status).toBe(1);
});
