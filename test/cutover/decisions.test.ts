import { describe, expect, test } from 'vitest';
import { cutoverStates, type CutoverState, type FreezeRecord } from '../../src/catalog/cutover.js';
import { resolveChoices, type GivenChoices } from '../../src/cutover/choices.js';
import {
  decideCutover,
  expectSameFreeze,
  judgeDrain,
  judgeFinalize,
  planUndo,
  type CutoverRequest,
} from '../../src/cutover/decisions.js';
import { inGrantOrder, grantStatements, revokeStatements } from '../../src/cutover/grants.js';
import { unfreezeSql } from '../../src/cutover/freeze.js';
import { lateWritesFailure } from '../../src/cutover/late-writes.js';
import { predictPause } from '../../src/cutover/predict.js';
import { Failure } from '../../src/failure.js';
import { decideAtEnd, decideWhenComplete } from '../../src/follow/sentinel-watch.js';
import { isTakenBack } from '../../src/catalog/cutover.js';
import { readLsn, zeroLsn } from '../../src/model/lsn.js';

const lsn = readLsn;

function outcome(state: CutoverState | null, request: CutoverRequest): string {
  try {
    const decision = decideCutover(state === null ? null : { state }, request);
    return decision.kind === 'go-on' ? `go on from ${decision.from}` : decision.kind;
  } catch (error) {
    return error instanceof Failure ? error.code : String(error);
  }
}

describe('what a call does with the cutover that it finds', () => {
  test.each<[CutoverState | null, string, string, string]>([
    [null, 'begin', 'begin', 'nothing-to-do'],
    ['running', 'cutover-unfinished', 'go on from running', 'undo'],
    ['finalizing', 'cutover-unfinished', 'go on from finalizing', 'undo'],
    ['open', 'cutover-unfinished', 'go on from open', 'cutover-too-late'],
    ['done', 'nothing-to-do', 'nothing-to-do', 'cutover-too-late'],
    ['undoing', 'cutover-unfinished', 'cutover-unfinished', 'undo'],
    ['undone', 'begin', 'begin', 'nothing-to-do'],
  ])('%s', (state, begin, resume, abort) => {
    expect(outcome(state, 'begin')).toBe(begin);
    expect(outcome(state, 'resume')).toBe(resume);
    expect(outcome(state, 'abort')).toBe(abort);
  });
});

const readOnly: FreezeRecord = { kind: 'read-only', database: 'shop', before: null };

describe('what an undo does', () => {
  test.each<[CutoverState, FreezeRecord | null, boolean, FreezeRecord | null]>([
    ['running', null, true, null],
    ['running', { kind: 'none' }, true, null],
    ['running', readOnly, true, readOnly],
    ['finalizing', readOnly, true, readOnly],
    // The end position is taken back already; the source may still be frozen.
    ['undoing', readOnly, false, readOnly],
    // Nothing behind the point of no return, whatever is recorded.
    ['open', readOnly, false, null],
    ['done', readOnly, false, null],
    ['undone', readOnly, false, null],
  ])('%s', (state, freeze, takeBack, unfreeze) => {
    expect(planUndo({ state, freeze })).toEqual({ takeBack, unfreeze });
  });

  test('another way to freeze than the one that it was begun with is refused', () => {
    expect(() => expectSameFreeze({ freeze: readOnly }, 'revoke')).toThrow(/begun with --freeze read-only/);
    expect(() => expectSameFreeze({ freeze: readOnly }, 'read-only')).not.toThrow();
    expect(() => expectSameFreeze({ freeze: null }, 'revoke')).not.toThrow();
  });
});

test('what would put the source back by hand makes it take writes, also one that was read-only before', () => {
  expect(unfreezeSql({ ...readOnly, before: 'on' })).toContain('reset default_transaction_read_only');
  expect(unfreezeSql({ ...readOnly, before: 'off' })).toContain('set default_transaction_read_only =');
});

describe('the run that follows, at the end position', () => {
  const reached = lsn('0/20');
  const hold = (state: CutoverState) => ({ state, endpos: reached });

  test.each<[CutoverState | null, string, string]>([
    [null, '0/20', 'finish'],
    ['running', '0/20', 'hold'],
    ['finalizing', '0/20', 'finish'],
    ['open', '0/20', 'finish'],
    ['done', '0/20', 'finish'],
    // Taken back, and somebody set another end position, which is reached too.
    ['undone', '0/10', 'finish'],
    ['undoing', '0/0', 'go-on'],
    ['undone', '0/0', 'go-on'],
    ['running', '0/30', 'go-on'],
    [null, '0/30', 'go-on'],
    [null, '0/0', 'go-on'],
  ])('cutover %s, end position %s: %s', (state, endpos, expected) => {
    expect(decideAtEnd(lsn(endpos), reached, state === null ? null : hold(state))).toBe(expected);
  });

  test.each<[CutoverState | null, string, string]>([
    [null, '0/20', 'finish'],
    ['finalizing', '0/20', 'hold'],
    ['open', '0/20', 'finish'],
    ['done', '0/20', 'finish'],
    ['undone', '0/10', 'finish'],
    // The next one has begun before this one was seen to be undone.
    ['running', '0/20', 'go-on'],
    ['running', '0/0', 'go-on'],
    ['undoing', '0/0', 'go-on'],
    [null, '0/30', 'go-on'],
    [null, '0/0', 'go-on'],
  ])('with the target complete: cutover %s, end position %s: %s', (state, endpos, expected) => {
    expect(decideWhenComplete(lsn(endpos), reached, state === null ? null : hold(state))).toBe(expected);
  });

  test('a cutover is taken back while no end position is set, or another one has begun', () => {
    for (const state of cutoverStates) {
      const back = ['undoing', 'undone', 'running'].includes(state);
      expect(isTakenBack(hold(state), zeroLsn)).toBe(back);
      expect(isTakenBack(hold(state), reached)).toBe(state === 'running');
    }
    expect(isTakenBack(null, zeroLsn)).toBe(false);
  });
});

describe('waiting', () => {
  const endpos = lsn('0/20');
  test.each([
    [true, '0/20', '0/20', 'drained'],
    [true, null, '0/20', 'wait'],
    // What an earlier end position was drained to says nothing about this one.
    [true, '0/10', '0/20', 'wait'],
    [false, null, '0/20', 'gone'],
    [false, '0/20', '0/20', 'gone'],
    [true, '0/20', '0/0', 'moved'],
    [true, null, '0/30', 'moved'],
  ] as const)('drain: alive %s, drained %s, sentinel %s: %s', (alive, drained, sentinel, expected) => {
    const view = {
      alive,
      drained: drained === null ? null : lsn(drained),
      sentinelEndpos: lsn(sentinel),
      endpos,
    };
    expect(judgeDrain(view)).toBe(expected);
  });

  test.each([
    ['clone', true, false, 'wait'],
    ['clone', true, true, 'writable'],
    ['clone', false, true, 'writable'],
    ['clone', false, false, 'gone'],
    ['follow', true, false, 'wait'],
    ['follow', true, true, 'writable'],
    ['follow', false, true, 'writable'],
    ['follow', false, false, 'ours'],
  ] as const)('complete: %s, alive %s, writable %s: %s', (run, alive, writable, expected) => {
    expect(judgeFinalize({ run, alive, writable })).toBe(expected);
  });
});

describe('choices', () => {
  const nothing: GivenChoices = {
    freeze: null,
    verify: null,
    maxPauseMs: null,
    maxLagBytes: null,
    sequenceHeadroom: null,
    acceptMissing: null,
    copyAgain: null,
  };
  test('what was given is stronger than what the cutover was begun with, and that than the defaults', () => {
    const record = { settings: { freeze: 'revoke', maxPauseMs: 5000, verify: 'nonsense' } };
    const resolved = resolveChoices({ ...nothing, maxPauseMs: 9000 }, record as never);
    expect(resolved).toMatchObject({
      freeze: 'revoke',
      maxPauseMs: 9000,
      verify: 'full',
      sequenceHeadroom: 0,
    });
    expect(resolveChoices(nothing, null).freeze).toBe('read-only');
  });
});

describe('privileges', () => {
  const grant = {
    schema: 'public',
    table: 'o"rder',
    column: null,
    grantor: 'owner',
    byOwner: true,
    grantee: 'clerk',
    privilege: 'INSERT',
    grantable: true,
  };
  const onward = { ...grant, grantor: 'clerk', byOwner: false, grantee: 'helper', grantable: false };
  const third = { ...grant, grantor: 'helper', byOwner: false, grantee: null, grantable: false };

  test('are given back in an order in which they can be granted', () => {
    const passedOn = { ...onward, grantable: true };
    expect(inGrantOrder([third, passedOn, grant])).toEqual([grant, passedOn, third]);
    // One whose grantor holds it by nothing that is known is kept, at the end.
    expect(inGrantOrder([third, grant])).toEqual([grant, third]);
  });

  test('are taken away in the opposite order, each in the name of who granted it', () => {
    const column = { ...grant, column: 'no te', privilege: 'UPDATE', grantee: null, grantable: false };
    expect(revokeStatements([grant, onward, column])).toEqual([
      'set role "clerk"',
      'revoke INSERT on table "public"."o""rder" from "helper" cascade',
      'reset role',
      'revoke INSERT on table "public"."o""rder" from "clerk" cascade',
      'revoke UPDATE ("no te") on table "public"."o""rder" from public cascade',
    ]);
    expect(grantStatements([grant, onward])).toEqual([
      'grant INSERT on table "public"."o""rder" to "clerk" with grant option',
      'set role "clerk"',
      'grant INSERT on table "public"."o""rder" to "helper"',
      'reset role',
    ]);
  });

  test('the way back as plain SQL', () => {
    expect(unfreezeSql(readOnly)).toContain('alter database "shop" reset default_transaction_read_only;');
    expect(unfreezeSql({ ...readOnly, before: 'off' })).toContain(
      `alter database "shop" set default_transaction_read_only = 'off';`,
    );
    expect(unfreezeSql({ kind: 'revoke', database: 'shop', grants: [grant] })).toBe(
      'grant INSERT on table "public"."o""rder" to "clerk" with grant option;\n',
    );
  });
});

test('late writes are told with their tables', () => {
  expect(lateWritesFailure({ transactions: 0, changes: 0, tables: [] }, lsn('0/1'))).toBeNull();
  const failure = lateWritesFailure({ transactions: 2, changes: 3, tables: ['public.a'] }, lsn('0/1'));
  expect(failure?.message).toContain('0/1: 2 transactions, 3 changed rows in public.a');
});

describe('the expected pause', () => {
  const facts = {
    lagBytes: 0,
    appliedBytesPerSecond: null,
    tableBytes: 0,
    tables: 10,
    copiedAgain: { tables: 1, bytes: 200e6 },
    jobs: 4,
    sessions: 3,
    roundTripMs: 0,
  };
  const choices = resolveChoices(
    {
      freeze: null,
      verify: 'none',
      maxPauseMs: null,
      maxLagBytes: null,
      sequenceHeadroom: null,
      acceptMissing: null,
      copyAgain: null,
    },
    null,
  );
  const drain = (lagBytes: number, appliedBytesPerSecond: number | null) =>
    predictPause({ ...facts, lagBytes, appliedBytesPerSecond }, choices).find(({ step }) => step === 'drain')
      ?.ms ?? 0;

  test('grows with the lag, and shrinks with a pace that was seen', () => {
    expect(drain(100e6, null)).toBeGreaterThan(drain(0, null) + 9000);
    expect(drain(100e6, 100e6)).toBeLessThan(drain(100e6, null));
  });

  test('grows with the distance, wherever answers are waited for', () => {
    const near = predictPause(facts, { ...choices, verify: 'touched' });
    const far = predictPause({ ...facts, roundTripMs: 40 }, { ...choices, verify: 'touched' });
    const more = far.map(({ step, ms }, at) => [step, ms - (near[at]?.ms ?? 0)]);
    expect(more).toEqual([
      ['freeze', 240],
      ['drain', 160],
      ['verify', 320],
      ['sequences', 120],
      ['finalize', 560],
    ]);
  });

  test('grows with what is compared', () => {
    const full = predictPause({ ...facts, tableBytes: 10e9 }, { ...choices, verify: 'full' });
    const none = predictPause({ ...facts, tableBytes: 10e9 }, choices);
    const total = (steps: typeof full) => steps.reduce((sum, { ms }) => sum + ms, 0);
    expect(total(full)).toBeGreaterThan(total(none) + 30_000);
    expect(none.some(({ step }) => step === 'verify')).toBe(false);
  });

  test('grows with what is copied again, where that is asked for', () => {
    const again = predictPause(facts, { ...choices, copyAgain: true });
    expect(again.find(({ step }) => step === 'copy-again')?.ms).toBeGreaterThan(10_000);
    expect(predictPause(facts, choices).some(({ step }) => step === 'copy-again')).toBe(false);
  });
});
