import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { zeroLsn } from '../../src/model/lsn.js';
import { XidWidener } from '../../src/receive/widen-xid.js';

describe('a 32-bit transaction id', () => {
  test.each([
    ['of the first epoch stays what it is', 1000n, 990n, 990n],
    ['of a later epoch has it in front', 0x5_0000_1000n, 0x0fffn, 0x5_0000_0fffn],
    ['from before the wrap belongs to the epoch before', 0x5_0000_0010n, 0xffff_fff0n, 0x4_ffff_fff0n],
    ['from after the wrap belongs to the epoch after', 0x4_ffff_fff0n, 3n, 0x5_0000_0003n],
    ['may be up to 2^31 behind', 0x1_8000_0003n, 3n, 0x1_0000_0003n],
  ])('%s', (_claim, seed, narrow, wide) => {
    expect(new XidWidener(seed).widen(narrow)).toBe(wide);
  });

  test('that would lie before the first one is refused', () => {
    expect(() => new XidWidener(1000n).widen(0xffff_fff0n)).toThrow(
      expect.objectContaining({ code: 'message-unreadable' }),
    );
  });

  test('is found again from any seed within 2^31', () => {
    const near = fc.bigInt({ min: -0x7fff_ffffn, max: 0x7fff_ffffn });
    fc.assert(
      fc.property(fc.bigInt({ min: 0x1_0000_0000n, max: 1n << 60n }), fc.array(near), (start, steps) => {
        const widener = new XidWidener(start);
        let xid = start;
        for (const step of steps) {
          if (xid + step < 0n) continue;
          xid += step;
          expect(widener.widen(BigInt.asUintN(32, xid))).toBe(xid);
        }
      }),
    );
  });
});

test('a message is widened where it stands; one without a transaction is left alone', () => {
  const widener = new XidWidener(0x1_0000_0010n);
  const begin = { kind: 'begin', xid: 5n, commitLsn: null, commitTime: null } as const;
  const outside = { kind: 'message', xid: null, lsn: zeroLsn, prefix: '', content: '' } as const;
  widener.widenMessage(begin);
  widener.widenMessage(outside);
  expect(begin.xid).toBe(0x1_0000_0005n);
  expect(outside.xid).toBeNull();
});

test('a subtransaction is widened for itself: it may stand on the other side of a turn', () => {
  const widener = new XidWidener(0x1_ffff_fff0n);
  const change = { kind: 'rollback', xid: 0xffff_ffffn, sub: 3n, lsn: zeroLsn } as const;
  widener.widenMessage(change);
  expect([change.xid, change.sub]).toEqual([0x1_ffff_ffffn, 0x2_0000_0003n]);
});
