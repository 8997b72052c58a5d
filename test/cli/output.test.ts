import { describe, expect, test } from 'vitest';
import {
  cloneSummary,
  columns,
  prettyDuration,
  prettySize,
  stepsSummary,
  tablesSummary,
  type StepSummary,
} from '../../src/cli/output.js';

test.each([
  [0, '0 B'],
  [10_239, '10239 B'],
  [10_240, '10 kB'],
  [14 * 1024 + 1000, '14 kB'],
  [7200 * 1024, '7200 kB'],
  [10_240 * 1024, '10 MB'],
  [73 * 1024 ** 2 + 5, '73 MB'],
  [3 * 1024 ** 5, '3072 TB'],
  [20 * 1024 ** 6, '20 EB'],
])('%i bytes are %s', (bytes, text) => {
  expect(prettySize(bytes)).toBe(text);
});

test.each([
  [0, '  0ms'],
  [91, ' 91ms'],
  [432.9, '432ms'],
  [999, '999ms'],
  [1000, ' 1s000'],
  [3775, ' 3s775'],
  [9999, ' 9s999'],
  [10_000, '10s'],
  [26_400, '26s'],
  [59_999, '59s'],
  [60_000, ' 1m00s'],
  [77_000, ' 1m17s'],
  [3_599_999, '59m59s'],
  [3_600_000, ' 1h00m'],
  [7_500_000, ' 2h05m'],
  [86_400_000, ' 1d00h'],
  [273_600_000, ' 3d04h'],
  [-5, '  0ms'],
])('%d milliseconds are "%s"', (ms, text) => {
  expect(prettyDuration(ms)).toBe(text);
});

describe('the table of tables', () => {
  test('is the peer’s, by OID', () => {
    const b = {
      oid: 16_898,
      schema: 'public',
      name: 'b',
      parts: 1,
      copyMs: 23,
      bytes: 14_400,
      indexes: 2,
      indexMs: 34,
    };
    const a = {
      oid: 9,
      schema: 's',
      name: 'größer',
      parts: 4,
      copyMs: 3775,
      bytes: 0,
      indexes: 0,
      indexMs: 0,
    };
    expect(tablesSummary([b])).toBe(
      [
        '  OID | Schema | Name | Parts | copy duration | transmitted bytes | indexes | create index ',
        '------+--------+------+-------+---------------+-------------------+---------+-------------',
        '16898 | public |    b |     1 |          23ms |             14 kB |       2 |         34ms',
        '',
      ].join('\n'),
    );
    expect(tablesSummary([b, a]).split('\n').slice(2)).toEqual([
      '    9 |      s | größer |     4 |         3s775 |               0 B |       0 |          0ms',
      '16898 | public |      b |     1 |          23ms |             14 kB |       2 |         34ms',
      '',
    ]);
  });

  test('without tables is header and dashes', () => {
    expect(columns(['A', 'Bc'], [])).toBe('A | Bc \n--+---\n');
  });
});

describe('the table of steps', () => {
  const copy: StepSummary = {
    step: 'COPY (cumulative)',
    connection: 'both',
    durationMs: 23_000,
    bytes: 73 * 1024 ** 2,
    concurrency: 4,
  };
  const queries: StepSummary = {
    step: 'Catalog Queries (table ordering, filtering, etc)',
    connection: 'source',
    durationMs: 3775,
    bytes: 0,
    concurrency: 1,
  };
  const none: StepSummary = {
    step: 'Large Objects (cumulative)',
    connection: null,
    durationMs: 0,
    bytes: 0,
    concurrency: 0,
  };
  const total: StepSummary = {
    step: 'Total Wall Clock Duration',
    connection: 'both',
    durationMs: 77_000,
    bytes: 0,
    concurrency: 20,
  };

  test('is the peer’s', () => {
    expect(stepsSummary([queries, copy, none, total])).toBe(
      [
        '                                               Step   Connection    Duration    Transfer   Concurrency',
        ' --------------------------------------------------   ----------  ----------  ----------  ------------',
        '   Catalog Queries (table ordering, filtering, etc)       source       3s775                         1',
        '                                  COPY (cumulative)         both         23s       73 MB             4',
        '                         Large Objects (cumulative)       (null)         0ms                         0',
        ' --------------------------------------------------   ----------  ----------  ----------  ------------',
        '                          Total Wall Clock Duration         both       1m17s                        20',
        '',
      ].join('\n'),
    );
  });

  test('stands under the other, with the peer’s empty lines', () => {
    expect(cloneSummary([], [copy, total])).toMatch(/^\nOID \| Schema/);
    expect(cloneSummary([], [copy, total]).endsWith('20\n\n')).toBe(true);
    expect(cloneSummary([], [copy, total]).split('\n').slice(2, 6)).toEqual([
      expect.stringMatching(/^-+\+/),
      '',
      '',
      expect.stringMatching(/^ +Step {3}Connection/),
    ]);
  });
});

test('names with line breaks and terminal sequences stay in their row', () => {
  expect(columns(['Name'], [['a\nb\u001b[31m']])).toBe(
    ['        Name ', '------------', 'a\\nb\\x1b[31m', ''].join('\n'),
  );
});
