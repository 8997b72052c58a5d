/** Lag as a stream's meter tells it: what receiver and applier pass on, in the order in which it happens. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { StreamMeter } from '../../src/follow/stream-meter.js';
import type { Lsn } from '../../src/model/lsn.js';
import type { StreamMessage } from '../../src/model/message.js';

const lsn = (value: number) => BigInt(value) as Lsn;
const startMs = Date.UTC(2026, 0, 1);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: startMs });
});
afterEach(() => {
  vi.useRealTimers();
});

const later = (ms: number) => vi.setSystemTime(Date.now() + ms);

/** Microseconds since 2000, as on the wire. */
const serverTime = (ms: number) => BigInt(ms - Date.UTC(2000, 0, 1)) * 1000n;

/** A transaction that ends here, committed now; with a change, or without one as a heartbeat is. */
function transaction(end: number, change = true): StreamMessage[] {
  const commitTime = serverTime(Date.now());
  const relation = { schema: 'public', name: 't', columns: [], key: [], identity: 'nothing' };
  const messages = [
    { kind: 'begin', xid: 1n, commitLsn: lsn(end - 1), commitTime },
    ...(change
      ? [{ kind: 'change', xid: 1n, lsn: lsn(end - 2), change: { kind: 'insert', relation, row: [] } }]
      : []),
    { kind: 'commit', xid: 1n, commitLsn: lsn(end - 1), endLsn: lsn(end), commitTime },
  ];
  return messages as unknown as StreamMessage[];
}

function meter(): StreamMeter {
  return new StreamMeter({ durable: lsn(100), applied: lsn(100), receives: true, applies: true });
}

function receive(of: StreamMeter, end: number, change = true): void {
  of.receiving(transaction(end, change));
  of.receivedUpTo({ written: lsn(end), durable: lsn(end), source: lsn(end) });
}

function behind(of: StreamMeter): { bytes: number | null | undefined; ms: number | null | undefined } {
  const { applied } = of.standing({ endpos: null, journalBytes: null, resting: false });
  return { bytes: applied?.behindBytes, ms: applied?.behindMs };
}

describe('the applied position', () => {
  test('is behind since the commit that is not applied', () => {
    const one = meter();
    receive(one, 200);
    later(700);
    expect(behind(one)).toEqual({ bytes: 100, ms: 700 });
    one.appliedUpTo(lsn(200));
    expect(behind(one)).toEqual({ bytes: 0, ms: 0 });
  });

  test('is level on an idle source, although its row stands before the heartbeats', () => {
    const one = meter();
    for (let beat = 1; beat <= 6; beat += 1) {
      later(10_000);
      receive(one, 100 + beat * 10, false);
    }
    expect(behind(one)).toEqual({ bytes: 0, ms: 0 });
  });

  test('is behind by the new change alone when one comes after an idle time', () => {
    const one = meter();
    later(10_000);
    receive(one, 150, false);
    later(10_000);
    receive(one, 160, false);
    later(9000);
    receive(one, 200);
    later(300);
    expect(behind(one)).toEqual({ bytes: 40, ms: 300 });
  });

  test('grows while nothing is heard of the source', () => {
    const one = meter();
    receive(one, 200);
    one.appliedUpTo(lsn(200));
    later(60_000);
    expect(behind(one)).toEqual({ bytes: 0, ms: 60_000 });
    one.asked(lsn(200), Date.now());
    expect(behind(one)).toEqual({ bytes: 0, ms: 0 });
  });

  test('is behind what the source has and has not sent', () => {
    const one = meter();
    one.asked(lsn(100), Date.now());
    later(4000);
    one.asked(lsn(900), Date.now());
    expect(behind(one)).toEqual({ bytes: 800, ms: 4000 });
  });

  test('of a run that goes on after hours is not reckoned from its own start', () => {
    const old = transaction(200);
    later(7_200_000);
    const one = meter();
    one.receiving([]);
    one.receivedUpTo({ written: lsn(100), durable: lsn(100), source: lsn(100) });
    one.asked(lsn(900), Date.now());
    later(3000);
    expect(behind(one)).toEqual({ bytes: 800, ms: null });
    one.receiving(old);
    one.receivedUpTo({ written: lsn(200), durable: lsn(200), source: lsn(200) });
    one.appliedUpTo(lsn(200));
    expect(behind(one)).toEqual({ bytes: 700, ms: 7_203_000 });
    one.receivedUpTo({ written: lsn(900), durable: lsn(900), source: lsn(900) });
    one.appliedUpTo(lsn(900));
    expect(behind(one)).toEqual({ bytes: 0, ms: 0 });
  });

  test("is reckoned by the source's clock", () => {
    const one = meter();
    const aheadMs = 3_600_000;
    one.asked(lsn(100), Date.now() + aheadMs);
    vi.setSystemTime(Date.now() + aheadMs);
    const fromAhead = transaction(200);
    vi.setSystemTime(Date.now() - aheadMs);
    one.receiving(fromAhead);
    one.receivedUpTo({ written: lsn(200), durable: lsn(200), source: lsn(200) });
    later(500);
    expect(behind(one)).toEqual({ bytes: 100, ms: 500 });
  });

  test('goes back with a target that failed over, and is behind again', () => {
    const one = meter();
    receive(one, 200);
    one.reading(transaction(200), true);
    one.appliedUpTo(lsn(200));
    receive(one, 300, false);
    later(5000);
    one.appliedUpTo(lsn(150));
    expect(behind(one).bytes).toBe(150);
  });

  test('of a backlog that was in the files before is as old as its oldest commit', () => {
    const one = new StreamMeter({ durable: lsn(500), applied: lsn(100), receives: true, applies: true });
    const old = transaction(200);
    later(3_600_000);
    receive(one, 600);
    one.reading(old, false);
    expect(behind(one)).toEqual({ bytes: 500, ms: 3_600_000 });
  });
});

test('an empty journal stands at its start, and not at nothing', () => {
  const one = meter();
  one.receivedUpTo({ written: lsn(0), durable: lsn(0), source: lsn(100) });
  const { written } = one.standing({ endpos: null, journalBytes: null, resting: false });
  expect(written).toEqual({ lsn: '0/64', behindBytes: 0, behindMs: 0 });
});

test('an applier alone is level with the files when they hold no more', () => {
  const one = new StreamMeter({ durable: lsn(100), applied: lsn(100), receives: false, applies: true });
  one.reading(transaction(200), true);
  later(400);
  expect(behind(one)).toEqual({ bytes: 100, ms: 400 });
  one.appliedUpTo(lsn(200));
  later(60_000);
  expect(behind(one)).toEqual({ bytes: 0, ms: 0 });
});
