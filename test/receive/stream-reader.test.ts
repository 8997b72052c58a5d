import { describe, expect, test } from 'vitest';
import type { StreamMessage } from '../../src/model/message.js';
import { formatLsn, zeroLsn, type Lsn } from '../../src/model/lsn.js';
import type { PluginMessage } from '../../src/model/message.js';
import type { StreamFrame } from '../../src/postgres/feedback.js';
import { StreamReader } from '../../src/receive/stream-reader.js';

const lsn = (value: number) => BigInt(value) as Lsn;

/** A frame that the decoder below turns into this message. */
const scripted = new WeakMap<Buffer, PluginMessage | null>();
function data(message: PluginMessage | null): StreamFrame {
  const payload = Buffer.alloc(1);
  scripted.set(payload, message === null ? null : { ...message });
  return { kind: 'data', walStart: lsn(0), bytes: payload, start: 0, end: payload.length };
}
const begin = (xid: number, commitLsn: number | null): StreamFrame =>
  data({
    kind: 'begin',
    xid: BigInt(xid),
    commitLsn: commitLsn === null ? null : lsn(commitLsn),
    commitTime: 0n,
  });
const streamed = (xid: number): StreamFrame =>
  data({ kind: 'begin', xid: BigInt(xid), commitLsn: null, commitTime: null, streamed: true });
const rollback = (xid: number, sub?: number): StreamFrame =>
  data({
    kind: 'rollback',
    xid: BigInt(xid),
    lsn: lsn(1),
    ...(sub === undefined ? {} : { sub: BigInt(sub) }),
  });
const message = (xid: number | null): StreamFrame =>
  data({ kind: 'message', xid: xid === null ? null : BigInt(xid), lsn: lsn(1), prefix: '', content: '' });
const commit = (xid: number, commitLsn: number, endLsn: number): StreamFrame =>
  data({
    kind: 'commit',
    xid: BigInt(xid),
    commitLsn: lsn(commitLsn),
    endLsn: lsn(endLsn),
    commitTime: 0n,
  });
const keepalive = (position: number, replyRequested = false): StreamFrame => ({
  kind: 'keepalive',
  lsn: lsn(position),
  time: 0n,
  replyRequested,
});

function reader(startLsn = 100): StreamReader {
  return new StreamReader({
    decoder: {
      decode: () => null,
      decodeWithin: (bytes) => scripted.get(bytes) ?? null,
    },
    startLsn: lsn(startLsn),
    nextXid: 1000n,
    keepaliveIntervalMs: 1000,
  });
}

/** Messages in short: `begin 7`, `commit 0/C8`, `keepalive 0/C8`. */
const short = (messages: readonly StreamMessage[]): string[] =>
  messages.map((one) => {
    if (one.kind === 'begin') return `begin ${one.xid}`;
    if (one.kind === 'commit') return `commit ${Number(one.endLsn)}`;
    if (one.kind === 'keepalive') return `keepalive ${Number(one.lsn)}`;
    return one.kind;
  });

describe('the order of commits', () => {
  test('is what counts: a transaction that began earlier may commit later', () => {
    const { messages } = reader().read(
      [begin(9, 200), message(9), commit(9, 200, 210), begin(5, 210), message(5), commit(5, 210, 220)],
      zeroLsn,
      0,
    );
    expect(short(messages)).toEqual(['begin 9', 'message', 'commit 210', 'begin 5', 'message', 'commit 220']);
  });

  test.each<[claim: string, StreamFrame[], RegExp]>([
    ['a change outside of a transaction', [message(5)], /outside of any transaction/],
    ['a change of another transaction', [begin(5, 200), message(6)], /6 comes inside of transaction 5/],
    ['a begin inside of a transaction', [begin(5, 200), begin(6, 300)], /6 begins inside of transaction 5/],
    ['a commit of another transaction', [begin(5, 200), commit(6, 200, 210)], /6 comes inside/],
    [
      'a commit elsewhere than announced',
      [begin(5, 200), commit(5, 201, 210)],
      /announced its commit at 0\/C8/,
    ],
    ['a commit that ends where it starts', [begin(5, 200), commit(5, 200, 200)], /not behind 0\/C8/],
    ['a commit that is held already', [begin(5, null), commit(5, 90, 100)], /ends at 0\/64, .* not behind/],
    ['a transaction that is held already', [begin(5, 99)], /commits at 0\/63, before 0\/64/],
    [
      'a commit in front of the one before it',
      [begin(5, 200), commit(5, 200, 210), begin(6, null), commit(6, 205, 209)],
      /ends at 0\/D1/,
    ],
    [
      'a rollback, which only streamed transactions have',
      [begin(5, 200), data({ kind: 'rollback', xid: 5n, lsn: lsn(1) })],
      /rolled back/,
    ],
    ['a streamed transaction that begins twice', [streamed(5), streamed(5)], /5 begins twice/],
    ['one that begins inside of another', [begin(5, 200), streamed(6)], /6 begins inside of transaction 5/],
    ['a change of one inside of another', [streamed(6), begin(5, 200), message(6)], /6 comes inside of/],
    ['a change of one that has ended', [streamed(6), commit(6, 200, 210), message(6)], /outside of any/],
    [
      'a commit of one in front of the one before it',
      [streamed(6), begin(5, 200), commit(5, 200, 210), commit(6, 205, 209)],
      /ends at 0\/D1/,
    ],
  ])('refuses %s', (_claim, frames, words) => {
    expect(() => reader().read(frames, zeroLsn, 0)).toThrow(
      expect.objectContaining({ code: 'message-unreadable', message: expect.stringMatching(words) }),
    );
  });

  test('takes commits that are adjacent in the log, and one that starts exactly where the stream started', () => {
    const { messages } = reader(200).read(
      [begin(5, 200), commit(5, 200, 210), begin(6, 210), commit(6, 210, 220)],
      zeroLsn,
      0,
    );
    expect(short(messages)).toEqual(['begin 5', 'commit 210', 'begin 6', 'commit 220']);
  });

  test('lets streamed transactions come between others, until they commit or are rolled back', () => {
    const stream = reader();
    const { messages } = stream.read(
      [
        ...[streamed(6), message(6), begin(5, 200), message(5), commit(5, 200, 210), streamed(7), message(7)],
        ...[message(6), rollback(6, 8), message(6), rollback(7), commit(6, 220, 230), begin(9, 230)],
      ],
      zeroLsn,
      0,
    );
    expect(short(messages)).toEqual([
      ...['begin 6', 'message', 'begin 5', 'message', 'commit 210', 'begin 7', 'message'],
      ...['message', 'rollback', 'message', 'rollback', 'commit 230', 'begin 9'],
    ]);
    expect(stream.position).toBe(lsn(230));
  });

  test('says nothing of messages outside of transactions', () => {
    expect(short(reader().read([message(null)], zeroLsn, 0).messages)).toEqual(['message']);
  });
});

describe('the end position', () => {
  const frames = [
    begin(5, 200),
    message(5),
    commit(5, 200, 210),
    keepalive(215),
    begin(6, 220),
    message(6),
    commit(6, 220, 230),
    keepalive(260),
  ];
  test.each<[claim: string, endpos: number, taken: string[], reached: boolean]>([
    [
      'not set',
      0,
      [
        'begin 5',
        'message',
        'commit 210',
        'keepalive 215',
        'begin 6',
        'message',
        'commit 230',
        'keepalive 260',
      ],
      false,
    ],
    [
      'behind everything',
      300,
      [
        'begin 5',
        'message',
        'commit 210',
        'keepalive 215',
        'begin 6',
        'message',
        'commit 230',
        'keepalive 260',
      ],
      false,
    ],
    ['before the first commit', 150, ['keepalive 200'], true],
    ['at the first commit record', 200, ['keepalive 200'], true],
    ['inside of a commit record', 205, ['begin 5', 'message', 'commit 210'], true],
    ['exactly at the end of a commit', 210, ['begin 5', 'message', 'commit 210'], true],
    [
      'between commits, where a keepalive tells',
      212,
      ['begin 5', 'message', 'commit 210', 'keepalive 215'],
      true,
    ],
    [
      'between commits, where the next begin tells',
      218,
      ['begin 5', 'message', 'commit 210', 'keepalive 220'],
      true,
    ],
    ['held already', 100, [], true],
    [
      'on an idle source, where only a keepalive comes',
      250,
      [
        'begin 5',
        'message',
        'commit 210',
        'keepalive 215',
        'begin 6',
        'message',
        'commit 230',
        'keepalive 260',
      ],
      true,
    ],
  ])('%s', (_claim, endpos, taken, reached) => {
    const result = reader().read(frames, lsn(endpos), 1000);
    expect(short(result.messages)).toEqual(taken);
    expect(result.reached).toBe(reached);
  });

  test('may be set while a transaction is open; a plugin that does not announce the commit ends with a keepalive', () => {
    const stream = reader();
    expect(stream.read([begin(5, null), message(5)], zeroLsn, 0).reached).toBe(false);
    expect(stream.read([keepalive(150)], lsn(150), 0).reached).toBe(true);
  });

  test('falls behind the beginning of a streamed transaction: its commit tells, or a keepalive', () => {
    const stream = reader();
    const first = stream.read([streamed(6), message(6)], lsn(205), 0);
    expect([short(first.messages), first.reached]).toEqual([['begin 6', 'message'], false]);
    expect(stream.read([message(6), commit(6, 210, 220)], lsn(205), 0).reached).toBe(true);
    expect(reader().read([streamed(6), message(6), keepalive(205)], lsn(205), 0).reached).toBe(true);
  });

  test('may be moved back to what was taken already', () => {
    const stream = reader();
    stream.read([begin(5, 200), commit(5, 200, 210)], zeroLsn, 0);
    expect(stream.read([], lsn(205), 0).reached).toBe(true);
    expect(stream.read([], lsn(210), 0).reached).toBe(true);
    expect(stream.read([], lsn(211), 0).reached).toBe(false);
  });
});

describe('keepalives', () => {
  test('that tell nothing new are dropped', () => {
    const { messages } = reader().read(
      [keepalive(90), keepalive(100), begin(5, 200), commit(5, 200, 210), keepalive(200), keepalive(210)],
      zeroLsn,
      10_000,
    );
    expect(short(messages)).toEqual(['begin 5', 'commit 210']);
  });

  test('keep their place: they prove only what came before them', () => {
    const stream = reader();
    expect(short(stream.read([keepalive(150), keepalive(160)], zeroLsn, 0).messages)).toEqual([]);
    const { messages } = stream.read([begin(5, 200), keepalive(180), commit(5, 200, 210)], zeroLsn, 1);
    expect(short(messages)).toEqual(['keepalive 160', 'begin 5', 'keepalive 180', 'commit 210']);
  });

  test('alone are kept once an interval, and a held one when its time has come', () => {
    const stream = reader();
    expect(short(stream.read([keepalive(150)], zeroLsn, 5000).messages)).toEqual(['keepalive 150']);
    expect(short(stream.read([keepalive(160)], zeroLsn, 5500).messages)).toEqual([]);
    expect(stream.position).toBe(lsn(150));
    expect(short(stream.read([keepalive(170)], zeroLsn, 5900).messages)).toEqual([]);
    expect(short(stream.read([], zeroLsn, 6000).messages)).toEqual(['keepalive 170']);
    expect(formatLsn(stream.position)).toBe('0/AA');
  });

  test('that ask for an answer, or that the end position waits for, are kept at once', () => {
    const stream = reader();
    stream.read([keepalive(150)], zeroLsn, 5000);
    expect(short(stream.read([keepalive(160, true)], zeroLsn, 5001).messages)).toEqual(['keepalive 160']);
    expect(stream.read([keepalive(170)], lsn(170), 5002)).toMatchObject({
      messages: [{ kind: 'keepalive', lsn: 170n }],
      reached: true,
      unread: [],
    });
  });
});
