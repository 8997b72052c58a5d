import { describe, expect, test } from 'vitest';
import { describeState, judgeState, warningsOf, type StateFacts } from '../../src/monitor/state.js';

const following: StateFacts = {
  phase: { kind: 'apply' },
  silentMs: 500,
  lagMs: 400,
  behindBytes: 5000,
  catchUp: { kind: 'level' },
  toEndBytes: null,
  toEndSeconds: null,
  copy: null,
};

const copy = { copiedBytes: 630, expectedBytes: 1000, secondsLeft: 240, tablesDone: 3, tables: 9 };

describe('the state and its sentence', () => {
  test.each<[string, Partial<StateFacts>, string, string]>([
    ['nothing was told', { phase: null }, 'unknown', 'No run has told anything here yet'],
    [
      'the run begins',
      { phase: { kind: 'setup' } },
      'setup',
      'Starting: connecting, and preparing the stream',
    ],
    [
      'the schema is dumped',
      { phase: { kind: 'copy', step: 'dump' } },
      'copying',
      'Copying: dumping the schema',
    ],
    [
      'rows are copied',
      { phase: { kind: 'copy', step: 'copy' }, copy },
      'copying',
      'Copying: 63 % of the rows, about 4 min left',
    ],
    [
      'all rows are there',
      { phase: { kind: 'copy', step: 'copy' }, copy: { ...copy, tablesDone: 9 } },
      'copying',
      'Copying: all rows are there, the last indexes are being built',
    ],
    [
      'applying is off',
      { phase: { kind: 'receive' } },
      'receiving',
      'Receiving: changes are kept, and not applied',
    ],
    ['the target is level', {}, 'following', 'Following: 0.4 s behind'],
    [
      'the target is level, to the millisecond',
      { lagMs: 0 },
      'following',
      'Following: level with the source',
    ],
    [
      'the target catches up',
      { lagMs: 65_000, catchUp: { kind: 'shrinking', secondsLeft: 118 } },
      'catching-up',
      'Catching up: 1 min 05 s behind, level in about 2 min',
    ],
    [
      'nobody can say yet',
      { lagMs: null, catchUp: { kind: 'unknown' } },
      'catching-up',
      'Catching up: 4.9 kB behind',
    ],
    [
      'the target falls behind',
      { lagMs: 300_000, catchUp: { kind: 'growing', bytesPerSecond: 9 } },
      'catching-up',
      'Falling behind: 5 min 00 s behind, and it does not converge at this pace',
    ],
    [
      'an end position is set',
      { toEndBytes: 12 * 1024 * 1024, toEndSeconds: 3 },
      'draining',
      'Draining: 12 MB to the end position, a few seconds left',
    ],
    [
      'the sequences are set',
      { phase: { kind: 'sequences' } },
      'finishing',
      'Finishing: setting the sequences',
    ],
    [
      'the rest is added',
      { phase: { kind: 'finalize' } },
      'finishing',
      'Finishing: adding foreign keys, triggers and the rest',
    ],
    [
      'all is done',
      { phase: { kind: 'done' }, silentMs: 1e9 },
      'done',
      'Done: everything that was asked for is on the target',
    ],
    [
      'it was stopped',
      { phase: { kind: 'stopped' } },
      'stopped',
      'Stopped as asked; the same command with --resume goes on',
    ],
    [
      'it failed',
      { phase: { kind: 'failed', code: 'row-missing', message: 'a row is gone' }, silentMs: 1e9 },
      'failed',
      'Failed: a row is gone',
    ],
    [
      'it was killed',
      { silentMs: 180_000 },
      'gone',
      'The run was last heard of 3 min 00 s ago: it was killed, or hangs',
    ],
    ['it is busy for a moment', { silentMs: 15_000 }, 'following', 'Following: 0.4 s behind'],
  ])('%s', (_name, given, state, sentence) => {
    const facts = { ...following, ...given };
    expect(judgeState(facts)).toBe(state);
    expect(describeState(judgeState(facts), facts)).toBe(sentence);
  });
});

describe('warnings', () => {
  const none = {
    state: 'following',
    catchUp: { kind: 'level' },
    lagMs: 0,
    resting: false,
    copyBraked: false,
    cutover: null,
    cutoverAbandoned: false,
    slot: null,
  } as const;
  const slot = { name: 's', secondsLeft: 1200, retainedBytes: 1024 ** 3 };

  test.each<[string, Parameters<typeof warningsOf>[0], RegExp[]]>([
    ['none while all is well', none, []],
    [
      'the slot is in danger',
      { ...none, slot: { ...slot, verdict: 'danger' } },
      [/"s" may be lost in about 20 min/],
    ],
    ['the slot is lost', { ...none, slot: { ...slot, verdict: 'lost' } }, [/"s" is lost/]],
    ['the danger is over with the run', { ...none, state: 'done', slot: { ...slot, verdict: 'danger' } }, []],
    ['the run is gone', { ...none, state: 'gone' }, [/--resume/]],
    ['a cutover is at work', { ...none, cutover: 'running' }, [/writes on the source may be stopped/]],
    ['a cutover is undone', { ...none, cutover: 'undoing' }, [/may still be stopped/]],
    [
      'a cutover was killed',
      { ...none, cutover: 'running', cutoverAbandoned: true },
      [/cutover --resume.*cutover --abort/],
    ],
    ['a cutover is over', { ...none, cutover: 'done' }, []],
    [
      'it does not converge',
      { ...none, state: 'catching-up', catchUp: { kind: 'growing', bytesPerSecond: 1 } },
      [/does not catch up/],
    ],
    [
      'the journal is full, and the copy brakes',
      { ...none, resting: true, copyBraked: true },
      [/max-journal-size/, /one table at a time/],
    ],
  ])('%s', (_name, facts, expected) => {
    const warnings = warningsOf(facts);
    expect(warnings).toHaveLength(expected.length);
    expected.forEach((pattern, nth) => expect(warnings[nth]).toMatch(pattern));
  });
});
