import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { handleStops } from '../../src/cli/stop.js';
import { isStop, throwIfStopped } from '../../src/failure.js';
import { silentLog } from '../../src/log.js';

function listen() {
  const exits: number[] = [];
  const lines: string[] = [];
  const log = {
    ...silentLog,
    info: (line: string) => lines.push(line),
    warn: (line: string) => lines.push(line),
  };
  const stops = handleStops(log, (status) => exits.push(status));
  return { stops, exits, lines };
}

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s asks first, then ends at once', (name) => {
  const { stops, exits, lines } = listen();
  using _ = stops;
  expect(stops.signal.aborted).toBe(false);

  process.emit(name, name);
  expect(stops.signal.aborted).toBe(true);
  expect(isStop(stops.signal.reason)).toBe(true);
  expect(() => throwIfStopped(stops.signal)).toThrow('stopped as asked');
  expect(lines).toEqual([expect.stringMatching(/^stopping; .* again to stop at once$/)]);
  expect(exits).toEqual([]);

  process.emit(name, name);
  expect(exits).toEqual([128 + constants.signals[name]]);
});

test.each(['SIGINT', 'SIGQUIT'] as const)(
  'what is left to do after %s has ended it at once is said',
  (name) => {
    const lines: string[] = [];
    const log = { ...silentLog, warn: (line: string) => lines.push(line) };
    using _ = handleStops(log, () => {}, 'the source may be frozen');
    process.emit(name, name);
    if (name === 'SIGINT') process.emit(name, name);
    expect(lines).toEqual(['stopped at once; the source may be frozen']);
  },
);

test('SIGQUIT ends at once', () => {
  const { stops, exits } = listen();
  using _ = stops;
  process.emit('SIGQUIT', 'SIGQUIT');
  expect(exits).toEqual([131]);
  expect(stops.signal.aborted).toBe(false);
});

test('afterwards nobody listens any more', () => {
  const before = process.listenerCount('SIGINT');
  const { stops } = listen();
  expect(process.listenerCount('SIGINT')).toBe(before + 1);
  stops[Symbol.dispose]();
  expect(process.listenerCount('SIGINT')).toBe(before);
});
