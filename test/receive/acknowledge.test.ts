import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Lsn } from '../../src/model/lsn.js';
import { Acknowledge } from '../../src/receive/acknowledge.js';

const lsn = (value: number) => BigInt(value) as Lsn;
const start = { durable: lsn(100), applied: lsn(50) };

describe('the source is told', () => {
  test('nothing of what was only received, nor of what was only written', () => {
    const acknowledge = new Acknowledge('durable', start);
    acknowledge.received(lsn(300));
    expect(acknowledge.positions()).toEqual({ written: lsn(100), flushed: lsn(100), applied: lsn(50) });
    acknowledge.written(lsn(300));
    expect(acknowledge.positions()).toEqual({ written: lsn(300), flushed: lsn(100), applied: lsn(50) });
  });

  test('with durable: exactly what is durable, applied or not', () => {
    const acknowledge = new Acknowledge('durable', start);
    acknowledge.received(lsn(300));
    acknowledge.written(lsn(300));
    acknowledge.durable(lsn(200));
    expect(acknowledge.positions().flushed).toBe(lsn(200));
  });

  test('with applied: what is applied, once it is durable here as well', () => {
    const acknowledge = new Acknowledge('applied', start);
    expect(acknowledge.positions().flushed).toBe(lsn(50));
    acknowledge.received(lsn(300));
    acknowledge.written(lsn(300));
    acknowledge.applied(lsn(250));
    expect(acknowledge.positions().flushed).toBe(lsn(100));
    acknowledge.durable(lsn(200));
    expect(acknowledge.positions().flushed).toBe(lsn(200));
    acknowledge.durable(lsn(300));
    expect(acknowledge.positions().flushed).toBe(lsn(250));
  });

  test.each([
    ['written', 'received'],
    ['durable', 'written'],
  ] as const)('and a position that is %s without having been %s is a mistake of ours', (step, _before) => {
    const acknowledge = new Acknowledge('durable', start);
    expect(() => acknowledge[step](lsn(101))).toThrow(expect.objectContaining({ code: 'internal' }));
  });

  test('never a position that goes back, and never one nobody reported', () => {
    const step = fc.record({
      kind: fc.constantFrom('received', 'written', 'durable', 'applied' as const),
      lsn: fc.integer({ min: 0, max: 1000 }),
    });
    fc.assert(
      fc.property(fc.constantFrom('durable', 'applied' as const), fc.array(step), (mode, steps) => {
        const acknowledge = new Acknowledge(mode, start);
        const safe = new Set([start.durable, start.applied]);
        let before = acknowledge.positions();
        for (const { kind, lsn: position } of steps) {
          try {
            acknowledge[kind](lsn(position));
            if (kind === 'durable' || kind === 'applied') safe.add(lsn(position));
          } catch {
            // A mistake of ours was refused: nothing must have moved.
            expect(acknowledge.positions()).toEqual(before);
          }
          const now = acknowledge.positions();
          expect(now.flushed >= before.flushed).toBe(true);
          expect(now.flushed <= now.written).toBe(true);
          expect(safe.has(now.flushed)).toBe(true);
          before = now;
        }
      }),
    );
  });
});
