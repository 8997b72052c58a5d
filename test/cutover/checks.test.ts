import { describe, expect, test } from 'vitest';
import { judgeChecks, lagBytes, type CheckFacts } from '../../src/cutover/checks.js';
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
  files: true,
  copied: true,
  finalized: false,
  sourceLsn: here,
  told: null,
  standby: false,
  freeze: { database: 'shop', superuser: false, ownsDatabase: true, readOnly: null, ownDefaults: [] },
  grants: [],
  definers: [],
  sessions: [],
  unreadableSequences: [],
  subscriptions: [],
  writersOfAll: [],
  appliers: [],
  largeObjects: false,
  configuration: [],
  uncarried: [],
  prepared: [],
  altered: null,
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
    ['files of the run that are elsewhere', { files: false }, /no transform files of the run/],
    [
      'another run that follows into the source',
      { appliers: ['4711'] },
      /follows into the source \(process 4711/,
    ],
    [
      'what is replicated into the source',
      { subscriptions: ['from "here"'] },
      /alter subscription "from ""here""" disable/,
    ],
  ])('%s', (_what, facts, says) => {
    const blocking = linesOf(facts).filter(({ level }) => level === 'block');
    expect(blocking.map(({ text }) => text)).toEqual([expect.stringMatching(says)]);
  });
});

test('members of pg_write_all_data are named where they would go on writing, and nowhere else', () => {
  const noted = (choices: Partial<CutoverChoices>) =>
    linesOf({ writersOfAll: ['shop'] }, choices).some(({ text }) => /pg_write_all_data .*: shop$/.test(text));
  expect(noted({ freeze: 'revoke' })).toBe(true);
  expect(noted({ freeze: 'read-only' })).toBe(false);
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

test.each<[string, string, [behindBytes: number, source: string] | null, number]>([
  ['where no run tells, all that the source wrote counts', '0/1000020', null, 0x1000000],
  ['what the run has read past does not count', '0/1000020', [40, '0/1000020'], 40],
  ['what the source has written since the run asked it counts', '0/1000020', [40, '0/800020'], 0x800000 + 40],
  ['what it has told is older than what is seen here', '0/30', [40, '0/30'], 0x10],
])('lag: %s', (_what, source, said, lag) => {
  const told = said === null ? null : { behindBytes: said[0], source: readLsn(said[1]) };
  expect(lagBytes({ ...ready, sourceLsn: readLsn(source), told })).toBe(lag);
});

test('what no stream carries is noted, by name', () => {
  const noted = linesOf({ largeObjects: true, configuration: ['public.spatial_ref_sys'] });
  expect(noted.filter(({ level }) => level === 'note').map(({ text }) => text)).toEqual(
    expect.arrayContaining([
      expect.stringContaining('large objects are in no stream'),
      expect.stringMatching(/configuration tables of extensions .*: public\.spatial_ref_sys$/),
    ]),
  );
});

test('tables of which the stream does not carry every change are noted by what will become of them', () => {
  const table = { schema: 'public', bytes: 0, columns: [] };
  const uncarried: CheckFacts['uncarried'] = [
    { ...table, name: 'log', why: 'no-identity' },
    { ...table, name: 'cache', why: 'unlogged' },
  ];
  const noted = (choices: Partial<CutoverChoices>) =>
    linesOf({ uncarried }, choices)
      .filter(({ level, text }) => level === 'note' && /public\./.test(text))
      .map(({ text }) => text);
  expect(noted({})).toEqual([
    expect.stringMatching(/comparison will find it .* --copy-again .*: public\.log$/),
  ]);
  expect(noted({ verify: 'none' })).toEqual([expect.stringMatching(/nobody would see/)]);
  expect(noted({ copyAgain: true })).toEqual([
    expect.stringMatching(/copied again .*: public\.log, public\.cache$/),
  ]);
});
