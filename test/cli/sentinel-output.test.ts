import { expect, test } from 'vitest';
import { sentinelField, sentinelJson, sentinelText } from '../../src/cli/sentinel-output.js';
import { readLsn } from '../../src/model/lsn.js';
import type { Sentinel } from '../../src/model/progress.js';

const sentinel: Sentinel = {
  startpos: readLsn('0/24D2030'),
  endpos: readLsn('1/0'),
  apply: true,
  writeLsn: readLsn('0/24EA728'),
  flushLsn: readLsn('0/24EA727'),
  transformLsn: readLsn('0/24EA726'),
  replayLsn: readLsn('0/24EA725'),
};

test('as text: a line each, the label padded to 15', () => {
  expect(sentinelText(sentinel)).toBe(
    [
      'startpos        0/24D2030',
      'endpos          1/0',
      'apply           enabled',
      'write_lsn       0/24EA728',
      'flush_lsn       0/24EA727',
      'transform_lsn   0/24EA726',
      'replay_lsn      0/24EA725',
      '',
    ].join('\n'),
  );
});

test('as JSON: the end position is the end position, slashes are escaped', () => {
  const json = sentinelJson(sentinel);
  expect(json).toContain('"startpos": "0\\/24D2030"');
  expect(JSON.parse(json)).toEqual({
    startpos: '0/24D2030',
    endpos: '1/0',
    apply: true,
    write_lsn: '0/24EA728',
    flush_lsn: '0/24EA727',
    transform_lsn: '0/24EA726',
    replay_lsn: '0/24EA725',
  });
});

test('one field alone', () => {
  expect(sentinelField(sentinel, 'flushLsn')).toBe('0/24EA727');
  expect(sentinelField(sentinel, 'apply')).toBe('enabled');
  expect(sentinelField({ ...sentinel, apply: false }, 'apply')).toBe('disabled');
});
