import { describe, expect, test } from 'vitest';
import { paceText, progressJson, progressText, transmitRate } from '../../src/cli/progress-output.js';
import { copyPace, type CloneStanding } from '../../src/monitor/clone-progress.js';

const relation = { oid: 16384, schema: 'public', name: 'rental', bytes: 1_228_800, estimatedRows: 16044 };

const standing: CloneStanding = {
  tables: {
    total: 21,
    done: 7,
    inProgress: [
      { object: 'public.rental', relation, startedAt: '2026-11-22T10:00:00.000Z', bytes: 100_000 },
    ],
  },
  indexes: { total: 48, done: 7, inProgress: [] },
  bytes: { total: 7_372_800, done: 1_048_576, inProgress: 100_000 },
};

describe('list progress', () => {
  test('prints counts in columns of 12', () => {
    expect(progressText(standing)).toBe(
      `             |  Total Count |  In Progress |         Done
-------------+--------------+--------------+-------------
      Tables |           21 |            1 |            7
     Indexes |           48 |            0 |            7
       Bytes |      7200 kB |        97 kB |      1024 kB
`,
    );
  });

  test('prints what is in progress as JSON', () => {
    const now = Date.parse('2026-11-22T10:00:02.000Z');
    const jobs = { table: 4, index: 2, restore: 2 };
    const json: unknown = JSON.parse(progressJson(standing, copyPace(standing, now), jobs, now));
    expect(json).toMatchObject({
      'table-jobs': 4,
      'index-jobs': 2,
      tables: {
        total: 21,
        done: 7,
        'in-progress': [
          {
            oid: 16384,
            schema: 'public',
            name: 'rental',
            network: { bytes: 100_000, 'bytes-pretty': '97 kB', 'transmit-rate': '400 kBit/s' },
          },
        ],
      },
      bytes: {
        total: 7_372_800,
        'total-pretty': '7200 kB',
        'transmit-rate': '400 kBit/s',
        'seconds-left': 124,
      },
    });
  });

  test('says how fast and how long still, while something arrives', () => {
    const now = Date.parse('2026-11-22T10:00:02.000Z');
    expect(paceText(copyPace(standing, now))).toBe('copying 48 kB/s, about 2m04s left');
    const idle = { ...standing, tables: { ...standing.tables, inProgress: [] } };
    expect(copyPace(idle, now)).toEqual({ bytesPerSecond: 0, secondsLeft: null });
    expect(paceText(copyPace(idle, now))).toBeNull();
  });

  test.each([
    [0, 1000, '0 Bit/s'],
    [1000, 0, '0 Bit/s'],
    [1000, 1000, '8000 Bit/s'],
    [1_250_000, 1000, '10 MBit/s'],
  ])('%d bytes in %d ms are %s', (bytes, ms, rate) => {
    expect(transmitRate(bytes, ms)).toBe(rate);
  });
});
