import { expect, onTestFinished, test } from 'vitest';
import { runHook } from '../../src/cutover/hooks.js';
import type { Log } from '../../src/log.js';
import { until } from '../support/until.js';

/** Runs a command line; gives what it printed. */
async function hook(command: string, timeoutMs = 60_000): Promise<{ lines: string[]; failure: unknown }> {
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  const log = { info: say, warn: say, error: say, notice: say } as unknown as Log;
  const failure: unknown = await runHook({
    name: '--after',
    command,
    timeoutMs,
    environment: process.env,
    facts: {},
    log,
    signal: new AbortController().signal,
  }).then(
    () => null,
    (error: unknown) => error,
  );
  return { lines: lines.map((line) => line.replace('--after: ', '')), failure };
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The process id that was printed; that process is ended with the test. */
function printedPid(lines: readonly string[]): number {
  const pid = Number(lines.find((line) => /^\d+$/.test(line)));
  expect(pid).toBeGreaterThan(1);
  onTestFinished(() => {
    if (lives(pid)) process.kill(pid, 'SIGKILL');
  });
  return pid;
}

test('what a command leaves in the background is not waited for, and lives on', async () => {
  const { lines, failure } = await hook('sleep 300 & echo $!; echo started');
  const pid = printedPid(lines);
  expect(failure).toBeNull();
  expect(lines).toContain('started');
  expect(lives(pid)).toBe(true);
});

test('its exit status counts also when something is left in the background', async () => {
  const { lines, failure } = await hook('sleep 300 & echo $!; exit 3');
  expect(lives(printedPid(lines))).toBe(true);
  expect(String(failure)).toContain('ended with exit status 3');
});

test('a command that does not end in time is ended with what it has started', async () => {
  const { lines, failure } = await hook('sleep 300 & echo $!; wait', 1000);
  const pid = printedPid(lines);
  expect(String(failure)).toContain('did not end within 1 s');
  await until('what it has started is gone', () => !lives(pid));
});

test('everything that a command printed is told, up to its last line', async () => {
  const { lines, failure } = await hook('seq 1 5000; printf last');
  expect(failure).toBeNull();
  expect(lines).toHaveLength(5001);
  expect(lines.at(-1)).toBe('last');
});
