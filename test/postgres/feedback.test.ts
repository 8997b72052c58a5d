import { describe, expect, test } from 'vitest';
import type { Lsn } from '../../src/model/lsn.js';
import { decodeStreamFrame, encodeStatusUpdate } from '../../src/postgres/feedback.js';

const lsn = (value: bigint) => value as Lsn;

describe('a status update', () => {
  test('has the exact positions, in 34 bytes, and asks for no reply', () => {
    const update = encodeStatusUpdate(
      {
        written: lsn(0xffff_ffff_ffff_ffffn),
        flushed: lsn(0x0000_0001_ffff_ffffn),
        applied: lsn(0x1n),
      },
      Date.UTC(2000, 0, 1) + 1,
    );
    expect(update.toString('hex')).toBe(
      '72' + 'ffffffffffffffff' + '00000001ffffffff' + '0000000000000001' + '00000000000003e8' + '00',
    );
  });
});

describe('what the server sends', () => {
  test('XLogData: its position and its payload, which is not copied', () => {
    const content = Buffer.from(
      '77' + '0000000100000002' + '0000000300000004' + '0000000000000005' + '4243',
      'hex',
    );
    const frame = decodeStreamFrame(content);
    expect(frame).toEqual({
      kind: 'data',
      walStart: 0x1_0000_0002n,
      bytes: content,
      start: content.length - 'BC'.length,
      end: content.length,
    });
    expect(frame.kind === 'data' && frame.bytes).toBe(content);
  });

  test.each([
    ['00', false],
    ['01', true],
  ])('a keepalive whose last byte is %s', (reply, replyRequested) => {
    const content = Buffer.from('6b' + 'ffffffff00000001' + 'fffffffffffffffe' + reply, 'hex');
    expect(decodeStreamFrame(content)).toEqual({
      kind: 'keepalive',
      lsn: 0xffff_ffff_0000_0001n,
      time: -2n,
      replyRequested,
    });
  });

  test.each([
    '',
    '78',
    '77'.padEnd(48, '0'),
    '6b'.padEnd(34, '0'),
    '6b'.padEnd(38, '0'),
    '6b'.padEnd(34, '0') + '02',
  ])('anything else is refused: %s', (hex) => {
    expect(() => decodeStreamFrame(Buffer.from(hex, 'hex'))).toThrow(
      expect.objectContaining({ code: 'message-unreadable' }),
    );
  });
});
