import { describe, expect, test } from 'vitest';
import type { TableStanding } from '../../src/catalog/task-standings.js';
import { colours, noPaint, renderLine, renderScreen, sparkline } from '../../src/monitor/terminal.js';
import type { RunStatus } from '../../src/monitor/status.js';
import { bareStatus, followingStatus } from './statuses.js';

const copying: RunStatus = {
  ...followingStatus,
  state: 'copying',
  headline: 'Copying: 40 % of the rows, about 4 min left',
  phase: { kind: 'copy', step: 'copy' },
  warnings: [
    'The replication slot "walferry" may be lost soon: it holds back 9 GB of WAL. Raise something on the source.',
  ],
  copy: {
    tables: { total: 60, done: 20, running: 4 },
    indexes: { total: 90, done: 10, running: 2 },
    copiedBytes: 400,
    expectedBytes: 1000,
    bytesPerSecond: 2_000_000,
    secondsLeft: 240,
    braked: false,
  },
};

const tables: TableStanding[] = Array.from({ length: 60 }, (_, oid) => ({
  oid,
  schema: 'public',
  name: `a_table_with_quite_a_long_name_${oid}_ü`,
  size: 1000,
  copied: oid < 4 ? 500 : 0,
  rows: 0,
  parts: { total: oid === 0 ? 4 : 1, done: oid === 0 ? 2 : 0, running: oid < 4 ? 1 : 0 },
  indexes: { total: 1, done: 0, running: 0 },
  startedAtMs: null,
}));

const samples = [0, 100, 900, 400].map((lagMs, nth) => ({
  atMs: nth * 2000,
  source: null,
  written: null,
  applied: null,
  lagMs,
  behind: null,
  copied: null,
}));

// oxlint-disable-next-line no-control-regex
const plain = (line: string) => line.replaceAll(/\u001b\[\d+m/g, '');

test('a run that has ended grows no older', () => {
  const ended: RunStatus = { ...followingStatus, state: 'done', atMs: 9_999_999 };
  const lines = renderScreen({ status: ended, tables, samples }, { columns: 80, rows: 24 }, noPaint);
  expect(lines.join('\n')).toContain('(10 min 00 s, pid');
});

describe('the screen', () => {
  const statuses: [string, RunStatus][] = [
    ['nothing', bareStatus],
    ['a copy', copying],
    ['a stream', followingStatus],
  ];
  const sizes: [number, number][] = [
    [200, 60],
    [80, 24],
    [60, 12],
    [40, 5],
  ];
  test.each(statuses.flatMap(([name, status]) => sizes.map((size) => [name, ...size, status] as const)))(
    'of %s fits into %i columns and %i rows',
    (_name, columns, rows, status) => {
      const lines = renderScreen({ status, tables, samples }, { columns, rows }, colours).map(plain);
      expect(lines.length).toBeLessThanOrEqual(rows);
      expect(lines[0]).toContain(status.headline.slice(0, 20));
      expect(lines.at(-1)).toContain('q quit');
    },
  );

  test('of a copy shows its tables, their parts, and how many there is no room for', () => {
    const text = renderScreen({ status: copying, tables, samples }, { columns: 100, rows: 30 }, noPaint).join(
      '\n',
    );
    expect(text).toMatch(/rows {5}█+░+ 40 %/);
    expect(text).toMatch(/tables {3}20\/60 \(4 now\) {3}indexes 10\/90 \(2 now\)/);
    expect(text).toMatch(/public\.a_table_with_quite_a_\S+ █+░+ 500 B 2\/4 parts/);
    expect(text).toMatch(/and \d+ more/);
    expect(text).toMatch(/! The replication slot "walferry" may be lost/);
  });

  test('of a stream shows positions, rates, the lag over time, and the slot', () => {
    const text = renderScreen(
      { status: followingStatus, tables: [], samples },
      { columns: 90, rows: 30 },
      noPaint,
    ).join('\n');
    expect(text).toMatch(/applied {2}1\/1000 +4.0 kB {2}0.4 s/);
    expect(text).toMatch(/rates {4}source 2.0 kB\/s {2}received 2.0 kB\/s {2}applied 1.0 kB\/s/);
    expect(text).toMatch(/lag {6}▁▁█▄ 0.9 s at most/);
    expect(text).toMatch(/slot {5}"walferry" reserved, holds back 16 MB, 1.0 GB left/);
  });

  test('paints nothing where colours are not wanted', () => {
    const lines = renderScreen({ status: copying, tables, samples }, { columns: 80, rows: 24 }, noPaint);
    expect(lines.join('')).not.toContain('\u001b');
  });
});

test('one line says the same for a log', () => {
  expect(renderLine(followingStatus)).toBe(
    'Following: 0.4 s behind | 4.0 kB of WAL behind | slot holds back 16 MB',
  );
  expect(renderLine(copying)).toMatch(
    /^Copying: 40 % of the rows, about 4 min left \| 20\/60 tables, 10\/90 indexes \| 1.9 MB\/s \|.*WARNING: The replication slot/,
  );
});

test.each<[string, number[], number, string]>([
  ['nothing but zeros', [0, 0, 0], 10, '▁▁▁'],
  ['the largest is the highest', [1, 8, 4], 10, '▁█▄'],
  ['more values than room: the largest of each share is seen', [0, 9, 0, 0, 0, 1], 3, '█▁▁'],
])('a sparkline of %s', (_name, values, width, expected) => {
  expect(sparkline(values, width)).toBe(expected);
});
