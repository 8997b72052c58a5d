import { expect, test } from 'vitest';
import { verify } from '../../src/cutover/verify.js';
import { Pause } from '../../src/cutover/pause.js';
import { Failure } from '../../src/failure.js';
import { silentLog } from '../../src/log.js';
import { readConninfo } from '../../src/postgres/connection-string.js';
import { createDatabase } from '../support/databases.js';

test('a difference that was found is told, also when the search for its rows is cut short', async () => {
  await using source = await createDatabase('source');
  await using target = await createDatabase('target');
  const schema = 'create table t (id int primary key, name text)';
  await source.sql(`${schema}; insert into t values (1, 'one')`);
  await target.sql(`${schema}; insert into t values (1, 'two')`);
  const [from, to] = [readConninfo(source.uri, {}), readConninfo(target.uri, {})];

  // Somebody asks to stop as soon as the difference is known.
  const controller = new AbortController();
  const pause = new Pause(controller.signal);
  const lines: string[] = [];
  const log = {
    ...silentLog,
    error: (line: string) => {
      lines.push(line);
      controller.abort(new Failure('stopped', 'stopped as asked'));
    },
    warn: (line: string) => lines.push(line),
  };
  const { difference } = await verify({
    mode: 'full',
    source: from,
    target: to,
    directory: '',
    key: { systemIdentifier: '1', database: source.name, stream: 's' },
    jobs: 1,
    keeps: null,
    parts: [],
    uncarried: [],
    copyAgain: false,
    log,
    signal: pause.signal,
  });
  expect(difference?.code).toBe('sides-differ');
  expect(difference?.message).toContain('public.t');
  expect(lines.join('\n')).toMatch(/sides differ in 1 of 1 table:[^]*public\.t[^]*are not named/);
  // The clock does not tell another story.
  expect(pause.causeOf(difference)).toBe(difference);
  expect(pause.causeOf(new Error('lost'))).toBe(controller.signal.reason);
});
