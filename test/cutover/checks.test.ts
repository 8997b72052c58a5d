import { describe, expect, test } from 'vitest';
import { judgeChecks, type CheckFacts } from '../../src/cutover/checks.js';
import { defaultChoices, type CutoverChoices } from '../../src/cutover/choices.js';
import { readLsn, zeroLsn } from '../../src/model/lsn.js';

const here = readLsn('0/20');
const ready: CheckFacts = {
  sentinel: {
    startpos: here,
    endpos: zeroLsn,
    apply: true,
    writeLsn: here,
    flushLsn: here,
    transformLsn: here,
    replayLsn: here,
  },
  run: 'clone',
  alive: true,
  copied: true,
  finalized: false,
  sourceLsn: here,
  standby: false,
  freeze: { database: 'shop', superuser: false, ownsDatabase: true, readOnly: null, ownDefaults: [] },
  grants: [],
  definers: [],
  sessions: [],
  unreadableSequences: [],
  prepared: [],
};

function linesOf(facts: Partial<CheckFacts>, choices: Partial<CutoverChoices> = {}) {
  return judgeChecks({ ...ready, ...facts }, { ...defaultChoices, ...choices });
}

test('nothing blocks where everything is ready', () => {
  expect(linesOf({}).filter(({ level }) => level === 'block')).toEqual([]);
});

describe('what blocks', () => {
  test.each<[string, Partial<CheckFacts>, RegExp]>([
    [
      'a sequence that cannot be read',
      { unreadableSequences: ['public.ticket'] },
      /sequences public\.ticket/,
    ],
  ])('%s', (_what, facts, says) => {
    const blocking = linesOf(facts).filter(({ level }) => level === 'block');
    expect(blocking.map(({ text }) => text)).toEqual([expect.stringMatching(says)]);
  });
});

describe('what is noted', () => {
  test.each<[string, Partial<CheckFacts>, RegExp]>([
    [
      'a source that is read-only already',
      { freeze: { ...ready.freeze, readOnly: 'on' } },
      /read-only already .* leaves it so/,
    ],
  ])('%s', (_what, facts, says) => {
    const notes = linesOf(facts).filter(({ level }) => level === 'note');
    expect(notes.map(({ text }) => text).join('\n')).toMatch(says);
  });
});
