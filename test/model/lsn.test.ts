import { describe, expect, test } from 'vitest';
import { formatLsn, parseLsn, readLsn, walSegmentName, writeLsn } from '../../src/model/lsn.js';

const segmentBytes = 16n * 1024n * 1024n;

describe('an LSN', () => {
  test.each(['0/0', '0/1', '1/0', '16/B374D848', 'FFFFFFFF/FFFFFFFF'])('%s prints as it was read', (text) => {
    expect(formatLsn(readLsn(text))).toBe(text);
  });

  test.each(['0/0', '0/1', '1/0', '16/B374D848', '10/F', 'FFFFFFFF/FFFFFFFF'])(
    '%s is written as printed',
    (text) => {
      const buffer = Buffer.alloc(20, '-');
      const end = writeLsn(buffer, 1, readLsn(text));
      expect(buffer.toString('latin1', 0, end + 1)).toBe(`-${text}-`);
    },
  );

  test('is read without regard to case and leading zeros', () => {
    expect(readLsn('0000000a/00ff')).toBe(readLsn('A/FF'));
  });

  test.each(['', '/', '0', '0/', '/0', '0/G', '0/123456789', '0x1/0', ' 0/0', '0/0 ', '-1/0'])(
    '%j is refused',
    (text) => {
      expect(parseLsn(text)).toBeNull();
    },
  );

  test.each([
    ['0/0', '000000010000000000000000'],
    ['0/1000000', '000000010000000000000001'],
    ['0/FFFFFFFF', '0000000100000000000000FF'],
    ['16/B374D848', '0000000100000016000000B3'],
  ])('%s lies in segment %s', (text, name) => {
    expect(walSegmentName(1, readLsn(text), segmentBytes)).toBe(name);
  });
});
